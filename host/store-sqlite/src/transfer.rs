//! Reads every row of a data folder that no host uses, to move it into another database.

use std::path::Path;

use masque_store::transfer::{ColumnKind, Table, TableRow, TableValue, TransferSource};
use masque_store::{OpenError, StoreError};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use uuid::Uuid;

use crate::error::{DatabaseError, Result};
use crate::folder::Folder;
use crate::store::{open_existing, spawn_blocking};

/// The rows of a data folder. As long as it lives, no host starts on the folder and nothing else writes to its database.
#[derive(Debug)]
pub struct SqliteRows {
    connection: Connection,
    _lock: Folder,
}

impl SqliteRows {
    /// Opens the database of a data folder whose host was stopped.
    ///
    /// # Errors
    /// [`OpenError::Locked`] while a host has the folder; [`OpenError::OlderSchema`] if a host of this version has to migrate
    /// it first. Must be called within a tokio runtime.
    pub async fn open(folder: &Path) -> std::result::Result<Self, OpenError> {
        spawn_blocking(folder, |folder| {
            let path = Folder::database_in(folder);
            // Locking the folder would make it.
            path.metadata().map_err(|source| OpenError::Io { folder: folder.to_owned(), source })?;
            let lock = Folder::lock(folder)?;
            let connection = open_existing(folder, &path)?;
            // Commands such as `masque keys` write beside a host, and need no lock of the folder for it.
            let locked = connection.execute_batch("BEGIN IMMEDIATE");
            locked.map_err(|error| OpenError::Database {
                folder: folder.to_owned(),
                source: DatabaseError::from(error).into(),
            })?;
            Ok(Self { connection, _lock: lock })
        })
        .await
    }
}

impl TransferSource for SqliteRows {
    fn read(
        &mut self,
        table: &'static Table,
        each: &mut dyn FnMut(TableRow) -> bool,
    ) -> std::result::Result<(), StoreError> {
        Ok(read(&self.connection, table, each)?)
    }
}

fn read(connection: &Connection, table: &Table, each: &mut dyn FnMut(TableRow) -> bool) -> Result<()> {
    let columns: Vec<_> = table.columns.iter().map(|(name, _)| quoted(name)).collect();
    let order: Vec<_> = table.order.iter().map(|name| quoted(name)).collect();
    let sql = format!("SELECT {} FROM {} ORDER BY {}", columns.join(", "), table.name, order.join(", "));
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let values = table.columns.iter().enumerate().map(|(index, (name, kind))| {
            value(row.get_ref(index)?, *kind).ok_or_else(|| {
                StoreError::Corrupt(format!("`{name}` of `{}` has another type", table.name)).into()
            })
        });
        if !each(values.collect::<Result<_>>()?) {
            break;
        }
    }
    Ok(())
}

/// The name of a column in this database.
fn quoted(name: &str) -> String {
    format!("\"{}\"", if name == "user_id" { "user" } else { name })
}

fn value(found: ValueRef<'_>, kind: ColumnKind) -> Option<TableValue> {
    use ColumnKind::{Bytes, Flag, Id, Integer, Owner, Text, Texts};
    Some(match (found, kind) {
        (ValueRef::Null, _) => TableValue::Null,
        (ValueRef::Integer(number), Integer | Flag) => TableValue::Integer(number),
        (ValueRef::Text(text), Text | Texts) => TableValue::Text(std::str::from_utf8(text).ok()?.to_owned()),
        (ValueRef::Blob([]), Owner) => TableValue::Bytes(Uuid::nil().into_bytes().to_vec()),
        (ValueRef::Blob(bytes), Id | Owner | Bytes) => TableValue::Bytes(bytes.to_vec()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use masque_store::transfer::list_differences;
    use rusqlite::Connection;

    use crate::schema::{MIGRATIONS, apply};

    #[test]
    fn every_column_of_the_schema_is_moved_or_named_as_left_out() {
        let connection = Connection::open_in_memory().unwrap();
        apply(&connection, MIGRATIONS).unwrap();
        let sql = "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_xinfo(t.name) c
                    WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND c.hidden = 0";
        let mut statement = connection.prepare(sql).unwrap();
        let found = statement.query_map([], |row| {
            let column: String = row.get(1)?;
            Ok((row.get(0)?, if column == "user" { "user_id".to_owned() } else { column }))
        });
        let found: Vec<(String, String)> = found.unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(list_differences(&found), Vec::<String>::new());
    }
}
