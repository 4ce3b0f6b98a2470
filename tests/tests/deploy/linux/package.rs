//! The Debian package: what is in it. That it installs is in [`super::machine`].

use std::path::{Path, PathBuf};
use std::process::Command;

use masque_tests::deploy::{files_in, in_repository, linked_files};

use super::{has, run, succeed};

/// Builds the package of this program. Returns its path.
pub(super) fn build(program: &Path, folder: &Path) -> PathBuf {
    let mut build = Command::new(in_repository("deploy/debian/build"));
    // Without compression: these tests build it often.
    build.arg(program).arg(folder).env("DEB_COMPRESSION", "none").env("SOURCE_DATE_EPOCH", "1767225600");
    let output = build.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// What the program in the package does not matter for.
fn small() -> PathBuf {
    std::fs::canonicalize("/bin/sh").unwrap()
}

#[test]
fn the_package_has_every_unit_page_and_script_with_the_rights_they_need() {
    if !has("dpkg-deb", "the_package_has_every_unit_page_and_script_with_the_rights_they_need") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let package = build(&small(), folder.path());
    let listed = succeed(Command::new("dpkg-deb").arg("--contents").arg(&package));
    let files: Vec<(&str, &str)> = listed
        .lines()
        .map(|line| (line.split_once(' ').unwrap().0, line.rsplit_once(" .").unwrap().1))
        .collect();
    assert!(listed.lines().all(|line| line.contains(" root/root ")), "{listed}");
    for (path, mode) in [
        ("/usr/bin/masque", "-rwxr-xr-x"),
        ("/usr/lib/masque/masque-backup", "-rwxr-xr-x"),
        ("/etc/masque/masque.toml", "-rw-r--r--"),
        ("/etc/masque/environment", "-rw-------"),
        ("/usr/share/doc/masque/deployment.md", "-rw-r--r--"),
    ] {
        assert!(files.contains(&(mode, path)), "{mode} {path} is not in\n{listed}");
    }
    for ending in ["service", "socket", "timer"] {
        for unit in files_in("deploy/systemd", ending) {
            let path = format!("/usr/lib/systemd/system/{}", unit.file_name().unwrap().to_str().unwrap());
            assert!(files.contains(&("-rw-r--r--", path.as_str())), "{path} is not in\n{listed}");
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let field = |name: &str| succeed(Command::new("dpkg-deb").arg("--field").arg(&package).arg(name));
    assert_eq!(field("Version").trim(), version);
    assert!(field("Depends").contains("libc6 (>= 2."), "{}", field("Depends"));

    let control = folder.path().join("control");
    succeed(Command::new("dpkg-deb").arg("--control").arg(&package).arg(&control));
    let conffiles = std::fs::read_to_string(control.join("conffiles")).unwrap();
    let configured: Vec<_> =
        files.iter().filter(|(mode, path)| mode.starts_with('-') && path.starts_with("/etc/")).collect();
    assert_eq!(conffiles.lines().count(), configured.len(), "every file in /etc is a conffile: {conffiles}");
    assert!(configured.iter().all(|(_, path)| conffiles.lines().any(|line| line == *path)), "{conffiles}");
    for script in ["postinst", "prerm", "postrm"] {
        let text = std::fs::read_to_string(control.join(script)).unwrap();
        assert!(text.starts_with("#!/bin/sh\n") && text.contains("\nset -e\n"), "{script}");
        succeed(Command::new("sh").arg("-n").arg(control.join(script)));
    }
    let tree = folder.path().join("tree");
    succeed(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&tree));
    succeed(
        Command::new("md5sum").args(["--check", "--quiet"]).arg(control.join("md5sums")).current_dir(&tree),
    );
}

#[test]
fn no_link_of_a_packed_page_leads_nowhere() {
    if !has("dpkg-deb", "no_link_of_a_packed_page_leads_nowhere") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let package = build(&small(), folder.path());
    let tree = folder.path().join("tree");
    succeed(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&tree));
    let pages = succeed(Command::new("find").arg(tree.join("usr/share/doc/masque")).args(["-name", "*.md"]));
    let pages: Vec<_> = pages.lines().map(Path::new).collect();
    let mut links = 0;
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        for file in linked_files(&text) {
            assert!(page.parent().unwrap().join(file).exists(), "{}: {file}", page.display());
            links += 1;
        }
    }
    assert!(pages.len() > 30 && links > 200, "{} pages, {links} links", pages.len());
    let guide = std::fs::read_to_string(tree.join("usr/share/doc/masque/operators.md")).unwrap();
    assert!(guide.contains("`deploy/up` in Masque's repository"), "a link out of the pages names its file");
}

#[test]
fn the_same_inputs_make_the_same_package_and_other_machines_are_refused() {
    if !has("dpkg-deb", "the_same_inputs_make_the_same_package_and_other_machines_are_refused") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["a", "b"].map(|name| build(&small(), &folder.path().join(name)));
    assert!(std::fs::read(first).unwrap() == std::fs::read(second).unwrap(), "the packages differ");

    // The header of the program says that it is for RISC-V.
    let mut program = std::fs::read(small()).unwrap();
    program[18] = 0xf3;
    let other = folder.path().join("other");
    std::fs::write(&other, program).unwrap();
    let mut command = Command::new(in_repository("deploy/debian/build"));
    let (is_success, text) = run(command.arg(&other).arg(folder.path()));
    assert!(!is_success && text.contains("packages for amd64 and arm64"), "{text}");
}

#[test]
fn the_configuration_of_the_package_is_fit_for_production() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(masque_tests::binary());
    command.args(["check", "--production", "--config"]).arg(in_repository("deploy/debian/masque.toml"));
    // The folder of the package belongs to its user.
    command.env_clear().args(["--data"]).arg(folder.path().join("data"));
    command.env("JWT_SECRET_KEY", masque_tests::SECRET);
    assert!(succeed(&mut command).contains("The configuration is valid."));
}
