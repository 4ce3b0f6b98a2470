//! The version that every change of keys and revocations raises.

use rusqlite::Connection;

use crate::error::Result;
use crate::query::one_row;

/// Raises the version; returns the new one, which the changed row carries.
pub(crate) fn raise(connection: &Connection) -> Result<i64> {
    one_row(connection, "UPDATE security SET version = version + 1 RETURNING version", [], |row| {
        Ok(row.get(0)?)
    })
}

/// The version now.
pub(crate) fn current(connection: &Connection) -> Result<i64> {
    one_row(connection, "SELECT version FROM security", [], |row| Ok(row.get(0)?))
}
