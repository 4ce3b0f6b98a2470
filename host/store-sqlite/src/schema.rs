//! The schema: a list of numbered migrations, each recognised by its digest.
//!
//! Until the first release there is one migration, which is edited in place: a database that was made with another text of
//! it can't be used. From then on a release appends migrations. They add first, and remove a release later: a migration
//! that hosts of an older version can't work with raises `compatible_from`. A database that is refused is not changed.

use std::path::Path;

use masque_store::{OpenError, StoreError};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::query::{all_rows, execute, one_row};

/// A step of the schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Migration {
    /// Its number; higher ones come later.
    pub(crate) version: i64,
    /// Its statements.
    pub(crate) sql: &'static str,
}

/// The migrations of this build, in order.
pub(crate) const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, sql: include_str!("../migrations/0001_schema.sql") }];

/// A table of development versions from before this schema.
const OLD_MIGRATIONS: &str = "_sqlx_migrations";

/// What a database holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FoundSchema {
    /// Nothing yet.
    Empty,
    /// The schema of this build, or of a newer one that it can work with.
    Current,
    /// The schema of an older version, to be migrated.
    Older,
    /// The schema of another version of Masque; how it differs.
    OtherVersion(&'static str),
    /// Tables of another program.
    Foreign,
}

impl FoundSchema {
    /// Itself, if a host of this build can use the database of `folder`, which includes an empty one and one that it migrates.
    pub(crate) fn ensure_usable(self, folder: &Path) -> std::result::Result<Self, OpenError> {
        let folder = folder.to_owned();
        match self {
            Self::Empty | Self::Current | Self::Older => Ok(self),
            Self::OtherVersion(reason) => Err(OpenError::OtherSchema { folder, reason: reason.to_owned() }),
            Self::Foreign => Err(OpenError::ForeignDatabase { folder }),
        }
    }
}

/// Looks at the schema, for a build with these migrations. Changes nothing.
pub(crate) fn inspect(connection: &Connection, migrations: &[Migration]) -> Result<FoundSchema> {
    let tables = all_rows(connection, "SELECT name FROM sqlite_schema WHERE type = 'table'", [], |row| {
        Ok(row.get::<_, String>(0)?)
    })?;
    let has = |name: &str| tables.iter().any(|table| table == name);
    if tables.is_empty() {
        return Ok(FoundSchema::Empty);
    }
    if has(OLD_MIGRATIONS) || (has("schema_digest") && !has("masque")) {
        return Ok(FoundSchema::OtherVersion("its schema is from before the first release"));
    }
    if !has("schema_digest") {
        return Ok(FoundSchema::Foreign);
    }
    let applied =
        all_rows(connection, "SELECT version, digest FROM schema_digest ORDER BY version", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })?;
    let compatible_from =
        one_row(connection, "SELECT compatible_from FROM masque", [], |row| Ok(row.get::<_, i64>(0)?))?;
    Ok(compare(&applied, compatible_from, migrations))
}

/// Compares the migrations that were applied with those of a build.
fn compare(applied: &[(i64, String)], compatible_from: i64, migrations: &[Migration]) -> FoundSchema {
    let mut is_older = false;
    for migration in migrations {
        match applied.iter().find(|(version, _)| *version == migration.version) {
            None => is_older = true,
            Some((_, digest)) if *digest != digest_of(migration) => {
                return FoundSchema::OtherVersion("its schema has another digest");
            }
            Some(_) => {}
        }
    }
    let newest = migrations.last().map_or(0, |migration| migration.version);
    if applied.is_empty() {
        FoundSchema::OtherVersion("its schema has another digest")
    } else if compatible_from > newest {
        FoundSchema::OtherVersion("a newer version changed it in a way that this one can't work with")
    } else if is_older {
        FoundSchema::Older
    } else {
        FoundSchema::Current
    }
}

