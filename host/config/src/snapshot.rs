//! A snapshot of the files that a configuration was read from: every path, with its metadata just before it was read.
//!
//! Whoever watches a configuration compares a snapshot with a later one, and decides what to do about a change. This
//! module reads only metadata.
//!
//! Some file systems (FUSE, overlays, network file systems) give a file another inode or device number at times. Where that was
//! seen, the numbers of the path no longer count; sizes and times still do.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A change that is younger than this may hide a further change: the clocks of file systems tick every few milliseconds,
/// so two changes may have the same time.
const RECENT: Duration = Duration::from_millis(100);
/// The number of symbolic links that Linux follows on one path.
const MAX_LINKS: usize = 40;

/// The paths with their states. A path where nothing was found is among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSnapshot {
    files: BTreeMap<PathBuf, PathState>,
    /// Folders of which the list of entries was read.
    folders: BTreeMap<PathBuf, PathState>,
}

/// How a path was found; symbolic links are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PathState {
    /// `None` if nothing is there, or nothing that this process may see.
    identity: Option<FileIdentity>,
    /// Whether the last change was younger than [`RECENT`].
    changed_recently: bool,
    /// Whether device and inode were seen to change by themselves.
    is_unstable: bool,
}

/// What distinguishes two files, or two states of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Time of the last change of the content, in nanoseconds since 1970.
    modified: i128,
    /// Time of the last change of content or metadata: a file that becomes readable has changed.
    changed: i128,
}

impl FileSnapshot {
    /// Records how the file is found now, unless it was recorded before.
    pub(crate) fn record_file(&mut self, path: &Path) {
        self.files.entry(path.to_owned()).or_insert_with(|| PathState::read(path));
    }

    /// Records how the folder is found now, unless it was recorded before.
    pub(crate) fn record_folder(&mut self, path: &Path) {
        self.folders.entry(path.to_owned()).or_insert_with(|| PathState::read(path));
    }

    /// A new snapshot of the same paths.
    pub fn retake(&self) -> Self {
        let read = |states: &BTreeMap<PathBuf, PathState>| {
            let again = |path: &Path, before: &PathState| {
                let state = PathState::read(path);
                PathState { is_unstable: state.is_unstable || before.is_unstable, ..state }
            };
            states.iter().map(|(path, before)| (path.clone(), again(path, before))).collect()
        };
        Self { files: read(&self.files), folders: read(&self.folders) }
    }

    /// Whether a path was found differently in `later`, a snapshot of the same paths.
    pub fn differs_from(&self, later: &Self) -> bool {
        let differ = |before: &BTreeMap<PathBuf, PathState>, later: &BTreeMap<PathBuf, PathState>| {
            before.len() != later.len()
                || before.values().zip(later.values()).any(|(before, later)| before.differs_from(later))
        };
        differ(&self.files, &later.files) || differ(&self.folders, &later.folders)
    }

    /// Keeps what `before`, an earlier reading, knew of numbers that change by themselves. If this reading found the same content
    /// (`is_same`), adds the paths that differ in device and inode alone: the numbers of these paths no longer count.
    pub fn learn_unstable_numbers(&mut self, before: &Self, is_same: bool) {
        let learn = |states: &mut BTreeMap<PathBuf, PathState>, before: &BTreeMap<PathBuf, PathState>| {
            for (path, state) in states {
                let Some(before) = before.get(path) else { continue };
                state.is_unstable |= before.is_unstable || is_same && state.differs_in_numbers_only(before);
            }
        };
        learn(&mut self.files, &before.files);
        learn(&mut self.folders, &before.folders);
    }

    /// Whether a path changed so shortly before that a further change may not show in its metadata.
    pub fn has_recent_changes(&self) -> bool {
        self.files.values().chain(self.folders.values()).any(|state| state.changed_recently)
    }

