//! What the configuration was made of: every path that was looked at, and how it was found just before it was read.
//!
//! Whoever follows a configuration compares this with how the paths are found later. What is done about a change is left
//! to them; here nothing is read but metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Clocks of file systems tick every few milliseconds, so a file may change twice and show one time. One that changed
/// less than this before it was looked at may have been read in the middle.
const UNSETTLED: Duration = Duration::from_millis(100);
/// As many as the kernel follows on one path.
const MAX_LINKS: usize = 40;

/// The paths, each with its stamp; those that were looked for in vain are among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    files: BTreeMap<PathBuf, Stamp>,
    /// The entries of these count; what the entries hold are files of their own.
    folders: BTreeMap<PathBuf, Stamp>,
}

/// How a path was found, symbolic links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    /// `None` where there is nothing, or nothing that may be seen.
    found: Option<Identity>,
    /// Whether it had just been changed.
    unsettled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    /// In nanoseconds.
    modified: i128,
    /// The same for what is not content: a file that becomes readable has changed.
    changed: i128,
}

impl Sources {
    /// Notes how the file is found now, unless it has been noted before.
    pub(super) fn note_file(&mut self, path: &Path) {
        self.files.entry(path.to_owned()).or_insert_with(|| Stamp::of(path));
    }

    pub(super) fn note_folder(&mut self, path: &Path) {
        self.folders.entry(path.to_owned()).or_insert_with(|| Stamp::of(path));
    }

    /// The same paths as they are found now.
    pub(crate) fn again(&self) -> Self {
        let stamp = |stamps: &BTreeMap<PathBuf, Stamp>| {
            stamps.keys().map(|path| (path.clone(), Stamp::of(path))).collect()
        };
        Self { files: stamp(&self.files), folders: stamp(&self.folders) }
    }

    /// Whether something is found otherwise in `later`, which has the same paths.
    pub(crate) fn differ(&self, later: &Self) -> bool {
        let found = |stamps: &BTreeMap<PathBuf, Stamp>| -> Vec<Option<Identity>> {
            stamps.values().map(|stamp| stamp.found).collect()
        };
        found(&self.files) != found(&later.files) || found(&self.folders) != found(&later.folders)
    }

    /// Whether something had just been changed, so that a further change need not show.
    pub(crate) fn are_unsettled(&self) -> bool {
        self.files.values().chain(self.folders.values()).any(|stamp| stamp.unsettled)
    }

    /// Where an entry that is made, replaced or removed can make one of the paths another file: the folder of each file,
    /// and of each symbolic link on the way to it.
    pub(crate) fn watched(&self) -> BTreeSet<PathBuf> {
        let mut watched = BTreeSet::new();
        for file in self.files.keys() {
            along(file, &mut watched);
        }
        // Not the folder that it is in itself: that is the data folder, which the store writes to all the time.
        watched.extend(self.folders.keys().filter_map(|folder| fs::canonicalize(folder).ok()));
        watched
    }
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let found = fs::metadata(path).ok().map(|metadata| Identity::of(&metadata));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { found, unsettled: found.is_some_and(|identity| identity.is_unsettled(now)) }
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// A time in the future is another machine's clock, and says nothing.
    fn is_unsettled(&self, now: Duration) -> bool {
        let newest = self.modified.max(self.changed);
        let age = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX) - newest;
        (0..UNSETTLED.as_nanos().cast_signed()).contains(&age)
    }
}

