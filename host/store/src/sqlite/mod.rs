//! The SQLite room: everything in `masque.db` of one data folder.
//!
//! One task owns the only connection that writes ([`writer`]); reads go to a small pool beside it. A folder belongs to
//! one host at a time ([`folder`]), which is why opening it may call every turn of the past interrupted.

mod admission;
mod audit;
mod conversations;
mod ending;
mod fault;
mod folder;
mod jobs;
mod key_ring;
mod keys;
mod leases;
mod parked;
mod revocations;
mod rows;
mod spending;
mod state;
mod turns;
mod version;
mod writer;

pub use self::key_ring::KeyRing;
pub use self::parked::{ParkedJob, ParkedJobs};

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, SqlitePool};
use uuid::Uuid;

use crate::{OpenError, StoreError};
use fault::Fault;
use folder::Folder;
use leases::Recover;
use writer::{Operation, Writer};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Connections that read. SQLite's readers block no one; more of them than cores wait for each other.
const READERS: u32 = 4;

/// How long to wait for a lock that some other process holds on the file (a backup, a shell), and for a free reader.
const PATIENCE: Duration = Duration::from_secs(5);

/// A [`crate::Store`] in one SQLite file.
///
/// A write is answered when `COMMIT` has returned, which with `synchronous=FULL` is after the bytes were handed to
/// `fdatasync`; only the outcome of an admission is told before, with a promise to wait for. A write whose caller went
/// away is done all the same.
#[derive(Debug)]
pub struct SqliteStore {
    readers: SqlitePool,
    writer: Writer,
}

impl SqliteStore {
    /// Opens the store in `folder`, made if missing and then readable for its owner alone; brings the schema up to date
    /// and marks turns interrupted that were running when the last host ended.
    ///
    /// # Errors
    /// See [`OpenError`]. Must be called within a tokio runtime.
    pub async fn open(folder: &Path) -> Result<Arc<Self>, OpenError> {
        let claimed = Folder::claim(folder)?;
        let database = |fault: Fault| OpenError::Database { folder: folder.to_owned(), source: fault.into() };

        let options = SqliteConnectOptions::new()
            .filename(claimed.database())
            .create_if_missing(false)
            .foreign_keys(true)
            .busy_timeout(PATIENCE)
            .pragma("temp_store", "memory")
            .disable_statement_logging();
        let writing = options
            .clone()
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // Without a limit the log keeps the size of the largest transaction there ever was.
            .pragma("journal_size_limit", "67108864");
        let mut connection = writing.connect().await.map_err(|error| database(error.into()))?;
        migrate(&mut connection, folder).await?;
        let interrupted = recover(&mut connection).await.map_err(database)?;
        if interrupted > 0 {
            tracing::info!(turns = interrupted, "turns of the last run were interrupted");
        }

        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .min_connections(1)
            .acquire_timeout(PATIENCE)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options.read_only(true))
            .await
            .map_err(|error| database(error.into()))?;
        let writer = Writer::start(writing, connection, claimed);
        Ok(Arc::new(Self { readers, writer }))
    }

    /// Refuses new operations, finishes those that were accepted and gives the folder free. Can be called twice.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Whether the store can read and still takes writes.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong.
    pub async fn check(&self) -> Result<(), StoreError> {
        if self.writer.is_closed() {
            return Err(writer::closed());
        }
        let mut connection = self.reader().await?;
        sqlx::query("SELECT 1 FROM conversations LIMIT 1")
            .fetch_optional(&mut *connection)
            .await
            .map_err(Fault::from)?;
        Ok(())
    }

    async fn reader(&self) -> Result<PoolConnection<Sqlite>, Fault> {
        Ok(self.readers.acquire().await?)
    }

    async fn write<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        self.writer.perform(operation).await
    }
}

async fn migrate(connection: &mut SqliteConnection, folder: &Path) -> Result<(), OpenError> {
    MIGRATIONS.run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::Newer {
            folder: folder.to_owned(),
            found,
            known: MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default(),
        },
        other => OpenError::Migrate { folder: folder.to_owned(), reason: other.to_string() },
    })
}

async fn recover(connection: &mut SqliteConnection) -> Result<u64, Fault> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    // No host has this id, so every one that left something running counts as gone.
    let interrupted = Recover { host: Uuid::now_v7() }.apply(&mut transaction).await?;
    transaction.commit().await?;
    Ok(interrupted)
}
