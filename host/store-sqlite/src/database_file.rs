//! Whether the database file is still where the next start looks for it.
//!
//! The threat: an operator or a cleaning job deletes or moves the database, or the whole data folder, under a running host.
//! SQLite goes on with its open files. Turns would be acknowledged, and the next start would not find them.
//!
//! The policy: the writer looks before each `COMMIT`. If the file has no name any more, or nothing has its path, the
//! transaction is not committed, and the writer ends with the reason. The cost is two system calls for each transaction
//! (`fstat` and `stat`), a few microseconds beside an `fdatasync`.
//!
//! Accepted: a file that is moved away while another one takes its path is not noticed, since inode numbers, which would
//! tell, are not stable on network file systems.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use masque_store::StoreError;
use rustix::fs::{Mode, OFlags, fstat, open, stat};
use rustix::io::Errno;

/// The file of an open database.
#[derive(Debug)]
pub(crate) struct DatabaseFile {
    path: PathBuf,
    /// Opened with `O_PATH`. Closing an ordinary descriptor of the file would release the locks that SQLite has on it in
    /// this process (`fcntl(2)`), and closing this one does not (`filp_close` in `fs/open.c` of Linux).
    file: OwnedFd,
    /// False on a file system that reports no links for a file that has a name.
    has_link_count: bool,
}

impl DatabaseFile {
    /// Remembers the file at `path`.
    ///
    /// # Errors
    /// The file can't be found.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let has_link_count = fstat(&file)?.st_nlink > 0;
        Ok(Self { path: path.to_owned(), file, has_link_count })
    }

    /// Fails if the file was deleted or moved. A path that can't be looked at counts as there: the file may be.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let is_deleted = self.has_link_count && fstat(&self.file).is_ok_and(|found| found.st_nlink == 0);
        if is_deleted || matches!(stat(&self.path), Err(Errno::NOENT | Errno::NOTDIR)) {
            return Err(StoreError::Unavailable(format!(
                "the database {} was moved or deleted while the host ran; what is not stored by now is refused",
                self.path.display()
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::DatabaseFile;

    #[test]
    fn a_file_that_was_deleted_or_moved_is_missed_and_one_that_is_only_changed_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("data");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("masque.db");
        let make = || {
            fs::write(&path, "").unwrap();
            DatabaseFile::open(&path).unwrap()
        };

        let file = make();
        fs::write(&path, "more").unwrap();
        file.check().unwrap();
        fs::remove_file(&path).unwrap();
        let text = file.check().unwrap_err().to_string();
        assert!(text.contains(path.to_str().unwrap()) && text.contains("moved or deleted"), "{text}");
        make();
        assert!(file.check().is_err(), "another file at its path is not the database");

        let file = make();
        fs::rename(&path, folder.join("backup.db")).unwrap();
        assert!(file.check().is_err());
        let file = make();
        fs::rename(&folder, parent.path().join("elsewhere")).unwrap();
        assert!(file.check().is_err());
        fs::rename(parent.path().join("elsewhere"), &folder).unwrap();
        file.check().unwrap();
    }
}