    /// The folders in which a new, replaced or removed entry can change what a path leads to: the folder of each file, and
    /// the folder of each symbolic link on the way to it.
    pub fn folders_to_watch(&self) -> BTreeSet<PathBuf> {
        let mut folders = BTreeSet::new();
        for file in self.files.keys() {
            add_folders_on_path(file, &mut folders);
        }
        // Only the plugins folder itself. Its parent is the data folder, to which the store writes all the time.
        folders.extend(self.folders.keys().filter_map(|folder| fs::canonicalize(folder).ok()));
        folders
    }
}

impl PathState {
    fn read(path: &Path) -> Self {
        Self::read_by(|| fs::metadata(path).ok().map(|metadata| FileIdentity::of(&metadata)))
    }

    /// Reads twice: numbers that differ between two readings at once are unstable.
    fn read_by(mut read: impl FnMut() -> Option<FileIdentity>) -> Self {
        let (before, identity) = (read(), read());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed_recently = identity.is_some_and(|identity| identity.changed_recently(now));
        let is_unstable = differ_in_numbers_only(before, identity);
        Self { identity, changed_recently, is_unstable }
    }

    fn differs_from(&self, later: &Self) -> bool {
        if self.is_unstable || later.is_unstable {
            self.identity.map(FileIdentity::without_numbers)
                != later.identity.map(FileIdentity::without_numbers)
        } else {
            self.identity != later.identity
        }
    }

    fn differs_in_numbers_only(&self, other: &Self) -> bool {
        differ_in_numbers_only(self.identity, other.identity)
    }
}

fn differ_in_numbers_only(one: Option<FileIdentity>, other: Option<FileIdentity>) -> bool {
    one != other && one.map(FileIdentity::without_numbers) == other.map(FileIdentity::without_numbers)
}

impl FileIdentity {
    fn without_numbers(self) -> Self {
        Self { device: 0, inode: 0, ..self }
    }

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

    /// A time in the future comes from the clock of another machine and does not count.
    fn changed_recently(&self, now: Duration) -> bool {
        let newest = self.modified.max(self.changed);
        let age = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX) - newest;
        (0..RECENT.as_nanos().cast_signed()).contains(&age)
    }
}

