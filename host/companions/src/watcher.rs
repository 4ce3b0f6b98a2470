//! Watches folders through the kernel (inotify): an event says that something in one of them was created, replaced,
//! removed or written. It does not say what: the caller compares the files, which is needed anyway since events can be
//! lost.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::PathBuf;

use inotify::{Inotify, WatchDescriptor, WatchMask, Watches};
use masque_config::FileSnapshot;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Every event by which an entry becomes another file or a file gets other content. Reading is excluded, since the host
/// itself reads.
const WATCHED_EVENTS: WatchMask = WatchMask::CREATE
    .union(WatchMask::MODIFY)
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::MOVE)
    .union(WatchMask::DELETE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF)
    .union(WatchMask::ONLYDIR);

/// The consequence of a missing watch, for the log.
const CONSEQUENCE: &str = "changes are noticed some seconds later";

/// The watches of all folders that matter to the active set.
pub(crate) struct FolderWatcher {
    /// `None` if the kernel refuses an inotify instance.
    events: Option<AsyncFd<Inotify>>,
    watched: HashSet<WatchDescriptor>,
    /// Folders that can't be watched and have been reported.
    reported: BTreeSet<PathBuf>,
}

impl FolderWatcher {
    /// A watcher without watches.
    pub(crate) fn open() -> Self {
        let events = Inotify::init().and_then(register);
        if let Err(error) = &events {
            tracing::warn!(%error, "no watches for files: {CONSEQUENCE}; raise fs.inotify.max_user_instances");
        }
        Self { events: events.ok(), watched: HashSet::new(), reported: BTreeSet::new() }
    }

    /// Replaces the watches by those of `files`.
    pub(crate) async fn watch(&mut self, files: &FileSnapshot) {
        let Some(events) = &self.events else { return };
        let (watches, files) = (events.get_ref().watches(), files.clone());
        let before = std::mem::take(&mut self.watched);
        // On a blocking thread: a folder on a network file system that is away would block a worker of the runtime.
        let set = tokio::task::spawn_blocking(move || replace_watches(watches, &files, &before)).await;
        // A panic is reported by the panic hook; the next call sets the watches again.
        let (watched, refused) = set.unwrap_or_default();
        self.watched = watched;
        for (folder, error) in refused {
            // A folder that was removed in between is covered by the watch of its parent.
            if error.kind() != io::ErrorKind::NotFound && self.reported.insert(folder.clone()) {
                tracing::warn!(%error, folder = %folder.display(), "a folder can't be watched: {CONSEQUENCE}");
            }
        }
    }

    /// Resolves when something has happened in one of the folders; never if nothing can be watched.
    pub(crate) async fn changed(&mut self) {
        let Some(events) = &mut self.events else { return std::future::pending().await };
        if let Err(error) = next_event(events).await {
            tracing::warn!(%error, "the watches for files have broken: {CONSEQUENCE}");
            self.events = None;
        }
    }
}

#[allow(unsafe_code, reason = "the only way to wait for it without a thread of its own")]
fn register(inotify: Inotify) -> io::Result<AsyncFd<Inotify>> {
    // SAFETY: the descriptor belongs to this value and is closed with it. Only this module reaches it, and nothing here
    // closes or replaces it.
    let registered = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

type RefusedFolders = Vec<(PathBuf, io::Error)>;

/// Adds watches for all folders of `files`, and removes those in `before` that are no longer needed.
fn replace_watches(
    mut watches: Watches,
    files: &FileSnapshot,
    before: &HashSet<WatchDescriptor>,
) -> (HashSet<WatchDescriptor>, RefusedFolders) {
    let (mut watched, mut refused) = (HashSet::new(), Vec::new());
    for folder in files.folders_to_watch() {
        // A folder that is watched already keeps its descriptor.
        match watches.add(&folder, WATCHED_EVENTS) {
            Ok(watch) => {
                watched.insert(watch);
            }
            Err(error) => refused.push((folder, error)),
        }
    }
    for unneeded in before.difference(&watched) {
        // Fails if the folder itself was removed: then the kernel has dropped the watch already.
        let _ = watches.remove(unneeded.clone());
    }
    (watched, refused)
}

/// Waits for at least one event and takes all that are there.
async fn next_event(events: &mut AsyncFd<Inotify>) -> io::Result<()> {
    loop {
        let mut ready = events.readable_mut().await?;
        let read = ready.try_io(|inotify| {
            let mut buffer = [0; 4096];
            inotify.get_mut().read_events(&mut buffer).map(drop)
        });
        if let Ok(read) = read {
            return read;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;
    use masque_config::{ConfigSource, Environment, Flags};

    /// Longer than any step takes unless the test fails.
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn snapshot(folder: &std::path::Path) -> FileSnapshot {
        let source = ConfigSource {
            flags: Flags::default(),
            environment: Environment::default(),
            folder: folder.to_path_buf(),
            default_card: "{}".into(),
        };
        source.load().unwrap().config.files
    }

    #[tokio::test]
    async fn every_way_to_replace_a_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut watcher = FolderWatcher::open();
        watcher.watch(&snapshot(folder.path())).await;
        let ways: [(&str, &dyn Fn()); 6] = [
            ("created", &|| std::fs::write(path("masque.toml"), "# one").unwrap()),
            ("written", &|| std::fs::write(path("masque.toml"), "# two").unwrap()),
            ("renamed", &|| std::fs::rename(path("masque.toml"), path("other")).unwrap()),
            ("linked", &|| symlink("other", path("masque.toml")).unwrap()),
            ("removed", &|| std::fs::remove_file(path("masque.toml")).unwrap()),
            ("permissions changed", &|| {
                let file = std::fs::File::open(path("other")).unwrap();
                file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            }),
        ];
        for (way, act) in ways {
            act();
            tokio::time::timeout(TIMEOUT, watcher.changed())
                .await
                .unwrap_or_else(|_| panic!("{way} is not noticed"));
            // Take the remaining events of the same act.
            while tokio::time::timeout(Duration::from_millis(20), watcher.changed()).await.is_ok() {}
        }
    }
}
