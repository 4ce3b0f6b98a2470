//! Who may change a file besides this process's user.
//!
//! A mode decides, with the owner: an access control list shows in the bits of the group (`acl(5)`). Root may change every
//! file in any case, so a file of root is as good as one of the own user.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;

/// Write permission of the group and of everyone.
const OTHERS_WRITE: u32 = 0o022;
const EVERYONE_WRITES: u32 = 0o002;

/// Why the content of a file or folder can't be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// It belongs to this user, who is neither the own user nor root.
    Owner(u32),
    /// The mode lets the group or everyone write.
    Mode(u32),
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(user) => write!(f, "it belongs to another user (id {user})"),
            Self::Mode(mode) => write!(f, "other users may change it (mode {mode:o})"),
        }
    }
}

/// Checks that only this process's user and root may change the file or folder.
///
/// # Errors
/// Who else may.
pub fn check_only_ours(metadata: &Metadata) -> Result<(), Untrusted> {
    check(metadata.uid(), metadata.mode(), rustix::process::geteuid().as_raw())
}

fn check(owner: u32, mode: u32, user: u32) -> Result<(), Untrusted> {
    if owner != user && owner != 0 {
        return Err(Untrusted::Owner(owner));
    }
    if mode & OTHERS_WRITE != 0 {
        return Err(Untrusted::Mode(mode & 0o7777));
    }
    Ok(())
}

/// Refuses a secret that every user of the machine may replace. The group may: the operator chose it, and with the umask of
/// many systems the user's own group may write every file.
///
/// # Errors
/// The reason and the remedy, in words for an operator.
pub(crate) fn refuse_writable_by_everyone(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() && metadata.mode() & EVERYONE_WRITES != 0 {
        let what =
            "every user of this machine may write it, so it is not used; take that right away (`chmod o-w`)";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_user_and_root_may_be_able_to_write() {
        for (owner, mode, expected) in [
            (1000, 0o100_600, Ok(())),
            (1000, 0o100_644, Ok(())),
            (0, 0o100_444, Ok(())),
            (1001, 0o100_600, Err(Untrusted::Owner(1001))),
            (65_534, 0o100_400, Err(Untrusted::Owner(65_534))),
            (1000, 0o100_660, Err(Untrusted::Mode(0o660))),
            (1000, 0o100_602, Err(Untrusted::Mode(0o602))),
            (0, 0o041_777, Err(Untrusted::Mode(0o1777))),
        ] {
            assert_eq!(check(owner, mode, 1000), expected, "{owner} {mode:o}");
        }
        assert_eq!(check(1000, 0o100_600, 0), Err(Untrusted::Owner(1000)), "a user's file, read by root");
    }
}
