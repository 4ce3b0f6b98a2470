//! The kernel's news of folders (inotify): that something was made, replaced, removed or written in one of them. What it
//! was is not told: a look at the files says more, and is needed anyway where events are lost.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::PathBuf;

use inotify::{Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::config::FileSnapshot;

/// Everything by which an entry becomes another file, or a file other bytes. Reading is not among it: the host reads.
const WATCHED: WatchMask = WatchMask::CREATE
    .union(WatchMask::MODIFY)
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::MOVE)
    .union(WatchMask::DELETE)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF)
    .union(WatchMask::ONLYDIR);

/// What is said of a folder, or of all, that can't be watched.
const SLOWLY: &str = "changes are noticed some seconds later";

pub(super) struct Folders {
    /// `None` where the kernel gives none.
    events: Option<AsyncFd<Inotify>>,
    watched: HashSet<WatchDescriptor>,
    /// Folders that can't be watched, which has been said.
    unwatched: BTreeSet<PathBuf>,
}

impl Folders {
    /// Watches nothing yet.
    pub(super) fn open() -> Self {
        let events = Inotify::init().and_then(registered);
        if let Err(error) = &events {
            tracing::warn!(%error, "no watches for files: {SLOWLY}; raise fs.inotify.max_user_instances");
        }
        Self { events: events.ok(), watched: HashSet::new(), unwatched: BTreeSet::new() }
    }

    /// From here on, these and no others.
    pub(super) async fn watch(&mut self, sources: &FileSnapshot) {
        let Some(events) = &self.events else { return };
        let (watches, sources) = (events.get_ref().watches(), sources.clone());
        let before = std::mem::take(&mut self.watched);
        // A folder of a network that is away would hold up everyone else on this thread.
        let set = tokio::task::spawn_blocking(move || set(watches, &sources, &before)).await;
        // A panic has been reported; the next look sets them again.
        let (watched, refused) = set.unwrap_or_default();
        self.watched = watched;
        for (folder, error) in refused {
            // One that has gone since is found by its parent.
            if error.kind() != io::ErrorKind::NotFound && self.unwatched.insert(folder.clone()) {
                tracing::warn!(%error, folder = %folder.display(), "a folder can't be watched: {SLOWLY}");
            }
        }
    }

    /// Resolves when something has happened in one of the folders.
    pub(super) async fn changed(&mut self) {
        let Some(events) = &mut self.events else { return std::future::pending().await };
        if let Err(error) = next(events).await {
            tracing::warn!(%error, "the watches for files have broken: {SLOWLY}");
            self.events = None;
        }
    }
}

#[allow(unsafe_code, reason = "the only way to wait for it without a thread of its own")]
fn registered(inotify: Inotify) -> io::Result<AsyncFd<Inotify>> {
    // SAFETY: the descriptor is this value's own. Nothing in this room, where alone it is reached, closes or replaces it,
    // and it goes with the value.
    let registered = unsafe { AsyncFd::register_with_interest(inotify, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

type Refused = Vec<(PathBuf, io::Error)>;

fn set(
    mut watches: Watches,
    sources: &FileSnapshot,
    before: &HashSet<WatchDescriptor>,
) -> (HashSet<WatchDescriptor>, Refused) {
    let (mut watched, mut refused) = (HashSet::new(), Vec::new());
    for folder in sources.folders_to_watch() {
        // One that is watched already keeps its descriptor.
        match watches.add(&folder, WATCHED) {
            Ok(watch) => {
                watched.insert(watch);
            }
            Err(error) => refused.push((folder, error)),
        }
    }
    for gone in before.difference(&watched) {
        // The kernel has forgotten it already where the folder itself is gone.
        let _ = watches.remove(gone.clone());
    }
    (watched, refused)
}

/// Takes what has happened so far, or the first that does.
async fn next(events: &mut AsyncFd<Inotify>) -> io::Result<()> {
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
    use crate::config::{ConfigSource, Environment, Flags};

    /// What no test takes unless it fails.
    const LONG: Duration = Duration::from_secs(10);

    fn sources(folder: &std::path::Path) -> FileSnapshot {
        let source = ConfigSource {
            flags: Flags::default(),
            environment: Environment::default(),
            folder: folder.to_path_buf(),
            default_card: "{}".into(),
        };
        source.load().unwrap().config.files
    }

    #[tokio::test]
    async fn every_way_to_put_another_file_in_a_place_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut folders = Folders::open();
        folders.watch(&sources(folder.path())).await;
        let ways: [(&str, &dyn Fn()); 6] = [
            ("made", &|| std::fs::write(path("masque.toml"), "# one").unwrap()),
            ("written", &|| std::fs::write(path("masque.toml"), "# two").unwrap()),
            ("renamed", &|| std::fs::rename(path("masque.toml"), path("other")).unwrap()),
            ("linked", &|| symlink("other", path("masque.toml")).unwrap()),
            ("removed", &|| std::fs::remove_file(path("masque.toml")).unwrap()),
            ("permitted", &|| {
                let file = std::fs::File::open(path("other")).unwrap();
                file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            }),
        ];
        for (way, act) in ways {
            act();
            tokio::time::timeout(LONG, folders.changed())
                .await
                .unwrap_or_else(|_| panic!("{way} is not noticed"));
            // The rest of the same act.
            while tokio::time::timeout(Duration::from_millis(20), folders.changed()).await.is_ok() {}
        }
    }
}