/// Follows `path` link by link, and adds the folder of each link and of the file at the end.
fn add_folders_on_path(path: &Path, folders: &mut BTreeSet<PathBuf>) {
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
                // An absolute target begins with the root, which replaces `at` when it is joined.
                ahead.extend(steps(&target));
            }
            _ => at = next,
        }
    }
    // If the folder is missing, its creation shows in the nearest folder that exists.
    folders.extend(at.ancestors().skip(1).find(|folder| folder.is_dir()).map(Path::to_owned));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn snapshot_of(path: &Path) -> FileSnapshot {
        let mut snapshot = FileSnapshot::default();
        snapshot.record_file(path);
        snapshot
    }

    fn identity() -> FileIdentity {
        FileIdentity { device: 1, inode: 2, bytes: 3, modified: 4, changed: 5 }
    }

    #[test]
    fn every_difference_in_metadata_is_a_change() {
        let with = |identity| {
            let state = PathState { identity, changed_recently: false, is_unstable: false };
            FileSnapshot { files: [("it".into(), state)].into(), folders: BTreeMap::new() }
        };
        let before = with(Some(identity()));
        assert!(!before.differs_from(&with(Some(identity()))));
        for other in [
            None,
            Some(FileIdentity { device: 0, ..identity() }),
            Some(FileIdentity { inode: 0, ..identity() }),
            Some(FileIdentity { bytes: 0, ..identity() }),
            Some(FileIdentity { modified: 0, ..identity() }),
            Some(FileIdentity { changed: 0, ..identity() }),
        ] {
            assert!(before.differs_from(&with(other)), "{other:?}");
            assert!(with(other).differs_from(&before), "{other:?}");
        }
    }

    #[test]
    fn numbers_that_change_by_themselves_no_longer_count_and_everything_else_does() {
        let mut inode = 0;
        let mut read = |modified| {
            let state = PathState::read_by(|| {
                inode += 1;
                Some(FileIdentity { inode, modified, ..identity() })
            });
            FileSnapshot { files: [("it".into(), state)].into(), folders: BTreeMap::new() }
        };
        let before = read(4);
        assert!(!before.differs_from(&read(4)), "the inode differs between two readings at once");
        assert!(before.differs_from(&read(5)));
    }

    #[test]
    fn numbers_that_changed_while_the_content_stayed_no_longer_count() {
        let with = |inode, modified| {
            let identity = Some(FileIdentity { inode, modified, ..identity() });
            let state = PathState { identity, changed_recently: false, is_unstable: false };
            FileSnapshot { files: [("it".into(), state)].into(), folders: BTreeMap::new() }
        };
        let (before, mut after) = (with(1, 4), with(2, 4));
        assert!(before.differs_from(&after));
        after.learn_unstable_numbers(&before, false);
        assert!(after.differs_from(&with(3, 4)), "another file with other content");
        after.learn_unstable_numbers(&before, true);
        assert!(!after.differs_from(&with(3, 4)));
        assert!(after.differs_from(&with(3, 5)));
        // The knowledge is kept by later readings.
        let mut later = with(3, 5);
        later.learn_unstable_numbers(&after, false);
        assert!(!later.differs_from(&with(4, 5)));
        // A new time is a change that says nothing about the numbers.
        let (before, mut after) = (with(1, 4), with(2, 5));
        after.learn_unstable_numbers(&before, true);
        assert!(after.differs_from(&with(3, 5)));
    }

    #[test]
    fn a_recent_change_is_not_a_difference_by_itself() {
        let with = |changed_recently| {
            let state = PathState { identity: Some(identity()), changed_recently, is_unstable: false };
            FileSnapshot { files: [("it".into(), state)].into(), folders: BTreeMap::new() }
        };
        assert!(!with(true).differs_from(&with(false)));
        assert!(with(true).has_recent_changes() && !with(false).has_recent_changes());
    }

    #[test]
    fn a_change_is_recent_only_for_a_moment() {
        let at = |modified: i128| FileIdentity { modified, changed: 0, ..identity() };
        let now = Duration::from_secs(10);
        for (modified, expected) in
            [(10_000_000_000, true), (9_950_000_000, true), (9_800_000_000, false), (11_000_000_000, false)]
        {
            assert_eq!(at(modified).changed_recently(now), expected, "{modified}");
        }
    }

    #[test]
    fn a_file_that_is_created_removed_or_replaced_shows() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("it");
        let missing = snapshot_of(&file);
        std::fs::write(&file, "one").unwrap();
        let there = missing.retake();
        assert!(missing.differs_from(&there));
        std::fs::write(folder.path().join("other"), "two").unwrap();
        std::fs::rename(folder.path().join("other"), &file).unwrap();
        let replaced = there.retake();
        assert!(there.differs_from(&replaced), "another file of the same length");
        std::fs::remove_file(&file).unwrap();
        assert!(replaced.differs_from(&replaced.retake()));
    }

    #[test]
    fn every_folder_that_can_change_the_path_is_watched() {
        let root = tempfile::tempdir().unwrap();
        // The temporary folder may itself be below a link.
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
            let folders = snapshot_of(&root.join(path)).folders_to_watch();
            let short = |folder: &PathBuf| folder.strip_prefix(&root).unwrap().display().to_string();
            folders.iter().map(short).collect()
        };
        assert_eq!(watched("etc/masque.toml"), ["etc", "etc/..2026_1"]);
        assert_eq!(watched("app/card.json"), ["", "opt", "opt/release-1"]);
        assert_eq!(watched("opt/none/cards/elara.json"), ["opt"]);

        let mut snapshot = FileSnapshot::default();
        snapshot.record_folder(&root.join("data/plugins"));
        assert_eq!(snapshot.folders_to_watch(), [root.join("data/plugins")].into());
    }

    #[test]
    fn a_loop_of_links_ends() {
        let root = tempfile::tempdir().unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();
        assert!(!snapshot_of(&root.path().join("a")).folders_to_watch().is_empty());
    }
}
