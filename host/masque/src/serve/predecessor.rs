//! Tells the database that the host is gone which had this data folder before: its turns and jobs need not wait for the end of
//! their leases.
//!
//! Threat: a copy of a data folder, for example on a cloned machine, would say so of a host that lives. Policy: the folder
//! notes the host together with the boot of its machine. Whoever holds the lock of the folder in the same boot knows that the
//! host before it has ended. After another boot the leases end by themselves.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use masque_store::Store;
use uuid::Uuid;

/// The file in the data folder: the host's id and the boot of its machine, each on a line.
const FILE: &str = "host";
/// Differs for each boot of each machine (`man 4 random`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Says that the host before this one is gone, and notes this one. To be called by the holder of the folder's lock.
///
/// # Errors
/// The database or the folder can't be written.
pub(super) async fn succeed(folder: &Path, store: &dyn Store, host: Uuid) -> anyhow::Result<()> {
    let path = folder.join(FILE);
    let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    let noted = std::fs::read_to_string(&path).unwrap_or_default();
    if let Some(before) = host_before(&noted, &boot) {
        store
            .heartbeat(before, &[], Duration::ZERO)
            .await
            .context("can't say that the host before is gone")?;
    }
    let text = format!("{host}\n{}\n", boot.trim());
    // Half a line names no host, so the file need not be replaced in one step.
    std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))
}

/// The host that a file names, if it ran in this boot.
fn host_before(noted: &str, boot: &str) -> Option<Uuid> {
    let mut lines = noted.lines();
    let (host, noted_boot) = (lines.next()?, lines.next()?);
    let is_same_boot = !boot.trim().is_empty() && noted_boot.trim() == boot.trim();
    is_same_boot.then(|| host.trim().parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_of_the_same_boot_is_known_to_be_gone() {
        let host = "0192f0c1-2d3e-7f40-8000-000000000001";
        let known = Some(host.parse().unwrap());
        for (noted, boot, expected) in [
            (format!("{host}\nboot-1\n"), "boot-1\n", known),
            (format!("{host}\nboot-1\n"), "boot-2\n", None),
            (format!("{host}\n"), "boot-1\n", None),
            (format!("{host}\n\n"), "", None),
            ("half a".to_owned(), "boot-1\n", None),
            (String::new(), "boot-1\n", None),
        ] {
            assert_eq!(host_before(&noted, boot), expected, "{noted:?} in {boot:?}");
        }
    }
}
