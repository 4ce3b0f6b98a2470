//! Installs packages of npm, each set into a folder of its own.

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::deploy::in_repository;

/// Installs what `package-lock.json` in this folder of the repository names, with its hashes, into a folder of this name in
/// the target folder, unless it is there already. Returns the folder, which has `node_modules`.
pub async fn packages(name: &str, locked: &str) -> PathBuf {
    let built = std::env::current_exe().unwrap();
    // target/PROFILE/deps/TEST
    let folder = built.ancestors().nth(3).unwrap().join("tmp").join(name);
    let lock = std::fs::read_to_string(in_repository(locked).join("package-lock.json")).unwrap();
    let complete = folder.join(".complete");
    if std::fs::read_to_string(&complete).is_ok_and(|found| found == lock) {
        return folder;
    }
    std::fs::create_dir_all(&folder).unwrap();
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(in_repository(locked).join(file), folder.join(file)).unwrap();
    }
    let mut install = Command::new("npm");
    install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
    let output = install.stdin(Stdio::null()).output().await.expect("npm is not installed");
    assert!(output.status.success(), "npm ci failed:\n{}", String::from_utf8_lossy(&output.stderr));
    std::fs::write(complete, lock).unwrap();
    folder
}
