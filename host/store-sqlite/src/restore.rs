//! `masque restore`: puts a backup in the place of the database of a data folder that no host uses.
//!
//! The backup is copied into the data folder and prepared there: checked, migrated, and whatever the caller does with it
//! ([`Restore::database`]). Only then it takes the place of the database, in one rename. The database from before stays
//! under another name. A restore that is cut off at any moment leaves either of the two in place, whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use masque_store::{AuditEntry, StoreError};
use rusqlite::Connection;

use crate::audit_rows::insert_entry;
use crate::backup::blocking;
use crate::backup_error::BackupError;
use crate::connection::{open_immutable, open_writer};
use crate::database_copy::{check_integrity, ensure_space, with_ending};
use crate::error::DatabaseError;
use crate::folder::{Folder, persist_names};
use crate::query::one_row;
use crate::records::remove_files;
use crate::schema::{FoundSchema, MIGRATIONS, apply, inspect};
use crate::wal;

/// A backup that is prepared in a data folder, and not in its place yet. The folder is locked meanwhile. Dropping it leaves
/// the database as it was.
#[derive(Debug)]
pub struct Restore {
    folder: PathBuf,
    prepared: PathBuf,
    /// No host can start before the restore has ended.
    _lock: Folder,
}

impl Restore {
    /// Copies a backup into a data folder, which is made if it is missing, and checks it. One of an older version is migrated.
    ///
    /// # Errors
    /// [`masque_store::OpenError::Locked`] while a host has the folder; [`BackupError::NoBackup`] if the file is no database
    /// of Masque, is damaged, or is of a version that this one can't work with. Must be called within a tokio runtime.
    pub async fn prepare(folder: &Path, file: &Path) -> Result<Self, BackupError> {
        let (folder, file) = (folder.to_owned(), file.to_owned());
        blocking(file.clone(), move || {
            let lock = Folder::lock(&folder)?;
            let prepared = with_ending(&Folder::database_in(&folder), ".restoring");
            let restore = Self { folder, prepared, _lock: lock };
            restore.clear()?;
            check_backup(&file)?;
            restore.copy(&file)?;
            restore.bring_up_to_date(&file)?;
            Ok(restore)
        })
        .await
    }

    /// The prepared database. It can be changed until [`Self::install`].
    pub fn database(&self) -> &Path {
        &self.prepared
    }

    /// Adds `entry` to the audit log of the prepared database and puts it in its place. Returns where the database from
    /// before is kept, if there was one.
    ///
    /// # Errors
    /// See [`BackupError`].
    pub async fn install(self, entry: AuditEntry) -> Result<Option<PathBuf>, BackupError> {
        blocking(self.prepared.clone(), move || {
            self.finish(&entry)?;
            let database = Folder::database_in(&self.folder);
            let failed = |source| BackupError::File { file: database.clone(), source };
            // They are of turns of the database from before, which the backup may not have.
            remove_files(&self.folder).map_err(failed)?;
            let kept = keep_aside(&database).map_err(failed)?;
            fs::rename(&self.prepared, &database).map_err(failed)?;
            persist_names(&self.folder).map_err(failed)?;
            Ok(kept)
        })
        .await
    }

    /// Removes what an interrupted restore left.
    fn clear(&self) -> Result<(), BackupError> {
        for path in [self.prepared.clone(), wal::path_of(&self.prepared), wal::index_path_of(&self.prepared)]
        {
            remove(&path).map_err(|source| BackupError::File { file: path, source })?;
        }
        Ok(())
    }

    fn copy(&self, file: &Path) -> Result<(), BackupError> {
        let read = |source| BackupError::File { file: file.to_owned(), source };
        let written = |source| BackupError::File { file: self.prepared.clone(), source };
        let mut from = masque_files::open_regular(file).map_err(read)?;
        ensure_space(&self.prepared, from.metadata().map_err(read)?.len())?;
        let mut options = File::options();
        std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
        let mut to = options.open(&self.prepared).map_err(written)?;
        io::copy(&mut from, &mut to).map_err(written)?;
        to.sync_all().map_err(written)
    }

