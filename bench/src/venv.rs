//! Installs programs from PyPI, each once into a virtual environment of its own.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use tokio::process::Command;

/// Makes the virtual environment in `folder` with `package` if it is missing, and returns the folder.
pub(crate) async fn environment(folder: &Path, package: &str) -> anyhow::Result<PathBuf> {
    let complete = folder.join(".complete");
    if std::fs::read_to_string(&complete).is_ok_and(|present| present == package) {
        return Ok(folder.to_owned());
    }
    let venv = Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder).status().await?;
    ensure!(venv.success(), "python3 -m venv failed: install python3-venv");
    let pip = Command::new(folder.join("bin/pip")).args(["install", "--quiet", package]).status().await?;
    ensure!(pip.success(), "pip install {package} failed");
    std::fs::write(complete, package)?;
    Ok(folder.to_owned())
}
