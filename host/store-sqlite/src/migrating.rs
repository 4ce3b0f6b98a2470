//! Brings the database of a data folder to the schema of this build when its host starts: a backup first, then all missing
//! migrations in one transaction. A process that ends in between leaves the database as it was.

use std::path::{Path, PathBuf};

use masque_store::{OpenError, StoreError};
use rusqlite::Connection;

use crate::backup_error::BackupError;
use crate::database_copy::{Existing, UnnamedCopy, ensure_space, size, with_ending};
use crate::error::{DatabaseError, Result as DatabaseResult};
use crate::schema::{FoundSchema, Migration, apply, inspect};

/// Migrates the database at `path`, which has an older schema. Its backup is `masque.db.before-N`, N the number of the
/// newest migration; it stays until somebody removes it.
pub(crate) fn migrate(
    folder: &Path,
    path: &Path,
    connection: &Connection,
    migrations: &[Migration],
) -> Result<(), OpenError> {
    let refuse = |reason: String| OpenError::Migration { folder: folder.to_owned(), reason };
    let backup = back_up(path, connection, migrations).map_err(|error| refuse(error.to_string()))?;
    tracing::info!("the database before its migration is kept in {}", backup.display());
    let failed = |error: DatabaseError| {
        refuse(format!("{}; its backup is {}", StoreError::from(error), backup.display()))
    };
    apply(connection, migrations).map_err(failed)?;
    tracing::info!("the database has the schema of this version now");
    Ok(())
}

fn back_up(path: &Path, connection: &Connection, migrations: &[Migration]) -> Result<PathBuf, BackupError> {
    let newest = migrations.last().map_or(0, |migration| migration.version);
    let backup = with_ending(path, &format!(".before-{newest}"));
    let failed = |error: DatabaseError| BackupError::Copy { file: backup.clone(), source: error.into() };
    // The backup, and the same again for a migration that writes every row anew.
    ensure_space(&backup, size(connection).map_err(failed)?.saturating_mul(2))?;
    // An earlier start may have ended between its backup and the migration: the database may hold more by now.
    UnnamedCopy::write(connection, &backup, Existing::Replace, |copy| is_older(copy, migrations))?.name()?;
    Ok(backup)
}

