//! Who may change a file besides this process's user.
//!
//! A mode decides, with the owner: an access control list shows in the bits of the group (`acl(5)`). Root may change every
//! file in any case, so a file of root is as good as one of the own user.
//!
//! Not looked at are the folders on the way to a file: who may write one of them can put another file there. A link counts as
//! what it leads to, so the links in a volume of Kubernetes are followed.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{getegid, geteuid, getgroups};

const GROUP_WRITES: u32 = 0o020;
const EVERYONE_WRITES: u32 = 0o002;
const ROOT: u32 = 0;

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
    check(metadata.uid(), metadata.mode(), geteuid().as_raw())
}

fn check(owner: u32, mode: u32, user: u32) -> Result<(), Untrusted> {
    if owner != user && owner != ROOT {
        return Err(Untrusted::Owner(owner));
    }
    if mode & (GROUP_WRITES | EVERYONE_WRITES) != 0 {
        return Err(Untrusted::Mode(mode & 0o7777));
    }
    Ok(())
}

/// Who may write a file or folder without being its owner, root, or in a group that the operator trusts already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherWriters {
    /// Every user of the machine.
    Everyone,
    /// The members of the group with this id.
    Group(u32),
}

impl fmt::Display for OtherWriters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("every user of this machine may write it"),
            Self::Group(group) => write!(f, "every member of the group with the id {group} may write it"),
        }
    }
}

/// Who else may write a regular file or a folder that an operator named. `None` if nobody may, and for everything that is
/// neither.
///
/// The rule is weaker than [`check_only_ours`], since the files come from elsewhere. The owner may be anybody: a file that is
/// mounted into a container often belongs to a user of the machine around it. The group may write if it is one of these:
///
/// - a group of this process. With the umask of many systems the user's own group may write every file, and Kubernetes gives
///   a volume to the group `fsGroup`, which it adds to the process;
/// - the private group of the file's owner, which has the number of its user;
/// - root's.
pub fn other_writers(metadata: &Metadata) -> Option<OtherWriters> {
    let is_judged = metadata.is_file() || metadata.is_dir();
    is_judged.then(|| find_writers(metadata.uid(), metadata.gid(), metadata.mode(), own_groups)).flatten()
}

fn find_writers(
    owner: u32,
    group: u32,
    mode: u32,
    own_groups: impl FnOnce() -> Vec<u32>,
) -> Option<OtherWriters> {
    if mode & EVERYONE_WRITES != 0 {
        return Some(OtherWriters::Everyone);
    }
    let is_safe =
        mode & GROUP_WRITES == 0 || group == ROOT || group == owner || own_groups().contains(&group);
    (!is_safe).then_some(OtherWriters::Group(group))
}

/// The groups of this process. Where the additional ones can't be read, the first one.
fn own_groups() -> Vec<u32> {
    let additional = getgroups().unwrap_or_default();
    additional.into_iter().chain([getegid()]).map(|group| group.as_raw()).collect()
}

/// Refuses a file that [`other_writers`] finds some for.
///
/// # Errors
/// The reason and the remedy, in words for an operator.
pub(crate) fn refuse_other_writers(path: &Path, metadata: &Metadata) -> io::Result<()> {
    let Some(writers) = other_writers(metadata) else { return Ok(()) };
    let remedy = take_away(path);
    let what = format!("{writers}, so it is not used; {remedy}");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
}

/// What an operator does about a file that other users may write: part of a sentence, with the command.
pub fn take_away(path: &Path) -> String {
    format!("take that right away with `chmod go-w {}`", path.display())
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

    #[test]
    fn of_files_from_elsewhere_only_the_group_of_the_process_the_owner_or_root_may_be_able_to_write() {
        let everyone = Some(OtherWriters::Everyone);
        let group = |group| Some(OtherWriters::Group(group));
        // The process has the groups 1000 and, from `fsGroup`, 2000.
        for (owner, owning_group, mode, expected) in [
            // Secrets of Kubernetes, Docker and systemd.
            (0, 0, 0o100_444, None),
            (0, 0, 0o100_644, None),
            (0, 2000, 0o100_440, None),
            (0, 2000, 0o100_640, None),
            (0, 2000, 0o100_660, None),
            (1000, 1000, 0o100_400, None),
            (1000, 1000, 0o100_600, None),
            // A file that is mounted from the machine around the container.
            (501, 20, 0o100_644, None),
            (1001, 1001, 0o100_664, None),
            (65_534, 65_534, 0o100_444, None),
            (1000, 1000, 0o100_664, None),
            (0, 0, 0o100_664, None),
            // Another group.
            (0, 50, 0o100_664, group(50)),
            (1000, 50, 0o100_620, group(50)),
            (501, 20, 0o100_660, group(20)),
            (0, 50, 0o040_775, group(50)),
            // Everyone, whoever the owner is.
            (1000, 1000, 0o100_666, everyone),
            (0, 0, 0o100_602, everyone),
            (0, 2000, 0o100_777, everyone),
            (0, 0, 0o041_777, everyone),
        ] {
            let found = find_writers(owner, owning_group, mode, || vec![2000, 1000]);
            assert_eq!(found, expected, "{owner}:{owning_group} {mode:o}");
        }
    }

    #[test]
    fn what_this_process_makes_for_itself_is_trusted() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (mode, expected) in [(0o600, None), (0o664, None), (0o646, Some(OtherWriters::Everyone))] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(other_writers(&file.metadata().unwrap()), expected, "{mode:o}");
        }
        assert_eq!(other_writers(&Path::new("/dev/null").metadata().unwrap()), None);
        assert!(own_groups().contains(&getegid().as_raw()));
    }
}
