//! A tree of Debian 13 in the target folder, with programs that the machine's own release may lack: PgBouncer 1.24, which
//! knows prepared statements in transaction mode, and Valkey 8. A test boots it with its systemd, to install the Debian package.
//!
//! `debootstrap` makes it as root, in about a minute; it takes 300 MB. The script `run-program` in it starts its programs with the
//! loader and the libraries of the tree. That needs no root and no chroot, and a program sees the files of its caller. No
//! package can start a server: `debootstrap` forbids it in the tree.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::root::as_root;
use super::silent::succeeds;

/// The packages that are added to a minimal system.
const PACKAGES: &str = "pgbouncer,valkey-server,systemd,dbus,adduser,age,curl";

/// What tests start.
const PROGRAMS: [&str; 2] = ["usr/sbin/pgbouncer", "usr/bin/valkey-server"];

/// The mirror where apt has none of Debian, as on Ubuntu.
const DEFAULT_MIRROR: &str = "http://deb.debian.org/debian";

/// The digests of all programs and libraries. It is written last, so a tree with it is complete. Another name when [`PACKAGES`]
/// change: a tree of the packages before is not complete.
const MANIFEST: &str = "masque-manifest-2";

const RUN_PROGRAM: &str = r#"#!/bin/sh
# Usage: run-program PROGRAM ARGUMENTS..., as in: run-program usr/sbin/pgbouncer --version
tree=$(dirname -- "$(readlink -f -- "$0")")
program=$1
shift
for loader in "$tree"/usr/lib64/ld-linux-*.so.* "$tree"/usr/lib/ld-linux-*.so.*; do
    [ -e "$loader" ] && exec "$loader" --library-path "$(echo "$tree"/usr/lib/*-linux-gnu)" "$tree/$program" "$@"
done
echo "$tree has no loader" >&2
exit 127
"#;

/// The tree, whether it exists or not.
pub(crate) struct Debian13 {
    tree: PathBuf,
}

impl Debian13 {
    /// The tree in a target folder.
    pub(crate) fn in_target(target: &Path) -> Self {
        Self { tree: target.join("debian13") }
    }

    pub(crate) fn tree(&self) -> &Path {
        &self.tree
    }

    /// Whether all programs and libraries are there as they were made. Reads them, which takes half a second.
    pub(crate) fn is_complete(&self) -> bool {
        let mut check = Command::new("sha256sum");
        check.args(["--check", "--strict", "--status", MANIFEST]).current_dir(&self.tree);
        self.tree.join(MANIFEST).is_file() && succeeds(&mut check)
    }

    /// Makes it, in the place of one that is not complete. `debootstrap` has to be installed.
    ///
    /// # Errors
    /// The mirror does not answer, this user may not become root, or a program does not run.
    pub(super) fn make(&self, sudo: bool) -> anyhow::Result<()> {
        let target = self.tree.parent().context("the tree has no parent folder")?;
        fs::create_dir_all(target)?;
        let owner = fs::metadata(target)?;
        // An unfinished one may belong to root.
        run(as_root(sudo, "rm").args(["-rf", "--one-file-system"]).arg(&self.tree))?;

        let mut debootstrap = as_root(sudo, "env");
        debootstrap.args(apt_proxy().map(|proxy| format!("http_proxy={proxy}")));
        debootstrap.args(["debootstrap", "--variant=minbase", &format!("--include={PACKAGES}"), "trixie"]);
        run(debootstrap.arg(&self.tree).arg(mirror()))?;
        // `cargo clean` is to remove it.
        let owner = format!("{}:{}", owner.uid(), owner.gid());
        run(as_root(sudo, "chown").args(["-R", "--no-dereference", &owner]).arg(&self.tree))?;
        fs::remove_dir_all(self.tree.join("var/cache/apt"))?;

        let script = self.tree.join("run-program");
        fs::write(&script, RUN_PROGRAM)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        for program in PROGRAMS {
            run(Command::new(&script).args([program, "--version"]))?;
        }
        let digests = Command::new("sh")
            .args(["-c", "find usr/bin usr/sbin usr/lib run-program -type f -print0 | xargs -0 sha256sum"])
            .current_dir(&self.tree)
            .output()?;
        ensure!(digests.status.success(), "can't read what debootstrap made");
        fs::write(self.tree.join(MANIFEST), digests.stdout)?;
        ensure!(self.is_complete(), "the tree changes while it is made");
        Ok(())
    }
}

/// The mirror of Debian that apt uses.
fn mirror() -> String {
    let targets = ["indextargets", "--format", "$(REPO_URI)", "Origin: Debian", "Label: Debian"];
    let uri = output(Command::new("apt-get").args(targets));
    let uri = uri.lines().next().filter(|uri| uri.starts_with("http"));
    uri.unwrap_or(DEFAULT_MIRROR).to_owned()
}

/// The proxy that apt uses, if its configuration names one.
fn apt_proxy() -> Option<String> {
    let line = output(Command::new("apt-config").args(["dump", "--format", "%v", "Acquire::http::Proxy"]));
    Some(line.trim().to_owned()).filter(|proxy| proxy.starts_with("http"))
}

/// What a command prints; nothing if it can't be run.
fn output(command: &mut Command) -> String {
    let printed = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    printed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// Runs a command without output, and names the last line that it printed if it fails.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    // sudo asks for the password on the terminal.
    let output =
        command.stdin(Stdio::inherit()).output().with_context(|| format!("can't start {program}"))?;
    let lines = [output.stderr, output.stdout].concat();
    let lines = String::from_utf8_lossy(&lines);
    ensure!(
        output.status.success(),
        "{program} failed: {}",
        lines.trim_end().lines().last().unwrap_or("no output")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "these are tests")]

    use super::*;

    #[test]
    fn a_tree_with_a_changed_or_missing_file_or_without_its_manifest_is_not_complete() {
        let target = std::env::temp_dir().join(format!("masque-xtask-{}", std::process::id()));
        let debian = Debian13::in_target(&target);
        fs::create_dir_all(debian.tree()).unwrap();
        let write = |name: &str, text: &str| fs::write(debian.tree().join(name), text).unwrap();
        write("program", "one");
        assert!(!debian.is_complete(), "it has no manifest");
        write(MANIFEST, "");
        assert!(!debian.is_complete(), "its manifest is empty");
        // SHA-256 of `one`.
        write(MANIFEST, "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed  program\n");
        assert!(debian.is_complete());
        write("program", "two");
        assert!(!debian.is_complete(), "a file has changed");
        fs::remove_file(debian.tree().join("program")).unwrap();
        assert!(!debian.is_complete(), "a file is gone");
        fs::remove_dir_all(target).unwrap();
    }
}
