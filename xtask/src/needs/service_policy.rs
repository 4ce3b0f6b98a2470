//! Keeps packages from starting servers while they are installed.
//!
//! Debian's packages ask `policy-rc.d` before they start a service; exit code 101 forbids it
//! (https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt). PostgreSQL's packages read
//! `createcluster.conf` before they make a cluster, which would be started at the next boot. The units of other packages are
//! enabled while they are installed, and disabled again here.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::root::as_root;
use super::silent::succeeds;

const POLICY: &str = "/usr/sbin/policy-rc.d";
const CLUSTERS: &str = "/etc/postgresql-common/createcluster.conf";

/// The units that packages of this project's needs enable.
const UNITS: [&str; 4] =
    ["pgbouncer.service", "prometheus.service", "redis-server.service", "redis-sentinel.service"];

/// While it is held, no package starts a service.
pub(super) struct ServicePolicy {
    sudo: bool,
    /// Whether the file was made here and is removed at the end. One that was there belongs to the machine.
    made: bool,
    /// The units that are disabled at the end: those that were not enabled before.
    not_enabled: Vec<&'static str>,
}

impl ServicePolicy {
    /// Forbids services to start. Files that exist stay as they are.
    ///
    /// # Errors
    /// A file can't be written.
    pub(super) fn hold_back(sudo: bool) -> anyhow::Result<Self> {
        let made = !Path::new(POLICY).exists();
        if made {
            write(sudo, POLICY, "#!/bin/sh\nexit 101\n", "755")?;
        }
        if !Path::new(CLUSTERS).exists() {
            write(sudo, CLUSTERS, "create_main_cluster = false\n", "644")?;
        }
        let is_enabled =
            |unit: &&str| succeeds(Command::new("systemctl").args(["--quiet", "is-enabled", *unit]));
        let not_enabled = UNITS.into_iter().filter(|unit| !is_enabled(unit)).collect();
        Ok(Self { sudo, made, not_enabled })
    }

    /// Allows services again, as before.
    pub(super) fn release(self) {
        for unit in self.not_enabled {
            // Fails for units that were not installed, and where there is no systemd, which would start one.
            succeeds(as_root(self.sudo, "systemctl").args(["--quiet", "--no-reload", "disable", unit]));
        }
        if self.made {
            // A file that stays would only keep later packages from starting services.
            let _ = as_root(self.sudo, "rm").args(["-f", POLICY]).status();
        }
    }
}

/// Writes a file as root, with its folder.
fn write(sudo: bool, path: &str, text: &str, mode: &str) -> anyhow::Result<()> {
    let mut child = as_root(sudo, "install")
        .args(["-D", "-m", mode, "/dev/stdin", path])
        .stdin(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't write {path}"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(text.as_bytes()).with_context(|| format!("can't write {path}"))?;
    }
    ensure!(child.wait()?.success(), "can't write {path}");
    Ok(())
}
