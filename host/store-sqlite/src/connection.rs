//! How connections to the database are opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::Result;

/// How long to wait for a lock that another process holds on the file (a backup, a shell).
pub(crate) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// More than there are statements, so that none is prepared twice.
const STATEMENTS: usize = 128;

/// Settings of the writer. `COMMIT` returns after `fdatasync` (`synchronous = FULL`), and deleted content is
/// overwritten (`secure_delete`). Without a size limit the log would keep the size of its largest transaction; the limit
/// is that of [`crate::wal`].
const WRITER: &str = "PRAGMA journal_mode = WAL;
     PRAGMA synchronous = FULL;
     PRAGMA secure_delete = ON;
     PRAGMA foreign_keys = ON;
     PRAGMA temp_store = MEMORY;
     PRAGMA journal_size_limit = 67108864;";

/// Opens an existing file for reading and writing.
pub(crate) fn open_writer(path: &Path) -> Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.execute_batch(WRITER)?;
    Ok(connection)
}

/// Opens an existing file for reading. Closing it leaves the log as it is, also if no other connection is open.
pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("PRAGMA temp_store = MEMORY")?;
    Ok(connection)
}

fn open(path: &Path, access: OpenFlags) -> Result<Connection> {
    // A connection is used by one thread at a time, so SQLite's own mutexes are not needed.
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(LOCK_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // The query planner stability guarantee: statements are not compiled again for their arguments.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}
