//! Programs that must be on the machine besides Rust, and how to install them.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::bail;

use crate::output::print_error;

/// A program that is looked for before anything is built.
pub(crate) struct Need {
    /// The name in messages.
    pub(crate) name: &'static str,
    /// A command that succeeds if the program is installed.
    probe: &'static [&'static str],
    /// The Debian package of the program.
    package: &'static str,
    /// What is not tested without the program; `None` if nothing works without it.
    without: Option<&'static str>,
}

pub(crate) const CPP_COMPILER: Need = Need {
    name: "a C++ compiler",
    probe: &["c++", "--version"],
    package: "build-essential",
    without: None, // libFuzzer is C++
};

pub(crate) const STRACE: Need = Need {
    name: "strace",
    probe: &["strace", "--version"],
    package: "strace",
    without: Some("that a reply is on disk before it is acknowledged"),
};

pub(crate) const VALGRIND: Need = Need {
    name: "valgrind",
    probe: &["valgrind", "--version"],
    package: "valgrind",
    without: Some("that what only computes takes no more instructions than before"),
};

pub(crate) const VENV: Need = Need {
    name: "Python with its venv module",
    probe: &["python3", "-c", "import venv, ensurepip"],
    package: "python3-venv",
    without: None, // the test of the API against its description is a Python program
};

/// Makes sure that the programs are installed. Installs missing ones with apt-get if this process is root, otherwise prints
/// the command. Fails only if a program is missing without which nothing works.
pub(crate) fn ensure(needs: &[&Need]) -> anyhow::Result<()> {
    let mut updated = false;
    let mut missing = Vec::new();
    for need in needs {
        if is_present(need) || (can_install() && install(need, &mut updated) && is_present(need)) {
            continue;
        }
        match need.without {
            Some(untested) => {
                print_error(format_args!(
                    "xtask: {} is not here, so it is not tested {untested}.",
                    need.name
                ));
                print_error(format_args!("       To test it too: sudo apt-get install -y {}", need.package));
            }
            None => missing.push(*need),
        }
    }
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|need| need.name).collect();
        let packages: Vec<_> = missing.iter().map(|need| need.package).collect();
        bail!(
            "{} missing. On Debian and Ubuntu, run this, then try again:\n\n    sudo apt-get update && sudo apt-get install -y {}\n",
            names.join(" and "),
            packages.join(" ")
        );
    }
    Ok(())
}

/// Whether the program is installed.
pub(crate) fn is_present(need: &Need) -> bool {
    let Some((program, arguments)) = need.probe.split_first() else { return true };
    succeeds(Command::new(program).args(arguments))
}

fn can_install() -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|answer| answer.stdout.trim_ascii() == b"0");
    root && ["/usr/bin/apt-get", "/bin/apt-get"].iter().any(|path| Path::new(path).exists())
}

fn install(need: &Need, updated: &mut bool) -> bool {
    print_error(format_args!("xtask: installing {} ({})", need.name, need.package));
    if apt_get(&["install", "-y", need.package]) {
        return true;
    }
    // In a fresh image the package lists are empty or old; update them once.
    !std::mem::replace(updated, true) && apt_get(&["update"]) && apt_get(&["install", "-y", need.package])
}

fn apt_get(arguments: &[&str]) -> bool {
    let mut command = Command::new("apt-get");
    command.arg("-qq").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    succeeds(&mut command)
}

/// Runs a command without output and returns whether it succeeded.
fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