/// Applies the migrations that the database lacks, in one transaction: all of them or none.
pub(crate) fn apply(connection: &Connection, migrations: &[Migration]) -> Result<()> {
    // A migration may replace a table that others name: references are checked at its end. Within a transaction the setting
    // can't be changed (https://www.sqlite.org/lang_altertable.html#otheralter).
    connection.execute_batch("PRAGMA foreign_keys = OFF")?;
    let applied = apply_in_transaction(connection, migrations);
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    applied
}

fn apply_in_transaction(connection: &Connection, migrations: &[Migration]) -> Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let applied = match inspect(&transaction, migrations)? {
        FoundSchema::Empty => Vec::new(),
        _ => {
            all_rows(&transaction, "SELECT version FROM schema_digest", [], |row| Ok(row.get::<_, i64>(0)?))?
        }
    };
    for migration in migrations.iter().filter(|migration| !applied.contains(&migration.version)) {
        transaction.execute_batch(migration.sql)?;
        let stored = execute(
            &transaction,
            "INSERT INTO schema_digest (version, digest) VALUES (?1, ?2)",
            (migration.version, digest_of(migration)),
        )?;
        if stored != 1 {
            return Err(StoreError::Internal("the digest of the schema was not stored".into()).into());
        }
    }
    let broken = all_rows(&transaction, "PRAGMA foreign_key_check", [], |row| Ok(row.get::<_, String>(0)?))?;
    if let Some(table) = broken.first() {
        return Err(StoreError::Internal(format!("rows of `{table}` name rows that are not there")).into());
    }
    transaction.commit()?;
    Ok(())
}

/// SHA-256 of a migration, in hexadecimal digits.
fn digest_of(migration: &Migration) -> String {
    Sha256::digest(migration.sql).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{FoundSchema, MIGRATIONS, Migration, apply, inspect};

    /// A next version of the schema, which only adds.
    const SECOND: Migration = Migration { version: 2, sql: "ALTER TABLE turns ADD COLUMN later TEXT" };

    #[test]
    fn a_database_is_empty_then_current_and_another_digest_is_told() {
        let connection = Connection::open_in_memory().unwrap();
        let found = || inspect(&connection, MIGRATIONS).unwrap();
        assert_eq!(found(), FoundSchema::Empty);
        apply(&connection, MIGRATIONS).unwrap();
        assert_eq!(found(), FoundSchema::Current);
        connection.execute("UPDATE schema_digest SET digest = 'x'", []).unwrap();
        assert!(matches!(found(), FoundSchema::OtherVersion(_)));
    }

    #[test]
    fn a_newer_schema_is_used_only_if_it_says_so() {
        let connection = Connection::open_in_memory().unwrap();
        apply(&connection, MIGRATIONS).unwrap();
        let newer = [MIGRATIONS, &[SECOND]].concat();
        assert_eq!(inspect(&connection, &newer).unwrap(), FoundSchema::Older);
        apply(&connection, &newer).unwrap();
        assert_eq!(inspect(&connection, &newer).unwrap(), FoundSchema::Current);
        assert_eq!(inspect(&connection, MIGRATIONS).unwrap(), FoundSchema::Current);
        connection.execute("UPDATE masque SET compatible_from = 2", []).unwrap();
        assert_eq!(inspect(&connection, &newer).unwrap(), FoundSchema::Current);
        assert!(matches!(inspect(&connection, MIGRATIONS).unwrap(), FoundSchema::OtherVersion(_)));
    }

    #[test]
    fn a_migration_that_leaves_a_row_without_what_it_names_is_undone() {
        let connection = Connection::open_in_memory().unwrap();
        apply(&connection, MIGRATIONS).unwrap();
        let sql = "INSERT INTO conversations (id, user, companion, created_at)
                   VALUES (randomblob(16), randomblob(16), 'x', 0)";
        let broken = [MIGRATIONS, &[Migration { version: 2, sql }]].concat();
        apply(&connection, &broken).unwrap_err();
        assert_eq!(inspect(&connection, &broken).unwrap(), FoundSchema::Older);
        let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(count("SELECT count(*) FROM conversations"), 0);
        assert_eq!(count("PRAGMA foreign_keys"), 1);
    }
}
