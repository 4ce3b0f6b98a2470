//! How connections to the database are opened.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
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

/// Settings of the file of records. A commit waits for no disk (`synchronous = NORMAL`), removed content is overwritten, and
/// its pages can be given back (`auto_vacuum`, which has to be set before the first table and before the log is chosen).
const RECORDS: &str = "PRAGMA auto_vacuum = INCREMENTAL;
     PRAGMA journal_mode = WAL;
     PRAGMA synchronous = NORMAL;
     PRAGMA secure_delete = ON;
     PRAGMA temp_store = MEMORY;
     PRAGMA journal_size_limit = 16777216;";

/// Opens the existing file of records for reading and writing.
pub(crate) fn open_records(path: &Path) -> Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.execute_batch(RECORDS)?;
    Ok(connection)
}

/// Opens an existing file for reading. Closing it leaves the log as it is, also if no other connection is open.
pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("PRAGMA temp_store = MEMORY")?;
    Ok(connection)
}

/// Opens an existing file to read its pages as they are: takes no lock, makes no file, and does not look into the log.
pub(crate) fn open_immutable(path: &Path) -> Result<Connection> {
    open(&immutable_uri(path), OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
}

/// The path as a URI (<https://www.sqlite.org/uri.html>).
fn immutable_uri(path: &Path) -> PathBuf {
    // With the empty authority, a path may begin with two slashes.
    let scheme: &[u8] = if path.is_absolute() { b"file://" } else { b"file:" };
    let mut uri = scheme.to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => uri.push(*byte),
            other => uri.extend(format!("%{other:02X}").bytes()),
        }
    }
    uri.extend(b"?immutable=1");
    OsString::from_vec(uri).into()
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{immutable_uri, open_immutable};

    #[test]
    fn a_path_with_any_byte_is_one_uri() {
        let uri = |path| immutable_uri(Path::new(path)).to_str().unwrap().to_owned();
        assert_eq!(uri("/a b/c?d#e%41.db"), "file:///a%20b/c%3Fd%23e%2541.db?immutable=1");
        assert_eq!(uri("data/m.db"), "file:data/m.db?immutable=1");

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("what? 100% #1.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        let connection = open_immutable(&path).unwrap();
        connection.execute_batch("SELECT x FROM t").unwrap();
        connection.execute_batch("INSERT INTO t VALUES (1)").unwrap_err();
    }
}
