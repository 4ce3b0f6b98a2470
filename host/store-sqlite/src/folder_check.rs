//! Whether a host could start on a data folder, found out without a change of anything in it.
//!
//! It asks what [`crate::folder`] and opening the store need: a folder in which files can be made, files that can be read
//! and written, and a database with the schema of this version. It takes no lock, so it works beside a running host, and a
//! folder in use is no mistake. The database is opened through SQLite alone.
//!
//! SQLite makes the files `-wal` and `-shm` even to read, unless both exist. Where one is missing, no host uses the
//! database, and its pages are read as they are (`immutable`). Accepted: if a log was left without its index, as in a copy
//! of a running host's folder, the pages may be older than the log, and damage in them is not reported.

use std::io;
use std::path::Path;

use masque_store::OpenError;
use rustix::fs::{Access, access};

use crate::connection::{open_immutable, open_reader};
use crate::error::Result;
use crate::folder::Folder;
use crate::schema::{FoundSchema, MIGRATIONS, inspect};
use crate::{records, wal};

/// Returns why a host could not start on `folder`. Waits for the disk, and for locks of other processes.
pub(crate) fn check(folder: &Path) -> std::result::Result<(), OpenError> {
    check_files(folder).map_err(|source| OpenError::Io { folder: folder.to_owned(), source })?;
    match find_schema(folder) {
        Ok(found) => found.ensure_usable(folder).map(drop),
        Err(error) => Err(OpenError::Database { folder: folder.to_owned(), source: error.into() }),
    }
}

/// Checks the folder and the files in it that a host opens.
fn check_files(folder: &Path) -> io::Result<()> {
    match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        // A link to nothing can't be followed, and its name is taken.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_symlink() => {
            return check_can_be_made(folder);
        }
        Err(error) => return Err(error),
    }
    let database = Folder::database_in(folder);
    let mut has_all = true;
    let own = [Folder::lock_in(folder), records::path_of(folder)];
    for file in own.into_iter().chain([wal::path_of(&database), wal::index_path_of(&database), database]) {
        match file.metadata() {
            Ok(metadata) => masque_files::check_is_regular(&metadata)
                .and_then(|()| Ok(access(&file, Access::READ_OK | Access::WRITE_OK)?))
                .map_err(|error| {
                    io::Error::new(error.kind(), format!("{} can't be opened: {error}", file.display()))
                })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => has_all = false,
            Err(error) => return Err(error),
        }
    }
    let making = if has_all { Access::empty() } else { Access::WRITE_OK };
    Ok(access(folder, Access::READ_OK | Access::EXEC_OK | making)?)
}

/// Checks that the nearest folder above that exists is one in which folders can be made.
fn check_can_be_made(folder: &Path) -> io::Result<()> {
    let above = folder.ancestors().skip(1);
    let mut above = above.map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let Some(existing) = above.find(|folder| folder.exists()) else { return Ok(()) };
    if !existing.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    access(existing, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("it can't be made in {}: {error}", existing.display()))
    })
}

/// What the database holds. A missing or empty file is made into a database by the host.
fn find_schema(folder: &Path) -> Result<FoundSchema> {
    let database = Folder::database_in(folder);
    let bytes = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    if bytes(&database) == 0 {
        return Ok(FoundSchema::Empty);
    }
    let (log, index) = (wal::path_of(&database), wal::index_path_of(&database));
    let (found, may_be_outdated) = if log.exists() && index.exists() {
        (open_reader(&database).and_then(|connection| inspect(&connection, MIGRATIONS)), false)
    } else {
        (open_immutable(&database).and_then(|connection| inspect(&connection, MIGRATIONS)), bytes(&log) > 0)
    };
    match found {
        Err(error) if error.is_busy() || may_be_outdated => {
            tracing::debug!(?error, "the database can't be looked at");
            Ok(FoundSchema::Current)
        }
        found => found,
    }
}
