//! Folders in which plugins may keep files between calls: one for each plugin version that was granted a size.
//!
//! The threat: a plugin that fills the disk. The policy: a counter is raised before anything is written. It is lowered only
//! when no instance of the version exists, to the measured size of the folder, so open deleted files and concurrent calls can't
//! hide usage. A folder is removed when its version is unloaded and when the host starts. The accepted consequence: all users
//! of the plugin share the folder. What a guest may do in it is left to `guest::files`.

use std::collections::HashMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Space is counted in blocks of this size, as file systems allocate it.
const BLOCK: u64 = 4 << 10;
/// Bytes that are counted for a directory entry: its name, its inode, and a symbolic link's target.
pub(crate) const ENTRY: u64 = 2 * BLOCK;

/// `bytes` rounded up to whole blocks.
pub(crate) fn in_blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// All scratch folders of a sandbox.
pub(crate) struct ScratchFolders {
    root: Option<PathBuf>,
    registry: Mutex<ScratchRegistry>,
}

#[derive(Default)]
struct ScratchRegistry {
    /// By the plugin's name and the component's digest.
    folders: HashMap<(String, String), Weak<ScratchFolder>>,
    /// Numbers the folders, so that one that is still being removed is never taken for its successor.
    created: u64,
}

impl ScratchFolders {
    /// Creates the root folder and removes what an earlier host left in it. Without a root, or where it can't be used (it may
    /// belong to another user), no plugin has a folder.
    pub(crate) fn new(root: Option<&Path>) -> Self {
        let usable = |root: &&Path| match remove(root).and_then(|()| create(root)) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(
                    %error,
                    folder = %root.display(),
                    "plugins have no scratch folders, since theirs can't be emptied and made"
                );
                false
            }
        };
        Self { root: root.filter(usable).map(Path::to_owned), registry: Mutex::default() }
    }

    /// The folder of a plugin version, or `None` where there is no root. It is created when it is first opened.
    pub(crate) fn folder(&self, plugin: &str, digest: &str) -> Option<Arc<ScratchFolder>> {
        let root = self.root.as_ref()?;
        let key = (plugin.to_owned(), digest.to_owned());
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = registry.folders.get(&key).and_then(Weak::upgrade) {
            return Some(folder);
        }
        registry.folders.retain(|_, folder| folder.strong_count() > 0);
        registry.created += 1;
        let plain = |text: &str, max: usize| -> String {
            text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(max).collect()
        };
        let digest = digest.trim_start_matches("sha256:");
        let name = format!("{}-{}-{}", plain(plugin, 64), plain(digest, 16), registry.created);
        let folder = Arc::new(ScratchFolder {
            path: root.join(name),
            opening: tokio::sync::Mutex::default(),
            usage: Mutex::default(),
        });
        registry.folders.insert(key, Arc::downgrade(&folder));
        Some(folder)
    }
}

/// The folder of one plugin version. It is removed with its last owner.
pub(crate) struct ScratchFolder {
    path: PathBuf,
    /// Held while the folder is measured, so that no store begins to write meanwhile.
    opening: tokio::sync::Mutex<()>,
    usage: Mutex<ScratchUsage>,
}

#[derive(Default)]
struct ScratchUsage {
    leases: usize,
    used: u64,
    /// Charges of operations that were dropped before they ended. They may still take effect at any later time, so they are
    /// never given back.
    abandoned: u64,
}

impl ScratchFolder {
    /// Leases the folder to a store. `limit` is the size that the plugin was granted, in bytes.
    ///
    /// # Errors
    /// The folder can't be created or measured.
    pub(crate) async fn open(self: &Arc<Self>, limit: u64) -> io::Result<Arc<ScratchLease>> {
        let _opening = self.opening.lock().await;
        if self.usage().leases == 0 {
            let path = self.path.clone();
            let found = tokio::task::spawn_blocking(move || create(&path).and_then(|()| measure(&path)));
            let found = found.await.map_err(io::Error::other)??;
            let mut usage = self.usage();
            usage.used = found.saturating_add(usage.abandoned);
        }
        self.usage().leases += 1;
        Ok(Arc::new(ScratchLease { folder: self.clone(), limit }))
    }