/// Follows `path` link by link, and adds the folders on the way in which a change would lead elsewhere.
fn along(path: &Path, folders: &mut BTreeSet<PathBuf>) {
    let Ok(path) = std::path::absolute(path) else { return };
    let steps = |path: &Path| -> Vec<OsString> {
        path.components().rev().map(|step| step.as_os_str().to_owned()).collect()
    };
    let (mut at, mut ahead, mut links) = (PathBuf::new(), steps(&path), 0);
    while let Some(step) = ahead.pop() {
        if step == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&step);
        match fs::read_link(&next) {
            Ok(target) if links < MAX_LINKS => {
                links += 1;
                folders.insert(at.clone());
                // A root among them replaces what `at` holds when it is joined.
                ahead.extend(steps(&target));
            }
            _ => at = next,
        }
    }
    // A folder that is missing shows in the nearest one that is not.
    folders.extend(at.ancestors().skip(1).find(|folder| folder.is_dir()).map(Path::to_owned));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn noted(path: &Path) -> Sources {
        let mut sources = Sources::default();
        sources.note_file(path);
        sources
    }

    fn identity() -> Identity {
        Identity { device: 1, inode: 2, bytes: 3, modified: 4, changed: 5 }
    }

    #[test]
    fn whatever_tells_one_file_from_another_is_a_change() {
        let with = |found| {
            let stamp = Stamp { found, unsettled: false };
            Sources { files: [("it".into(), stamp)].into(), folders: BTreeMap::new() }
        };
        let before = with(Some(identity()));
        assert!(!before.differ(&with(Some(identity()))));
        for other in [
            None,
            Some(Identity { device: 0, ..identity() }),
            Some(Identity { inode: 0, ..identity() }),
            Some(Identity { bytes: 0, ..identity() }),
            Some(Identity { modified: 0, ..identity() }),
            Some(Identity { changed: 0, ..identity() }),
        ] {
            assert!(before.differ(&with(other)), "{other:?}");
            assert!(with(other).differ(&before), "{other:?}");
        }
    }

    #[test]
    fn that_a_file_had_just_been_changed_is_no_change_of_its_own() {
        let with = |unsettled| {
            let stamp = Stamp { found: Some(identity()), unsettled };
            Sources { files: [("it".into(), stamp)].into(), folders: BTreeMap::new() }
        };
        assert!(!with(true).differ(&with(false)));
        assert!(with(true).are_unsettled() && !with(false).are_unsettled());
    }

    #[test]
    fn a_file_is_unsettled_only_for_a_moment_after_its_change() {
        let at = |modified: i128| Identity { modified, changed: 0, ..identity() };
        let now = Duration::from_secs(10);
        for (modified, unsettled) in
            [(10_000_000_000, true), (9_950_000_000, true), (9_800_000_000, false), (11_000_000_000, false)]
        {
            assert_eq!(at(modified).is_unsettled(now), unsettled, "{modified}");
        }
    }

    #[test]
    fn a_file_that_comes_goes_or_is_replaced_shows() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("it");
        let missing = noted(&file);
        std::fs::write(&file, "one").unwrap();
        let there = missing.again();
        assert!(missing.differ(&there));
        std::fs::write(folder.path().join("other"), "two").unwrap();
        std::fs::rename(folder.path().join("other"), &file).unwrap();
        let replaced = there.again();
        assert!(there.differ(&replaced), "another file of the same length");
        std::fs::remove_file(&file).unwrap();
        assert!(replaced.differ(&replaced.again()));
    }

    #[test]
    fn every_folder_that_can_lead_elsewhere_is_watched() {
        let root = tempfile::tempdir().unwrap();
        // As in a tempdir below a link, which the paths below would not name.
        let root = std::fs::canonicalize(root.path()).unwrap().join("r");
        for folder in ["etc/..2026_1", "opt/release-1", "data/plugins"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("etc/..2026_1/masque.toml"), "").unwrap();
        symlink("..2026_1", root.join("etc/..data")).unwrap();
        symlink("..data/masque.toml", root.join("etc/masque.toml")).unwrap();
        symlink("release-1", root.join("opt/current")).unwrap();
        symlink(root.join("opt/current"), root.join("app")).unwrap();

        let watched = |path: &str| -> Vec<String> {
            let folders = noted(&root.join(path)).watched();
            let short = |folder: &PathBuf| folder.strip_prefix(&root).unwrap().display().to_string();
            folders.iter().map(short).collect()
        };
        assert_eq!(watched("etc/masque.toml"), ["etc", "etc/..2026_1"]);
        assert_eq!(watched("app/card.json"), ["", "opt", "opt/release-1"]);
        assert_eq!(watched("opt/none/cards/elara.json"), ["opt"]);

        let mut sources = Sources::default();
        sources.note_folder(&root.join("data/plugins"));
        assert_eq!(sources.watched(), [root.join("data/plugins")].into());
    }

    #[test]
    fn links_that_go_round_end() {
        let root = tempfile::tempdir().unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();
        assert!(!noted(&root.path().join("a")).watched().is_empty());
    }
}
