//! Programs that must be on the machine besides Rust, and how to install them.
//!
//! Hazard: a Debian package of a server starts the server on a fixed port, at once and at every boot. Policy: packages are
//! installed only when the user is root, when `CI` is `true` or with `--install`; meanwhile no service may start, and
//! PostgreSQL's packages make no cluster, which would start at the next boot. Consequence: a machine that had no server
//! has none afterwards; the tests start their own on free ports.

mod debian13;
mod root;
mod service_policy;
mod silent;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};

use crate::output::print_error;

pub(crate) use debian13::Debian13;
use root::as_root;
use service_policy::ServicePolicy;
use silent::succeeds;

/// The flag of every command that allows to install packages, with sudo unless the user is root.
const INSTALL: &str = "--install";

/// Whether the command line has [`INSTALL`].
static INSTALL_ALLOWED: AtomicBool = AtomicBool::new(false);

/// Removes [`INSTALL`] from the arguments of a command, up to a `--`, and remembers it for [`ensure`].
pub(crate) fn take_install_flag(arguments: &mut Vec<String>) {
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    if let Some(at) = arguments.iter().take(end).position(|argument| argument == INSTALL) {
        arguments.remove(at);
        INSTALL_ALLOWED.store(true, Ordering::Relaxed);
    }
}

/// A program that is looked for before anything is built.
pub(crate) struct Need {
    /// The name in messages.
    pub(crate) name: &'static str,
    /// A command that succeeds if the program is installed.
    probe: &'static [&'static str],
    /// The Debian package of the program, or several with spaces between, after options of `apt-get install`.
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

pub(crate) const POSTGRESQL: Need = Need {
    name: "PostgreSQL's server",
    probe: &["bash", "-c", "compgen -G '/usr/lib/postgresql/*/bin/initdb'"],
    package: "postgresql",
    without: None, // the tests of the store on PostgreSQL start it
};

pub(crate) const REDIS: Need = Need {
    name: "Redis's server",
    probe: &["redis-server", "--version"],
    package: "redis-server",
    without: None, // the tests of what hosts share in memory start it
};

pub(crate) const PGBOUNCER: Need = Need {
    name: "PgBouncer",
    probe: &["test", "-x", "/usr/sbin/pgbouncer"],
    package: "pgbouncer",
    without: Some("that a PgBouncer before 1.21, as Debian 12 has it, is refused"),
};

pub(crate) const PROMETHEUS: Need = Need {
    name: "Prometheus",
    probe: &["sh", "-c", "prometheus --version && promtool --version"],
    // What it recommends is a second service, which measures the machine.
    package: "--no-install-recommends prometheus",
    without: None, // the tests of the alerts, the dashboards and the metrics start it
};

pub(crate) const AMTOOL: Need = Need {
    name: "Alertmanager's amtool",
    probe: &["amtool", "--version"],
    package: "--no-install-recommends prometheus-alertmanager",
    without: None, // the test of Alertmanager's example runs it
};

pub(crate) const AGE: Need = Need {
    name: "age",
    probe: &["age", "--version"],
    package: "age",
    without: Some("that an encrypted backup can be restored"),
};

pub(crate) const SYSTEMD_ANALYZE: Need = Need {
    name: "systemd-analyze",
    probe: &["systemd-analyze", "--version"],
    package: "--no-install-recommends systemd",
    without: Some("that systemd accepts the units and finds them hardened"),
};

pub(crate) const BUILDAH: Need = Need {
    name: "buildah with debootstrap",
    probe: &["sh", "-c", "buildah --version && test -x /usr/sbin/debootstrap"],
    package: "--no-install-recommends buildah debootstrap debian-archive-keyring",
    without: Some("that deploy/Dockerfile builds an image that serves a turn"),
};

pub(crate) const ARM64: Need = Need {
    name: "a cross compiler for arm64 with QEMU",
    probe: &["sh", "-c", "aarch64-linux-gnu-g++ --version && test -x /usr/bin/qemu-aarch64-static"],
    package: "gcc-aarch64-linux-gnu g++-aarch64-linux-gnu qemu-user-static binfmt-support",
    without: Some("that a release for arm64 is built and runs"),
};

const DEBOOTSTRAP: Need = Need {
    name: "debootstrap",
    probe: &["test", "-x", "/usr/sbin/debootstrap"],
    package: "debootstrap debian-archive-keyring",
    without: None,
};

pub(crate) const VENV: Need = Need {
    name: "Python with its venv module",
    probe: &["python3", "-c", "import venv, ensurepip"],
    package: "python3-venv",
    without: None, // the test of the API against its description is a Python program
};

pub(crate) const NODE: Need = Need {
    name: "Node.js with npm",
    probe: &["sh", "-c", "node --version && npm --version"],
    package: "--no-install-recommends nodejs npm",
    without: None, // the schemas of the Prometheus operator, for the test of the chart, are a package of npm
};

