//! The data folder: one host uses it at a time, and only its owner can read it.
//!
//! Threats: two hosts that write to one database, each believing that the turns of the other have ended; other users of
//! the machine who read conversations. Policy: the kernel's lock (`flock`) on a file beside the database, which ends
//! with the process in every case, a crash included; file modes without rights for group and others. The process id in
//! the lock file is only shown in the error. It decides nothing, since ids are reused and differ between containers.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use masque_store::OpenError;

/// A data folder that this process has locked. The lock ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the folder and the (empty) database file if they are missing, and takes the lock.
    pub(crate) fn claim(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { folder: path.to_owned(), source };
        let made = make(path).map_err(failed)?;
        let mut lock = private(&path.join("masque.lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Locked { folder: path.to_owned(), holder: holder(&mut lock) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        sign(&mut lock).map_err(failed)?;
        // SQLite gives its `-wal` and `-shm` files the mode of the database, so this one file decides for all three.
        private(&path.join("masque.db")).map_err(failed)?;
        made.iter().map(PathBuf::as_path).chain([path]).try_for_each(persist).map_err(failed)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    pub(crate) fn database(&self) -> PathBuf {
        Self::database_in(&self.path)
    }

    /// The database of a folder that another process may have locked.
    pub(crate) fn database_in(path: &Path) -> PathBuf {
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

/// Opens a file that only its owner can read, made if missing. Rights of others are taken away.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata()?.permissions().mode();
        if mode & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(mode & 0o700))?;
        }
    }
    Ok(file)
}

/// Makes the names in a folder, and its own name in its parent, survive a power cut.
fn persist(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        File::open(path)?.sync_all()?;
        if let Some(parent) = fs::canonicalize(path)?.parent() {
            // A parent that can't be opened for reading was not made by this process, so its names are on disk.
            if let Ok(parent) = File::open(parent) {
                parent.sync_all()?;
            }
        }
    }
    Ok(())
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
