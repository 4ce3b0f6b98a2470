//! Which file systems are reached over a network.
//!
//! SQLite's log in shared memory and the lock of the data folder are only reliable among processes of one machine
//! (<https://www.sqlite.org/wal.html>). Over a network, locks are often missing or only local.

use std::io;
use std::path::Path;

/// The identifiers of `statfs(2)` and of `include/uapi/linux/magic.h`, with the name that operators know.
const NETWORK: &[(u32, &str)] = &[
    (0x0000_6969, "NFS"),
    (0x0000_517b, "SMB"),
    (0xff53_4d42, "SMB (CIFS)"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x4750_4653, "GPFS"),
    (0x0000_564c, "NCP"),
    (0x6573_5546, "FUSE"),
];

/// The name of the file system at `path`, if it is one that may be shared between machines. FUSE is among them: `sshfs`,
/// Docker Desktop and others use it.
///
/// # Errors
/// The path does not exist or can't be reached.
pub fn network_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    // The identifier has 32 bits; the type of the field differs between architectures.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "only the low 32 bits are used"
    )]
    let kind = rustix::fs::statfs(path)?.f_type as u32;
    Ok(name(kind))
}

fn name(kind: u32) -> Option<&'static str> {
    NETWORK.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_identifier_and_local_ones_are_not() {
        for (kind, expected) in [
            (0x6969, Some("NFS")),
            (0xff53_4d42, Some("SMB (CIFS)")),
            // ext4, tmpfs, overlay, btrfs, XFS.
            (0xef53, None),
            (0x0102_1994, None),
            (0x794c_7630, None),
            (0x9123_683e, None),
            (0x5846_5342, None),
        ] {
            assert_eq!(name(kind), expected, "{kind:x}");
        }
        assert_eq!(network_file_system(Path::new("/proc")).unwrap(), None);
        assert!(network_file_system(Path::new("/nowhere/at/all")).is_err());
    }
}
