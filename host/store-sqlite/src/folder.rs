//! The data folder: one host uses it at a time, and only its owner can read it.
//!
//! Threats: two hosts that write to one database, each believing that the turns of the other have ended; other users of
//! the machine who read conversations. Policy: the kernel's lock (`flock`) on a file beside the database, which ends
//! with the process in every case, a crash included; file modes without rights for group and others. The process id in
//! the lock file is only shown in the error. It decides nothing, since ids are reused and differ between containers. The
//! accepted consequence: where the modes can't be changed, because the files belong to another user or the file system has
//! no modes, the host says so in the log and starts. The same goes for a network file system, whose locks it can't test.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use masque_store::OpenError;

/// The permissions of the group and of everyone.
const OTHERS: u32 = 0o077;

/// A data folder that this process has locked. The lock ends when it is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the folder if it is missing, and takes the lock: for a host whose database is elsewhere, and that keeps only
    /// compiled plugins, scratch folders and its socket here.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another process has the lock; [`OpenError::Io`].
    pub fn lock(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { folder: path.to_owned(), source };
        let made = make(path).map_err(failed)?;
        warn_of_network(path);
        let mut lock = private(&Self::lock_in(path)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { folder: path.to_owned(), holder: holder(&mut lock) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        sign(&mut lock).map_err(failed)?;
        made.iter().map(PathBuf::as_path).chain([path]).try_for_each(persist).map_err(failed)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// Makes the folder and the (empty) database file if they are missing, and takes the lock.
    pub(crate) fn claim(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { folder: path.to_owned(), source };
        let folder = Self::lock(path)?;
        // SQLite gives its `-wal` and `-shm` files the mode of the database, so this one file decides for all three.
        private(&folder.database()).and_then(|_file| persist(path)).map_err(failed)?;
        Ok(folder)
    }

    pub(crate) fn database(&self) -> PathBuf {
        Self::database_in(&self.path)
    }

    /// The file that is locked.
    pub(crate) fn lock_in(path: &Path) -> PathBuf {
        path.join("masque.lock")
    }

    /// The database of a folder that another process may have locked.
    pub fn database_in(path: &Path) -> PathBuf {
        path.join("masque.db")
    }
}

/// Unlocks explicitly instead of only closing the file: a child process that is just being started holds a copy of the
/// descriptor until `exec`, and the lock with it.
impl Drop for Folder {
    fn drop(&mut self) {
        // If that fails, the lock ends with the process.
        let _ = self.lock.unlock();
    }
}

/// The process id in the lock file, as far as it can be read.
fn holder(lock: &mut File) -> Option<String> {
    let mut text = String::new();
    lock.take(64).read_to_string(&mut text).ok()?;
    let text = text.trim();
    (!text.is_empty() && text.chars().all(|character| character.is_ascii_digit())).then(|| text.to_owned())
}

fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.seek(SeekFrom::Start(0))?;
    writeln!(lock, "{}", std::process::id())
}

/// Returns the folders that were missing.
fn make(path: &Path) -> io::Result<Vec<PathBuf>> {
    let missing = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let missing = missing.map(Path::to_path_buf).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    Ok(missing)
}

/// Logs that the folder is on a network file system. Two hosts on two machines are kept apart by its lock alone, and many
/// file systems keep locks on one machine only.
fn warn_of_network(path: &Path) {
    match masque_files::network_file_system(path) {
        Ok(Some(name)) => tracing::warn!(
            "the data folder {} is on a network file system ({name}): its locks may not keep two hosts apart, and SQLite may \
             fail or lose data on it; use a local disk",
            path.display()
        ),
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "the file system of the data folder is unknown"),
    }
}

/// Makes a file that only its owner can read, if it is missing, and takes the rights of others away otherwise.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    private(path).map(drop)
}

/// Opens a file that only its owner can read, made if missing. Rights of others are taken away; where that is not possible,
/// the log says so.
fn private(path: &Path) -> io::Result<File> {
    open_private(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{} can't be opened: {error}", path.display())))
}

fn open_private(path: &Path) -> io::Result<File> {
    match path.metadata() {
        // Opening a device may have effects of its own.
        Ok(metadata) => masque_files::check_is_regular(&metadata)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = || Ok::<_, io::Error>(file.metadata()?.permissions().mode());
        let found = mode()?;
        if found & OTHERS != 0 {
            let changed = file.set_permissions(fs::Permissions::from_mode(found & 0o700));
            // Some file systems answer that the mode is changed, and keep it.
            let left = mode()?;
            if left & OTHERS != 0 {
                let error = changed.err().map(tracing::field::display);
                tracing::warn!(
                    error,
                    "other users may read or write {} (mode {:o}), and that right can't be taken away; make this user \
                     its owner",
                    path.display(),
                    left & 0o777
                );
            }
        }
    }
    Ok(file)
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn persist_names(folder: &Path) -> io::Result<()> {
    sync_folder(&File::open(folder)?)
}

/// Makes the names in a folder, and its own name in its parent, survive a power cut.
fn persist(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        persist_names(path)?;
        if let Some(parent) = fs::canonicalize(path)?.parent() {
            // A parent that can't be opened for reading was not made by this process, so its names are on disk.
            if let Ok(parent) = File::open(parent) {
                sync_folder(&parent)?;
            }
        }
    }
    Ok(())
}

/// Network file systems and those of other systems can't do this for a folder, and answer EINVAL (`fsync(2)`) or ENOTSUP. A
/// read-only one has nothing to write.
fn sync_folder(folder: &File) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, ReadOnlyFilesystem, Unsupported};
    match folder.sync_all() {
        Err(error) if matches!(error.kind(), InvalidInput | Unsupported | ReadOnlyFilesystem) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::Folder;
    use masque_store::OpenError;

    #[test]
    fn a_folder_is_free_again_when_its_holder_is_gone() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let first = Folder::claim(&path).unwrap();
        match Folder::claim(&path) {
            Err(OpenError::Locked { holder, .. }) => assert_eq!(holder, Some(std::process::id().to_string())),
            other => panic!("{other:?}"),
        }
        drop(first);
        Folder::claim(&path).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn no_one_else_can_read_the_folder_or_a_file_in_it() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let folder = Folder::claim(&path).unwrap();
        std::fs::set_permissions(folder.database(), std::fs::Permissions::from_mode(0o644)).unwrap();
        drop(folder);
        let folder = Folder::claim(&path).unwrap();
        for path in [path.clone(), folder.database(), path.join("masque.lock")] {
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
        }
    }
}
