//! Folders in which plugins may keep files between calls: one for each plugin version that was granted a size.
//!
//! The threat: a plugin that fills the disk. The policy: a count that is raised before anything is written and that falls
//! only when no instance of the version lives, by looking at what is really there: so neither deleted files that are still
//! open nor several calls at once hide anything. A folder is emptied when its version is let go and when the host starts. What
//! is accepted: all users of the plugin share the folder. What a guest may do in it is left to `guest::files`.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Space is counted in what file systems give out.
const BLOCK: u64 = 4 << 10;
/// A name in the folder, what it leads to, and a symbolic link's target.
pub(crate) const ENTRY: u64 = 2 * BLOCK;

/// Whole blocks that hold `bytes`, in bytes.
pub(crate) fn in_blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// All folders.
pub(crate) struct Scratches {
    root: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By the plugin's name and the component's digest.
    folders: HashMap<(String, String), Weak<Scratch>>,
    /// Folders have a number, so that one that is still being removed is never taken for its successor.
    made: u64,
}

impl Scratches {
    /// Removes what an earlier host left.
    pub(crate) fn new(root: Option<&Path>) -> io::Result<Self> {
        if let Some(root) = root {
            remove(root)?;
            make(root)?;
        }
        Ok(Self { root: root.map(Path::to_owned), known: Mutex::default() })
    }

    pub(crate) fn folder(&self, plugin: &str, digest: &str) -> Option<Arc<Scratch>> {
        let root = self.root.as_ref()?;
        let key = (plugin.to_owned(), digest.to_owned());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = known.folders.get(&key).and_then(Weak::upgrade) {
            return Some(folder);
        }
        known.folders.retain(|_, folder| folder.strong_count() > 0);
        known.made += 1;
        let plain = |text: &str, most: usize| -> String {
            text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(most).collect()
        };
        let digest = digest.trim_start_matches("sha256:");
        let name = format!("{}-{}-{}", plain(plugin, 64), plain(digest, 16), known.made);
        let folder = Arc::new(Scratch {
            path: root.join(name),
            measuring: tokio::sync::Mutex::default(),
            usage: Mutex::default(),
        });
        known.folders.insert(key, Arc::downgrade(&folder));
        Some(folder)
    }
}

/// The folder of one plugin version. Removed with its last owner.
pub(crate) struct Scratch {
    path: PathBuf,
    /// Held by whoever finds out what is in the folder; nobody begins meanwhile.
    measuring: tokio::sync::Mutex<()>,
    usage: Mutex<Usage>,
}

#[derive(Default)]
struct Usage {
    leases: usize,
    used: u64,
    /// Charged for what was given up halfway: it may come about at any later time, so it is never given back.
    stray: u64,
}

impl Scratch {
    /// Lends the folder to a store, with the size that its plugin was granted.
    pub(crate) async fn open(self: &Arc<Self>, limit: u64) -> io::Result<Arc<Lease>> {
        let _measuring = self.measuring.lock().await;
        if self.usage().leases == 0 {
            let path = self.path.clone();
            let found = tokio::task::spawn_blocking(move || make(&path).and_then(|()| measure(&path)));
            let found = found.await.map_err(io::Error::other)??;
            let mut usage = self.usage();
            usage.used = found.saturating_add(usage.stray);
        }
        self.usage().leases += 1;
        Ok(Arc::new(Lease { scratch: self.clone(), limit }))
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        let empty = move || {
            if let Err(error) = remove(&path) {
                tracing::warn!(folder = %path.display(), %error, "a scratch folder can't be removed; the next start tries again");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(empty)),
            Err(_) => empty(),
        }
    }
}

/// Lives as long as anything that may write to the folder.
pub(crate) struct Lease {
    scratch: Arc<Scratch>,
    limit: u64,
}

/// The folder holds as much as was granted.
#[derive(Debug)]
pub(crate) struct Full;

impl Lease {
    pub(crate) fn path(&self) -> &Path {
        &self.scratch.path
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Counts `bytes` before they are written.
    pub(crate) fn charge(self: &Arc<Self>, bytes: u64) -> Result<Charge, Full> {
        let mut usage = self.scratch.usage();
        let used = usage.used.saturating_add(bytes);
        if used > self.limit {
            return Err(Full);
        }
        usage.used = used;
        Ok(Charge { lease: self.clone(), bytes, settled: false })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut usage = self.scratch.usage();
        usage.leases = usage.leases.saturating_sub(1);
    }
}

/// What was counted for one operation.
#[must_use]
pub(crate) struct Charge {
    lease: Arc<Lease>,
    bytes: u64,
    settled: bool,
}

impl Charge {
    /// Gives back what was counted where the operation took no effect.
    pub(crate) fn settle(mut self, effective: bool) {
        self.settled = true;
        if !effective {
            let mut usage = self.lease.scratch.usage();
            usage.used = usage.used.saturating_sub(self.bytes);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if !self.settled {
            let mut usage = self.lease.scratch.usage();
            usage.stray = usage.stray.saturating_add(self.bytes);
        }
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// There are no folders within the folder. Holes count as if they were filled.
fn measure(folder: &Path) -> io::Result<u64> {
    let mut total = 0_u64;
    for entry in fs::read_dir(folder)? {
        let metadata = entry?.metadata()?;
        let size = in_blocks(metadata.len()).max(metadata.blocks().saturating_mul(512));
        total = total.saturating_add(ENTRY).saturating_add(size);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_charged_comes_back_only_when_nobody_holds_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let scratch = Scratches::new(Some(root.path())).unwrap().folder("a", "sha256:b").unwrap();
        let first = scratch.open(100).await.unwrap();
        first.charge(80).unwrap().settle(true);
        let second = scratch.open(100).await.unwrap();
        drop(first);
        assert!(second.charge(21).is_err());
        second.charge(20).unwrap().settle(false);
        drop(second.charge(10).unwrap());
        drop(second);
        let third = scratch.open(100).await.unwrap();
        assert!(third.charge(91).is_err(), "what was given up halfway may still come about");
        third.charge(90).unwrap().settle(true);
    }

    #[tokio::test]
    async fn what_is_in_the_folder_counts_and_names_and_digests_are_apart() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("left"), "by an earlier host").unwrap();
        let scratches = Scratches::new(Some(root.path())).unwrap();
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        let folder = |name, digest| scratches.folder(name, digest).unwrap();
        let (scratch, other) = (folder("a", "sha256:b"), folder("a", "sha256:c"));
        assert!(Arc::ptr_eq(&scratch, &folder("a", "sha256:b")));
        assert!(scratch.path != other.path && scratch.path != folder("b", "sha256:b").path);
        drop(scratch.open(0).await.unwrap());
        fs::write(scratch.path.join("x"), "one byte more than none").unwrap();
        let lease = scratch.open(ENTRY + BLOCK + 1).await.unwrap();
        assert!(lease.charge(2).is_err());
        lease.charge(1).unwrap().settle(true);
    }
}
