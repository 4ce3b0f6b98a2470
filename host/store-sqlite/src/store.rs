//! The store: one data folder, its writer and its readers.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use masque_store::{Durable, OpenError, StoreConnection, StoreError, StoreSize, make_ids_after};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use uuid::Uuid;

use crate::connection::{open_reader, open_writer};
use crate::error::{DatabaseError, Result as DatabaseResult};
use crate::folder::Folder;
use crate::job_rows::bring_jobs_forward;
use crate::leases::recover;
use crate::migrating::migrate;
use crate::operation::Operation;
use crate::query::{first_row, one_row};
use crate::readers::Readers;
use crate::records::RecordsDatabase;
use crate::schema::{self, FoundSchema, MIGRATIONS, Migration};
use crate::tickets::Tickets;
use crate::wal;
use crate::writer::Writer;

/// Threads that read for a host.
const READERS: usize = 3;

/// A [`masque_store::Store`] in one SQLite file.
///
/// A write is answered when `COMMIT` has returned, which with `synchronous = FULL` is after the bytes were handed to
/// `fdatasync`. Only the outcome of an admission is returned before, with its durability to wait for. A write whose
/// caller went away is still done.
#[derive(Debug)]
pub struct SqliteStore {
    readers: Readers,
    writer: Writer,
    tickets: Tickets,
    records: RecordsDatabase,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens the store in `folder` for the one host that uses it. The folder is made if it is missing, and then
    /// readable for its owner alone. A database of an older version is migrated after a backup was made. Turns that were
    /// running when the last host ended are marked interrupted.
    ///
    /// # Errors
    /// See [`OpenError`]. Must be called within a tokio runtime.
    pub async fn open(folder: &Path) -> Result<Arc<Self>, OpenError> {
        spawn_blocking(folder, |folder| Self::open_as_host(folder, MIGRATIONS)).await
    }

    /// Opens the store for the command line, which may write keys before the first start of a host. Locks the folder if
    /// no host has it, and works beside the host otherwise. No turn is interrupted. Callers hand the store out as the
    /// traits that may be used beside a host.
    pub(crate) async fn open_for_keys(folder: &Path) -> Result<Arc<Self>, OpenError> {
        spawn_blocking(folder, |folder| {
            let path = Folder::database_in(folder);
            match Folder::claim(folder) {
                Ok(claimed) => {
                    let connection = open_or_create(folder, &path)?;
                    Self::start(folder, path, connection, Some(claimed), 1)
                }
                Err(OpenError::Locked { .. }) => {
                    let connection = open_existing(folder, &path).map_err(|error| match error {
                        // Moving the folder away, as that error advises, would take it from the process that uses it.
                        OpenError::OtherSchema { folder, reason } => {
                            OpenError::UsedByOtherVersion { folder, reason }
                        }
                        // The host that holds the lock is that older version, or is migrating.
                        OpenError::OlderSchema { folder } => {
                            OpenError::UsedByOtherVersion { folder, reason: "its schema is older".to_owned() }
                        }
                        other => other,
                    })?;
                    Self::start(folder, path, connection, None, 1)
                }
                Err(other) => Err(other),
            }
        })
        .await
    }

    /// Opens a store that exists, without a lock and without a change of the folder: a host can start while it is open.
    pub(crate) async fn open_unlocked(folder: &Path) -> Result<Arc<Self>, OpenError> {
        spawn_blocking(folder, |folder| {
            let path = Folder::database_in(folder);
            let connection = open_existing(folder, &path)?;
            Self::start(folder, path, connection, None, 1)
        })
        .await
    }

    /// Opens the store as a build with these migrations.
    pub(crate) fn open_as_host(folder: &Path, migrations: &[Migration]) -> Result<Arc<Self>, OpenError> {
        let claimed = Folder::claim(folder)?;
        let path = claimed.database();
        let connection = open_migrated(folder, &path, migrations)?;
        newest_ids(&connection)
            .map_err(|error| database(folder, error))?
            .into_iter()
            .for_each(make_ids_after);
        RecordsDatabase::new(folder, &path).prepare(folder)?;
        let interrupted = recover_all(&connection).map_err(|error| database(folder, error))?;
        if interrupted > 0 {
            tracing::info!(turns = interrupted, "turns of the last run were interrupted");
        }
        Self::start(folder, path, connection, Some(claimed), READERS)
    }

    fn start(
        folder: &Path,
        path: PathBuf,
        connection: Connection,
        claimed: Option<Folder>,
        readers: usize,
    ) -> Result<Arc<Self>, OpenError> {
        let records = RecordsDatabase::new(folder, &path);
        let connections = (0..readers).map(|_| open_reader(&path)).collect::<DatabaseResult<Vec<_>>>();
        let connections = connections.map_err(|error| database(folder, error))?;
        let no_thread = |source| OpenError::NoThread { source };
        let readers = Readers::start(connections).map_err(no_thread)?;
        let writer = Writer::start(path.clone(), connection, claimed).map_err(no_thread)?;
        Ok(Arc::new(Self { readers, writer, tickets: Tickets::default(), records, path }))
    }

    /// The turns that wait for their conversations.
    pub(crate) fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// The file of turn records.
    pub(crate) fn records(&self) -> &RecordsDatabase {
        &self.records
    }

    /// The database file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a query on a reading thread.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> DatabaseResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.read(query).await
    }

    /// Runs a write and answers when it is on disk.
    pub(crate) async fn write<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        self.writer.perform(operation).await
    }

    /// Runs a write and answers before it is on disk.
    pub(crate) async fn submit<O: Operation>(
        &self,
        operation: O,
    ) -> Result<(O::Answer, Durable), StoreError> {
        self.writer.submit(operation).await
    }
}