    fn bring_up_to_date(&self, file: &Path) -> Result<(), BackupError> {
        let refuse = |error: DatabaseError| no_backup(file, StoreError::from(error).to_string());
        let connection = open_writer(&self.prepared).map_err(refuse)?;
        check_integrity(&connection).map_err(refuse)?;
        if inspect(&connection, MIGRATIONS).map_err(refuse)? == FoundSchema::Older {
            apply(&connection, MIGRATIONS).map_err(refuse)?;
        }
        Ok(())
    }

    /// Writes the entry, and everything that is in the log into the file.
    fn finish(&self, entry: &AuditEntry) -> Result<(), BackupError> {
        let copy = |source| BackupError::Copy { file: self.prepared.clone(), source };
        let failed = |error: DatabaseError| copy(error.into());
        let connection = open_writer(&self.prepared).map_err(failed)?;
        insert_entry(&connection, entry).map_err(failed)?;
        let is_emptied = |connection: &Connection| {
            one_row(connection, "PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
        };
        if !is_emptied(&connection).map_err(failed)? {
            return Err(copy(StoreError::Unavailable("another process has it open".into())));
        }
        connection.close().map_err(|(_connection, error)| failed(error.into()))?;
        for path in [wal::path_of(&self.prepared), wal::index_path_of(&self.prepared)] {
            remove(&path).map_err(|source| BackupError::File { file: path, source })?;
        }
        let synced = File::open(&self.prepared).and_then(|file| file.sync_all());
        synced.map_err(|source| BackupError::File { file: self.prepared.clone(), source })
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        // After `install` there is nothing to remove.
        if let Err(error) = self.clear() {
            tracing::warn!(%error, "what was prepared for the restore can't be removed");
        }
    }
}

/// Fails if the file is no backup that this version can use. Nothing beside it is made.
fn check_backup(file: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError::File { file: file.to_owned(), source };
    masque_files::open_regular(file).map_err(failed)?;
    if fs::metadata(wal::path_of(file)).is_ok_and(|log| log.len() > 0) {
        let reason = "a write-ahead log lies beside it, so it was copied without `masque backup`; start a host on a folder \
                      with both, stop it, and restore what it leaves";
        return Err(no_backup(file, reason.to_owned()));
    }
    let found = open_immutable(file).and_then(|connection| inspect(&connection, MIGRATIONS));
    match found {
        Ok(FoundSchema::Current | FoundSchema::Older) => Ok(()),
        Ok(FoundSchema::Empty) => Err(no_backup(file, "it is empty".to_owned())),
        Ok(FoundSchema::Foreign) => Err(no_backup(file, "it is the database of another program".to_owned())),
        Ok(FoundSchema::OtherVersion(reason)) => Err(no_backup(
            file,
            format!(
                "it is of another version of Masque ({reason}); restore it with the version that wrote it"
            ),
        )),
        Err(error) => Err(no_backup(file, StoreError::from(error).to_string())),
    }
}

fn no_backup(file: &Path, reason: String) -> BackupError {
    BackupError::NoBackup { file: file.to_owned(), reason }
}

/// Gives the present database a second name, and takes its log and index away, so that SQLite does not take them for those
/// of the restored one. Returns the name; `None` if there is no database.
fn keep_aside(database: &Path) -> io::Result<Option<PathBuf>> {
    let (log, index) = (wal::path_of(database), wal::index_path_of(database));
    if fs::metadata(database).map_or(0, |metadata| metadata.len()) == 0 {
        // A log without a database is nobody's.
        remove(&log)?;
        remove(&index)?;
        return Ok(None);
    }
    // Puts the rest of the log into the file. A database that is too damaged for that is kept with its log.
    match open_writer(database) {
        Ok(connection) => drop(connection),
        Err(error) => tracing::warn!("the present database is kept as it is: {}", StoreError::from(error)),
    }
    let kept = unused_name(database)?;
    link(database, &kept)?;
    if log.exists() {
        link(&log, &wal::path_of(&kept))?;
    }
    persist_names(crate::database_copy::folder_of(database))?;
    remove(&log)?;
    remove(&index)?;
    Ok(Some(kept))
}

fn unused_name(database: &Path) -> io::Result<PathBuf> {
    (1..u32::MAX)
        .map(|number| with_ending(database, &format!(".before-restore-{number}")))
        .find(|path| path.symlink_metadata().is_err())
        .ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}

/// A second name for a file, or a copy where the file system has no links.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to).or_else(|_no_links| {
        fs::copy(from, to)?;
        File::open(to)?.sync_all()
    })
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
