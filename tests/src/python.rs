//! Installs programs from PyPI, each into a virtual environment of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::deploy::in_repository;

/// Makes the virtual environment of this name with this package (a requirement such as `name==version`) in the target
/// folder, unless it is there already. Returns its folder.
pub async fn environment(name: &str, package: &str) -> PathBuf {
    install(name, package, &[package]).await
}

/// The same with all packages of a file of the repository that names each with its hashes.
pub async fn locked_environment(name: &str, requirements: &str) -> PathBuf {
    let file = in_repository(requirements);
    let content = std::fs::read_to_string(&file).unwrap();
    install(name, &content, &["--no-deps", "--require-hashes", "--requirement", file.to_str().unwrap()]).await
}

/// Makes a virtual environment by `pip install` with these words, unless one with this content is there.
async fn install(name: &str, content: &str, words: &[&str]) -> PathBuf {
    let built = std::env::current_exe().unwrap();
    // target/PROFILE/deps/TEST
    let folder = built.ancestors().nth(3).unwrap().join("tmp").join(name);
    let complete = folder.join(".complete");
    if std::fs::read_to_string(&complete).is_ok_and(|found| found == content) {
        return folder;
    }
    let run = async |program: &Path, words: &[&str]| {
        let output = Command::new(program).args(words).stdin(Stdio::null()).output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {words:?} failed:\n{text}", program.display());
    };
    run(Path::new("python3"), &["-m", "venv", "--clear", folder.to_str().unwrap()]).await;
    let install: Vec<_> = ["install", "--quiet"].iter().chain(words).copied().collect();
    run(&folder.join("bin/pip"), &install).await;
    std::fs::write(complete, content).unwrap();
    folder
}