pub(crate) const CURL: Need = Need {
    name: "curl",
    probe: &["curl", "--version"],
    package: "curl",
    without: None, // the script that releases the chart uses it
};

pub(crate) const COMMANDS_OF_THE_GUIDE: Need = Need {
    name: "curl, jq and OpenSSL",
    probe: &["sh", "-c", "curl --version && jq --version && openssl version"],
    package: "curl jq openssl",
    without: Some(
        "that the commands of the README and of the pages on authentication and deployment lead where they say",
    ),
};

/// Makes sure that the programs are installed. Installs missing ones with apt-get if this process is root, if `CI` is
/// `true`, or with the flag `--install`; otherwise prints the command. Fails only if a program is missing
/// without which nothing works.
pub(crate) fn ensure(needs: &[&Need]) -> anyhow::Result<()> {
    let installer = Installer::find(INSTALL_ALLOWED.load(Ordering::Relaxed));
    let mut updated = false;
    let mut missing = Vec::new();
    for need in needs {
        if is_present(need)
            || installer.as_ref().is_some_and(|installer| installer.install(need, &mut updated))
                && is_present(need)
        {
            continue;
        }
        match need.without {
            Some(untested) => {
                print_error(format_args!(
                    "xtask: {} is not here, so it is not tested {untested}.",
                    need.name
                ));
                print_error(format_args!(
                    "       To test it too: sudo apt-get install -y {}, or add --install",
                    need.package
                ));
            }
            None => missing.push(*need),
        }
    }
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|need| need.name).collect();
        let packages: Vec<_> = missing.iter().map(|need| need.package).collect();
        bail!(
            "{} missing. On Debian and Ubuntu, run this, then try again:\n\n    sudo apt-get update && sudo apt-get install -y {}\n\nOr add --install to the command, which does it with sudo and starts no servers.",
            names.join(" and "),
            packages.join(" ")
        );
    }
    Ok(())
}

/// Makes the tree of Debian 13, unless it is complete. Where nothing may be installed, says what is not tested without it.
///
/// # Errors
/// It can't be made where it has to be: `CI` is `true`, or the command line has `--install`.
pub(crate) fn ensure_debian13(tree: &Debian13) -> anyhow::Result<()> {
    if tree.is_complete() {
        return Ok(());
    }
    let asked = INSTALL_ALLOWED.load(Ordering::Relaxed);
    if let Some(installer) = Installer::find(asked) {
        ensure(&[&DEBOOTSTRAP])?;
        print_error(format_args!("xtask: making a tree of Debian 13 in {}", tree.tree().display()));
        let made = tree.make(installer.sudo).context("can't make the tree of Debian 13");
        if made.is_ok() || asked || is_ci() {
            return made;
        }
        made.unwrap_or_else(|error| print_error(format_args!("xtask: {error:#}")));
    }
    print_error(format_args!(
        "xtask: PgBouncer 1.24, Valkey 8 and a system to boot are not here, so it is not tested that the host works with them."
    ));
    print_error(format_args!(
        "       To test it too: cargo xtask test --install, which makes a tree of Debian 13 in {} with sudo",
        tree.tree().display()
    ));
    Ok(())
}

fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Whether the program is installed.
pub(crate) fn is_present(need: &Need) -> bool {
    let Some((program, arguments)) = need.probe.split_first() else { return true };
    succeeds(Command::new(program).args(arguments))
}

/// How packages are installed: by root as it is, otherwise through sudo.
struct Installer {
    sudo: bool,
}

impl Installer {
    /// Returns `None` where nothing may or can be installed.
    fn find(asked: bool) -> Option<Self> {
        let has_apt = ["/usr/bin/apt-get", "/bin/apt-get"].iter().any(|path| Path::new(path).exists());
        let root =
            Command::new("id").arg("-u").output().is_ok_and(|answer| answer.stdout.trim_ascii() == b"0");
        let allowed = root || asked || is_ci();
        (has_apt && allowed).then_some(Self { sudo: !root })
    }

    fn install(&self, need: &Need, updated: &mut bool) -> bool {
        print_error(format_args!("xtask: installing {} ({})", need.name, need.package));
        let policy = match ServicePolicy::hold_back(self.sudo) {
            Ok(policy) => policy,
            Err(error) => {
                print_error(format_args!("xtask: can't keep services from starting: {error:#}"));
                return false;
            }
        };
        let install: Vec<&str> = ["install", "-y"].into_iter().chain(need.package.split(' ')).collect();
        let installed = self.apt_get(&install)
            // In a fresh image the package lists are empty or old; update them once.
            || !std::mem::replace(updated, true) && self.apt_get(&["update"]) && self.apt_get(&install);
        policy.release();
        installed
    }

    fn apt_get(&self, arguments: &[&str]) -> bool {
        let mut command = as_root(self.sudo, "env");
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]).args(arguments);
        // sudo asks for the password on the terminal.
        command.stdin(Stdio::inherit()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}
