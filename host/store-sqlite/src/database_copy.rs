//! Copies of the database, made while a host writes.
//!
//! `VACUUM INTO` reads one snapshot, so a host goes on writing meanwhile: with a write-ahead log, readers block no writer. The
//! backup interface of SQLite would begin anew whenever another process has written, and never end beside a busy host.
//! The copy is compact and holds nothing of what was deleted. Accepted: the log can't be shortened until the copy is
//! made, so it grows by what the host writes meanwhile.
//!
//! A copy is written under another name, checked, brought to the disk, and only then gets its own name.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use masque_store::StoreError;
use rusqlite::Connection;

use crate::backup_error::BackupError;
use crate::connection::open_immutable;
use crate::error::{DatabaseError, Result as DatabaseResult};
use crate::folder::persist_names;
use crate::query::one_row;

/// What to do with a file that has the copy's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    Refuse,
    Replace,
}

/// A copy without its name yet. It is removed if it never gets one.
pub(crate) struct UnnamedCopy {
    file: PathBuf,
    part: PathBuf,
    /// Keeps other processes from writing to the same file. Closed last, since that releases SQLite's locks on the file.
    lock: File,
    existing: Existing,
    /// Whether the part is gone: it has its name, or was removed.
    is_settled: bool,
}

impl UnnamedCopy {
    /// Copies the database of `source`, whose schema `has_expected_schema` recognises in the copy, for the name `file`.
    pub(crate) fn write(
        source: &Connection,
        file: &Path,
        existing: Existing,
        has_expected_schema: impl FnOnce(&Connection) -> DatabaseResult<bool>,
    ) -> Result<Self, BackupError> {
        if existing == Existing::Refuse && file.symlink_metadata().is_ok() {
            return Err(BackupError::Exists { file: file.to_owned() });
        }
        let failed = |error: DatabaseError| BackupError::Copy { file: file.to_owned(), source: error.into() };
        ensure_space(file, size(source).map_err(failed)?)?;
        let part = with_ending(file, ".part");
        let lock = make_part(file, &part)?;
        let copy = Self { file: file.to_owned(), part, lock, existing, is_settled: false };
        copy.fill(source).map_err(failed)?;
        copy.check(has_expected_schema).map_err(failed)?;
        copy.lock.sync_all().map_err(|source| BackupError::File { file: copy.part.clone(), source })?;
        Ok(copy)
    }

    fn fill(&self, source: &Connection) -> DatabaseResult<()> {
        let Some(part) = self.part.to_str() else {
            return Err(StoreError::Refused("the name of the file is not UTF-8".into()).into());
        };
        source.prepare("VACUUM INTO ?1")?.execute([part])?;
        Ok(())
    }

    fn check(
        &self,
        has_expected_schema: impl FnOnce(&Connection) -> DatabaseResult<bool>,
    ) -> DatabaseResult<()> {
        let connection = open_immutable(&self.part)?;
        check_integrity(&connection)?;
        match has_expected_schema(&connection)? {
            true => Ok(()),
            false => Err(StoreError::Corrupt("the schema of the copy is another one".into()).into()),
        }
    }

    /// Gives the copy its name. Returns its size in bytes.
    pub(crate) fn name(mut self) -> Result<u64, BackupError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists { file: self.file.clone() },
            _ => BackupError::File { file: self.file.clone(), source },
        };
        let bytes = self.lock.metadata().map_err(failed)?.len();
        match self.existing {
            Existing::Replace => fs::rename(&self.part, &self.file),
            Existing::Refuse => rename_to_new(&self.part, &self.file),
        }
        .map_err(failed)?;
        persist_names(folder_of(&self.file)).map_err(failed)?;
        self.is_settled = true;
        Ok(bytes)
    }

    /// Writes the copy to `output`. The file is removed before, so that nothing is left of it whatever happens. Returns its
    /// size in bytes.
    pub(crate) fn send(mut self, output: &mut impl Write) -> io::Result<u64> {
        fs::remove_file(&self.part)?;
        self.is_settled = true;
        let mut content = &self.lock;
        content.rewind()?;
        io::copy(&mut content, output)
    }
}

impl Drop for UnnamedCopy {
    fn drop(&mut self) {
        if !self.is_settled
            && let Err(error) = fs::remove_file(&self.part)
        {
            tracing::warn!(%error, "{} can't be removed", self.part.display());
        }
    }
}

/// Fails if a page or row of the database is damaged.
pub(crate) fn check_integrity(connection: &Connection) -> DatabaseResult<()> {
    let found = one_row(connection, "PRAGMA integrity_check(1)", [], |row| Ok(row.get::<_, String>(0)?))?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Corrupt(found).into()) }
}

/// The bytes of a database without its unused pages.
pub(crate) fn size(connection: &Connection) -> DatabaseResult<u64> {
    let bytes = one_row(
        connection,
        "SELECT page_size * (page_count - freelist_count)
           FROM pragma_page_size, pragma_page_count, pragma_freelist_count",
        [],
        |row| Ok(row.get::<_, i64>(0)?),
    )?;
    crate::columns::unsigned(bytes)
}

/// Fails if the disk of `file` has fewer bytes left than are needed.
pub(crate) fn ensure_space(file: &Path, needed: u64) -> Result<(), BackupError> {
    let folder = folder_of(file);
    let found = rustix::fs::statvfs(folder)
        .map_err(|error| BackupError::File { file: folder.to_owned(), source: error.into() })?;
    let available = found.f_bavail.saturating_mul(found.f_frsize);
    if available < needed {
        return Err(BackupError::NoSpace { folder: folder.to_owned(), needed, available });
    }
    Ok(())
}

/// The folder that a file is in.
pub(crate) fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The same path with more at its end.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Makes the file that is written first, for this process alone. What an interrupted copy left there is removed, and not
/// written to: it may have its final name as well.
fn make_part(file: &Path, part: &Path) -> Result<File, BackupError> {
    let failed = |source| BackupError::File { file: part.to_owned(), source };
    let busy = || BackupError::Busy { file: file.to_owned() };
    match File::open(part) {
        Ok(left) => {
            lock(&left).map_err(failed)?.then_some(()).ok_or_else(busy)?;
            fs::remove_file(part).map_err(failed)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(part);
    let made = made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => busy(),
        _ => failed(error),
    })?;
    lock(&made).map_err(failed)?.then_some(made).ok_or_else(busy)
}

/// False if another process has the lock.
fn lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Renames a file unless the name is taken. A link says so in one step; a file system without links is asked before.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) if to.symlink_metadata().is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}
