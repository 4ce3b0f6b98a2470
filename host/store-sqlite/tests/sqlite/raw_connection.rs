//! A second connection to the database, which bypasses the store.

use std::path::Path;

/// Opens the database of the data folder as another process would.
pub(crate) fn open(folder: &Path) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(folder.join("masque.db")).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    connection
}

/// The integer that a query returns.
pub(crate) fn number(connection: &rusqlite::Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}