#[async_trait]
impl StoreConnection for SqliteStore {
    async fn check(&self) -> Result<(), StoreError> {
        self.writer.check()?;
        self.read(probe).await
    }

    async fn failed(&self) -> StoreError {
        tokio::select! {
            reason = self.writer.failed() => reason,
            reason = self.readers.failed() => reason,
        }
    }

    async fn size(&self) -> Result<StoreSize, StoreError> {
        let path = self.path.clone();
        self.read(move |_connection| {
            let bytes = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.len());
            let database = bytes(&path).map_err(|error| StoreError::Unavailable(error.to_string()))?;
            // SQLite makes the log with the first write.
            Ok(StoreSize { database, log: bytes(&wal::path_of(&path)).unwrap_or(0) })
        })
        .await
    }

    async fn close(&self) {
        // The writer's connection is the last to close, so that it empties the log.
        self.records.close().await;
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Reads one row, if there is any. Anyone may make the host do so.
pub(crate) fn probe(connection: &Connection) -> DatabaseResult<()> {
    first_row(connection, "SELECT 1 FROM conversations LIMIT 1", [], |_row| Ok(())).map(drop)
}

/// Opens the database for writing once it has the schema of a build with these migrations: an empty one gets it, and one of
/// an older version is migrated. A database with another schema is refused before anything is changed.
fn open_migrated(folder: &Path, path: &Path, migrations: &[Migration]) -> Result<Connection, OpenError> {
    let found = found_schema(folder, path, migrations)?;
    let connection = open_writer(path).map_err(|error| unopened(folder, path, error))?;
    match found {
        FoundSchema::Empty => schema::apply(&connection, migrations).map_err(|error| OpenError::Schema {
            folder: folder.to_owned(),
            reason: StoreError::from(error).to_string(),
        })?,
        FoundSchema::Older => migrate(folder, path, &connection, migrations)?,
        _ => {}
    }
    Ok(connection)
}

/// Opens the database for writing, and makes the schema in an empty one.
fn open_or_create(folder: &Path, path: &Path) -> Result<Connection, OpenError> {
    match open_existing(folder, path) {
        Err(OpenError::NoSchema { .. }) => open_migrated(folder, path, MIGRATIONS),
        opened => opened,
    }
}

/// Opens a database for writing if its schema is current. Makes and changes nothing.
pub(crate) fn open_existing(folder: &Path, path: &Path) -> Result<Connection, OpenError> {
    match found_schema(folder, path, MIGRATIONS)? {
        FoundSchema::Empty => Err(OpenError::NoSchema { folder: folder.to_owned() }),
        FoundSchema::Older => Err(OpenError::OlderSchema { folder: folder.to_owned() }),
        _ => open_writer(path).map_err(|error| unopened(folder, path, error)),
    }
}

/// The schema of a database that a build with these migrations can use.
fn found_schema(folder: &Path, path: &Path, migrations: &[Migration]) -> Result<FoundSchema, OpenError> {
    // Opening a file that is absent for reading fails and does not make it.
    let found = open_reader(path).and_then(|connection| schema::inspect(&connection, migrations));
    let found = found.map_err(|error| unopened(folder, path, error))?;
    found.ensure_usable(folder)
}

/// The newest ids of what is listed by id. Each is one step in an index.
fn newest_ids(connection: &Connection) -> DatabaseResult<Vec<Uuid>> {
    let newest = one_row(
        connection,
        "SELECT (SELECT max(id) FROM conversations), (SELECT max(id) FROM turns), (SELECT max(id) FROM messages)",
        [],
        |row| Ok([row.get(0)?, row.get(1)?, row.get::<_, Option<Uuid>>(2)?]),
    )?;
    Ok(newest.into_iter().flatten().collect())
}

fn recover_all(connection: &Connection) -> DatabaseResult<u64> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    // No host has this id, so every host that left something running counts as gone.
    let interrupted = recover(&transaction, Uuid::now_v7())?;
    bring_jobs_forward(&transaction)?;
    transaction.commit()?;
    Ok(interrupted)
}

/// Why the database can't be opened. SQLite does not say which file it means and what the system answered, so the file is
/// opened once more without SQLite. This process has no connection to it yet, whose locks that would release.
fn unopened(folder: &Path, path: &Path, error: DatabaseError) -> OpenError {
    if !error.is_refused_access() {
        return database(folder, error);
    }
    let opened = path.metadata().and_then(|metadata| {
        masque_files::check_is_regular(&metadata)?;
        OpenOptions::new().read(true).write(true).open(path)
    });
    match opened {
        Ok(_) => database(folder, error),
        Err(cause) => {
            let text = format!("{} can't be opened for writing: {cause}", path.display());
            OpenError::Io { folder: folder.to_owned(), source: io::Error::new(cause.kind(), text) }
        }
    }
}

fn database(folder: &Path, error: DatabaseError) -> OpenError {
    OpenError::Database { folder: folder.to_owned(), source: error.into() }
}

/// Opening waits for the disk, and for locks of other processes.
pub(crate) async fn spawn_blocking<T: Send + 'static>(
    folder: &Path,
    open: impl FnOnce(&Path) -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    let folder = folder.to_owned();
    let opened = {
        let folder = folder.clone();
        tokio::task::spawn_blocking(move || open(&folder)).await
    };
    opened.unwrap_or_else(|panic| {
        Err(OpenError::Database { folder, source: StoreError::Internal(panic.to_string()) })
    })
}