    fn usage(&self) -> MutexGuard<'_, ScratchUsage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ScratchFolder {
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
pub(crate) struct ScratchLease {
    folder: Arc<ScratchFolder>,
    limit: u64,
}

/// The granted size is used up.
#[derive(Debug)]
pub(crate) struct QuotaExceeded;

impl ScratchLease {
    pub(crate) fn path(&self) -> &Path {
        &self.folder.path
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Counts `bytes` before they are written.
    ///
    /// # Errors
    /// The granted size would be exceeded; nothing is counted.
    pub(crate) fn charge(self: &Arc<Self>, bytes: u64) -> Result<ScratchCharge, QuotaExceeded> {
        let mut usage = self.folder.usage();
        let used = usage.used.saturating_add(bytes);
        if used > self.limit {
            return Err(QuotaExceeded);
        }
        usage.used = used;
        Ok(ScratchCharge { lease: self.clone(), bytes, completed: false })
    }
}

impl Drop for ScratchLease {
    fn drop(&mut self) {
        let mut usage = self.folder.usage();
        usage.leases = usage.leases.saturating_sub(1);
    }
}

/// What was counted for one operation. A charge that is dropped without [`ScratchCharge::complete`] is never given back.
#[must_use]
pub(crate) struct ScratchCharge {
    lease: Arc<ScratchLease>,
    bytes: u64,
    completed: bool,
}

impl ScratchCharge {
    /// The operation has ended. Gives back what was counted where it took no effect.
    pub(crate) fn complete(mut self, took_effect: bool) {
        self.completed = true;
        if !took_effect {
            let mut usage = self.lease.folder.usage();
            usage.used = usage.used.saturating_sub(self.bytes);
        }
    }
}

impl Drop for ScratchCharge {
    fn drop(&mut self) {
        if !self.completed {
            let mut usage = self.lease.folder.usage();
            usage.abandoned = usage.abandoned.saturating_add(self.bytes);
        }
    }
}

fn create(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The bytes that the folder takes on disk. It has no subfolders. Holes in files count as if they were filled.
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
    async fn charges_are_released_only_when_no_lease_holds_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = ScratchFolders::new(Some(root.path())).folder("a", "sha256:b").unwrap();
        let first = folder.open(100).await.unwrap();
        first.charge(80).unwrap().complete(true);
        let second = folder.open(100).await.unwrap();
        drop(first);
        assert!(second.charge(21).is_err());
        second.charge(20).unwrap().complete(false);
        drop(second.charge(10).unwrap());
        drop(second);
        let third = folder.open(100).await.unwrap();
        assert!(third.charge(91).is_err(), "a dropped operation may still take effect");
        third.charge(90).unwrap().complete(true);
    }

    #[tokio::test]
    async fn existing_files_count_and_each_name_and_digest_has_its_own_folder() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("left"), "by an earlier host").unwrap();
        let folders = ScratchFolders::new(Some(root.path()));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        let folder = |name, digest| folders.folder(name, digest).unwrap();
        let (scratch, other) = (folder("a", "sha256:b"), folder("a", "sha256:c"));
        assert!(Arc::ptr_eq(&scratch, &folder("a", "sha256:b")));
        assert!(scratch.path != other.path && scratch.path != folder("b", "sha256:b").path);
        drop(scratch.open(0).await.unwrap());
        fs::write(scratch.path.join("x"), "one byte more than none").unwrap();
        let lease = scratch.open(ENTRY + BLOCK + 1).await.unwrap();
        assert!(lease.charge(2).is_err());
        lease.charge(1).unwrap().complete(true);
    }
}
