//! `masque backup`: a copy of the database in one file or as a stream, made beside a running host or without one.

use std::io::Write;
use std::path::{Path, PathBuf};

use masque_store::{AuditEntry, OpenError, StoreError};
use rusqlite::Connection;

use crate::audit_rows::insert_entry;
use crate::backup_error::BackupError;
use crate::connection::open_reader;
use crate::database_copy::{Existing, UnnamedCopy};
use crate::error::Result as DatabaseResult;
use crate::folder::Folder;
use crate::schema::{FoundSchema, MIGRATIONS, inspect};
use crate::store::open_existing;

/// Copies the database of a data folder into a new file that only its owner can read. A host that runs on the folder goes on
/// writing meanwhile; the copy holds what was committed when this began. `entry` is added to the audit log of the database
/// before the file gets its name. Returns the bytes of the file.
///
/// # Errors
/// See [`BackupError`]; then there is no file. Must be called within a tokio runtime.
pub async fn backup(folder: &Path, file: &Path, entry: AuditEntry) -> Result<u64, BackupError> {
    let (folder, file) = (folder.to_owned(), file.to_owned());
    blocking(file.clone(), move || {
        let path = Folder::database_in(&folder);
        let writer = open_existing(&folder, &path)?;
        let failed = |source| BackupError::Open(OpenError::Database { folder: folder.clone(), source });
        let reader = open_reader(&path).map_err(|error| failed(error.into()))?;
        let copy = UnnamedCopy::write(&reader, &file, Existing::Refuse, is_current)?;
        insert_entry(&writer, &entry).map_err(|error| failed(error.into()))?;
        copy.name()
    })
    .await
}

/// What a stream is called in errors.
const OUTPUT: &str = "the output";

/// Writes the same copy to `output`, for another program. It is made and checked in the data folder first, in a file without a
/// name of its own, since a database can't be written from front to back. `entry` is added to the audit log of the database
/// before the first byte leaves. Returns the bytes of the copy.
///
/// # Errors
/// See [`BackupError`]; then what was written is no backup. Must be called within a tokio runtime.
pub async fn backup_to(
    folder: &Path,
    mut output: impl Write + Send + 'static,
    entry: AuditEntry,
) -> Result<u64, BackupError> {
    let folder = folder.to_owned();
    blocking(OUTPUT.into(), move || {
        let path = Folder::database_in(&folder);
        let writer = open_existing(&folder, &path)?;
        let failed = |source| BackupError::Open(OpenError::Database { folder: folder.clone(), source });
        let reader = open_reader(&path).map_err(|error| failed(error.into()))?;
        let copy = UnnamedCopy::write(&reader, &folder.join(STREAMED), Existing::Replace, is_current)?;
        insert_entry(&writer, &entry).map_err(|error| failed(error.into()))?;
        let sent = copy.send(&mut output).and_then(|bytes| output.flush().map(|()| bytes));
        sent.map_err(|source| BackupError::File { file: OUTPUT.into(), source })
    })
    .await
}

/// The file in the data folder from which a copy is streamed. Only a process that was killed leaves `streamed-backup.part`
/// behind, which the next one removes.
const STREAMED: &str = "streamed-backup";

pub(crate) fn is_current(connection: &Connection) -> DatabaseResult<bool> {
    Ok(inspect(connection, MIGRATIONS)? == FoundSchema::Current)
}

/// Runs work that waits for the disk.
pub(crate) async fn blocking<T: Send + 'static>(
    file: PathBuf,
    work: impl FnOnce() -> Result<T, BackupError> + Send + 'static,
) -> Result<T, BackupError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| {
        Err(BackupError::Copy { file, source: StoreError::Internal(panic.to_string()) })
    })
}