fn is_older(connection: &Connection, migrations: &[Migration]) -> DatabaseResult<bool> {
    Ok(inspect(connection, migrations)? == FoundSchema::Older)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use masque_store::conformance::fixtures::*;
    use masque_store::{OpenError, Store};
    use rusqlite::Connection;

    use crate::command_line::{check_data_folder, open_key_ring, open_parked_jobs};
    use crate::schema::{FoundSchema, MIGRATIONS, Migration, inspect};
    use crate::store::SqliteStore;

    /// The migrations of a build that has one more.
    fn with_next(sql: &'static str) -> Vec<Migration> {
        [MIGRATIONS, &[Migration { version: 2, sql }]].concat()
    }

    const ADDS: &str = "ALTER TABLE turns ADD COLUMN later TEXT; UPDATE turns SET later = 'filled';";

    fn count(folder: &Path, file: &str, sql: &str) -> i64 {
        let connection = Connection::open(folder.join(file)).unwrap();
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// A data folder with one exchange, of this build.
    async fn used_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
        exchange(&store, new_conversation(), "Hello", "Hi").await;
        store.close().await;
        folder
    }

    #[tokio::test]
    async fn a_host_of_the_next_version_makes_a_backup_and_migrates_with_all_data() {
        let folder = used_folder().await;
        let next = with_next(ADDS);
        for _start in 0..2 {
            let store: Arc<dyn Store> = SqliteStore::open_as_host(folder.path(), &next).unwrap();
            exchange(&store, new_conversation(), "Hello again", "Hi").await;
            store.close().await;
        }
        assert_eq!(count(folder.path(), "masque.db", "SELECT count(*) FROM turns WHERE later = 'filled'"), 1);
        assert_eq!(count(folder.path(), "masque.db", "SELECT count(*) FROM turns"), 3);
        let backup = folder.path().join("masque.db.before-2");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&backup).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(inspect(&Connection::open(&backup).unwrap(), MIGRATIONS).unwrap(), FoundSchema::Current);
        assert_eq!(count(folder.path(), "masque.db.before-2", "SELECT count(*) FROM turns"), 1);
        // The version before goes on with a schema that only adds.
        SqliteStore::open(folder.path()).await.unwrap().close().await;
    }

    #[tokio::test]
    async fn a_migration_that_fails_leaves_a_database_that_the_version_before_uses() {
        let folder = used_folder().await;
        let next = with_next("UPDATE messages SET text = 'lost'; SELECT no_such_function();");
        match SqliteStore::open_as_host(folder.path(), &next) {
            Err(error @ OpenError::Migration { .. }) => {
                let text = error.to_string();
                assert!(text.contains("no_such_function") && text.contains("masque.db.before-2"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(count(folder.path(), "masque.db", "SELECT count(*) FROM messages WHERE text = 'lost'"), 0);
        SqliteStore::open(folder.path()).await.unwrap().close().await;
        SqliteStore::open_as_host(folder.path(), &with_next(ADDS)).unwrap().close().await;
    }

    /// What the disk holds when the power goes: the files as they are in the middle of the transaction.
    #[tokio::test]
    async fn a_migration_that_is_cut_off_has_changed_nothing_and_is_done_at_the_next_start() {
        let folder = used_folder().await;
        let after = tempfile::tempdir().unwrap();
        let connection = crate::connection::open_writer(&folder.path().join("masque.db")).unwrap();
        connection.execute_batch("PRAGMA cache_size = 1; BEGIN IMMEDIATE;").unwrap();
        connection.execute_batch(ADDS).unwrap();
        connection
            .execute_batch("CREATE TABLE wide (x); INSERT INTO wide SELECT randomblob(4000) FROM messages a, messages b;")
            .unwrap();
        let log = fs::metadata(folder.path().join("masque.db-wal")).unwrap().len();
        assert!(log > 0, "a part of the transaction is in the log");
        for file in ["masque.db", "masque.db-wal"] {
            fs::copy(folder.path().join(file), after.path().join(file)).unwrap();
        }
        drop(connection);
        SqliteStore::open(after.path()).await.unwrap().close().await;
        assert_eq!(
            count(after.path(), "masque.db", "SELECT count(*) FROM sqlite_schema WHERE name = 'wide'"),
            0
        );
        SqliteStore::open_as_host(after.path(), &with_next(ADDS)).unwrap().close().await;
        assert_eq!(count(after.path(), "masque.db", "SELECT count(*) FROM turns WHERE later = 'filled'"), 1);
    }

    #[tokio::test]
    async fn commands_on_an_older_schema_say_to_start_the_host_and_check_accepts_it() {
        let folder = used_folder().await;
        let connection = Connection::open(folder.path().join("masque.db")).unwrap();
        // As if this build had a migration that the database lacks.
        connection.execute("UPDATE schema_digest SET version = 0, digest = 'of an older one'", []).unwrap();
        drop(connection);
        check_data_folder(folder.path()).await.unwrap();
        for error in [open_key_ring(folder.path()).await.err(), open_parked_jobs(folder.path()).await.err()] {
            match error {
                Some(error @ OpenError::OlderSchema { .. }) => {
                    assert!(error.to_string().contains("start the host"), "{error}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(!folder.path().join("masque.db.before-2").exists());
    }

    #[tokio::test]
    async fn a_newer_schema_that_this_build_can_not_work_with_is_refused() {
        let folder = used_folder().await;
        let next =
            with_next("ALTER TABLE turns ADD COLUMN later TEXT; UPDATE masque SET compatible_from = 2;");
        SqliteStore::open_as_host(folder.path(), &next).unwrap().close().await;
        match SqliteStore::open(folder.path()).await {
            Err(error @ OpenError::OtherSchema { .. }) => {
                assert!(error.to_string().contains("newer"), "{error}")
            }
            other => panic!("{other:?}"),
        }
        SqliteStore::open_as_host(folder.path(), &next).unwrap().close().await;
    }
}
