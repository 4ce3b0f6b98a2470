//! The schema: made in an empty database, recognised by its digest, and refused if it is another one.
//!
//! There is one migration, which is edited in place until the first release. So a database that has another digest
//! can't be used. A database that is refused is not changed.

use std::path::Path;

use masque_store::{OpenError, StoreError};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::query::{all_rows, execute, first_row};

const SCHEMA: &str = include_str!("../migrations/0001_schema.sql");

/// A table of development versions from before this schema.
const OLD_MIGRATIONS: &str = "_sqlx_migrations";

/// What a database holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FoundSchema {
    /// Nothing yet.
    Empty,
    /// The schema of this build.
    Current,
    /// The schema of another version of Masque; how it differs.
    OtherVersion(&'static str),
    /// Tables of another program.
    Foreign,
}

impl FoundSchema {
    /// Whether a host of this build can use the database of `folder`, which includes an empty one.
    pub(crate) fn ensure_usable(self, folder: &Path) -> std::result::Result<(), OpenError> {
        let folder = folder.to_owned();
        match self {
            Self::Empty | Self::Current => Ok(()),
            Self::OtherVersion(reason) => Err(OpenError::OtherSchema { folder, reason: reason.to_owned() }),
            Self::Foreign => Err(OpenError::ForeignDatabase { folder }),
        }
    }
}

/// Looks at the schema. Changes nothing.
pub(crate) fn inspect(connection: &Connection) -> Result<FoundSchema> {
    let tables = all_rows(connection, "SELECT name FROM sqlite_schema WHERE type = 'table'", [], |row| {
        Ok(row.get::<_, String>(0)?)
    })?;
    let has = |name: &str| tables.iter().any(|table| table == name);
    if tables.is_empty() {
        return Ok(FoundSchema::Empty);
    }
    if has(OLD_MIGRATIONS) {
        return Ok(FoundSchema::OtherVersion("its schema is from before the first release"));
    }
    if !has("schema_digest") {
        return Ok(FoundSchema::Foreign);
    }
    let found =
        first_row(connection, "SELECT digest FROM schema_digest", [], |row| Ok(row.get::<_, String>(0)?))?;
    Ok(match found {
        Some(found) if found == digest() => FoundSchema::Current,
        _ => FoundSchema::OtherVersion("its schema has another digest"),
    })
}

/// Makes the schema in an empty database, in one transaction.
pub(crate) fn create(connection: &Connection) -> Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    let stored = execute(&transaction, "INSERT INTO schema_digest (digest) VALUES (?1)", [digest()])?;
    if stored != 1 {
        return Err(StoreError::Internal("the digest of the schema was not stored".into()).into());
    }
    transaction.commit()?;
    Ok(())
}

/// SHA-256 of the migration, in hexadecimal digits.
fn digest() -> String {
    Sha256::digest(SCHEMA).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{FoundSchema, create, inspect};

    #[test]
    fn a_database_is_empty_then_current_and_another_digest_is_told() {
        let connection = Connection::open_in_memory().unwrap();
        assert_eq!(inspect(&connection).unwrap(), FoundSchema::Empty);
        create(&connection).unwrap();
        assert_eq!(inspect(&connection).unwrap(), FoundSchema::Current);
        connection.execute("UPDATE schema_digest SET digest = 'x'", []).unwrap();
        assert!(matches!(inspect(&connection).unwrap(), FoundSchema::OtherVersion(_)));
    }
}
