//! The store: one data folder, its writer and its readers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use masque_store::{Durable, OpenError, StoreConnection, StoreError};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use uuid::Uuid;

use crate::connection::{open_reader, open_writer};
use crate::error::{DatabaseError, Result as DatabaseResult};
use crate::folder::Folder;
use crate::leases::recover;
use crate::operation::Operation;
use crate::query::first_row;
use crate::readers::Readers;
use crate::schema::{self, FoundSchema};
use crate::writer::{self, Writer};

/// Threads that read for a host.
const READERS: usize = 3;

/// A [`masque_store::Store`] in one SQLite file.
///
/// A write is answered when `COMMIT` has returned, which with `synchronous = FULL` is after the bytes were handed to
/// `fdatasync`. Only the outcome of an admission is told before, with its durability to wait for. A write whose caller
/// went away is done all the same.
#[derive(Debug)]
pub struct SqliteStore {
    readers: Readers,
    writer: Writer,
}

impl SqliteStore {
    /// Opens the store in `folder` for the one host that uses it. The folder is made if it is missing, and then readable
    /// for its owner alone. Turns that were running when the last host ended are marked interrupted.
    ///
    /// # Errors
    /// See [`OpenError`]. Must be called within a tokio runtime.
    pub async fn open(folder: &Path) -> Result<Arc<Self>, OpenError> {
        spawn_blocking(folder, Self::open_as_host).await
    }

    /// Opens the store beside a host that may run, or before the first one: takes the folder only where no host has it,
    /// and ends nobody's turns. Callers hand it out as the traits that may be used beside a host.
    pub(crate) async fn open_beside_host(folder: &Path, missing: IfMissing) -> Result<Arc<Self>, OpenError> {
        spawn_blocking(folder, move |folder| Self::open_beside(folder, missing)).await
    }

    fn open_as_host(folder: &Path) -> Result<Arc<Self>, OpenError> {
        let claimed = Folder::claim(folder)?;
        let path = claimed.database();
        let connection = open_current(folder, &path)?;
        let interrupted = recover_all(&connection).map_err(|error| database(folder, error))?;
        if interrupted > 0 {
            tracing::info!(turns = interrupted, "turns of the last run were interrupted");
        }
        Self::start(folder, path, connection, Some(claimed), READERS)
    }

    fn open_beside(folder: &Path, missing: IfMissing) -> Result<Arc<Self>, OpenError> {
        let path = Folder::database_in(folder);
        if missing == IfMissing::Refuse {
            // Opening an absent file for reading fails and makes nothing.
            drop(open_reader(&path).map_err(|error| database(folder, error))?);
        }
        match Folder::claim(folder) {
            Ok(claimed) => {
                let connection = open_current(folder, &path)?;
                Self::start(folder, path, connection, Some(claimed), 1)
            }
            Err(OpenError::Locked { .. }) => {
                let reader = open_reader(&path).map_err(|error| database(folder, error))?;
                match schema::inspect(&reader).map_err(|error| database(folder, error))? {
                    FoundSchema::Current => {}
                    FoundSchema::Empty | FoundSchema::Other(_) => {
                        let reason = "the host that runs on it is of another version, or is just making it; use that \
                                      version's command, or stop the host first";
                        return Err(OpenError::Schema {
                            folder: folder.to_owned(),
                            reason: reason.to_owned(),
                        });
                    }
                }
                let connection = open_writer(&path).map_err(|error| database(folder, error))?;
                Self::start(folder, path, connection, None, 1)
            }
            Err(other) => Err(other),
        }
    }

    fn start(
        folder: &Path,
        path: PathBuf,
        connection: Connection,
        claimed: Option<Folder>,
        readers: usize,
    ) -> Result<Arc<Self>, OpenError> {
        let connections = (0..readers).map(|_| open_reader(&path)).collect::<DatabaseResult<Vec<_>>>();
        let connections = connections.map_err(|error| database(folder, error))?;
        let no_thread = |source| OpenError::Io { folder: folder.to_owned(), source };
        let readers = Readers::start(connections).map_err(no_thread)?;
        let writer = Writer::start(path, connection, claimed).map_err(no_thread)?;
        Ok(Arc::new(Self { readers, writer }))
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
        if self.writer.is_closed() {
            return Err(writer::closed());
        }
        self.read(|connection| {
            first_row(connection, "SELECT 1 FROM conversations LIMIT 1", [], |_row| Ok(())).map(drop)
        })
        .await
    }

    async fn close(&self) {
        // The writer's connection is the last to close, so that it empties the log.
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// What becomes of a data folder that has no database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMissing {
    /// It is made.
    Create,
    /// Nothing is made.
    Refuse,
}

/// Opens the database for writing once its schema is known to be current, or makes the schema in an empty one. A database
/// with another schema is refused before anything is changed.
fn open_current(folder: &Path, path: &Path) -> Result<Connection, OpenError> {
    let found = open_reader(path).and_then(|connection| schema::inspect(&connection));
    let found = found.map_err(|error| database(folder, error))?;
    if let FoundSchema::Other(reason) = found {
        return Err(OpenError::OtherSchema { folder: folder.to_owned(), reason: reason.to_owned() });
    }
    let connection = open_writer(path).map_err(|error| database(folder, error))?;
    if found == FoundSchema::Empty {
        schema::create(&connection).map_err(|error| OpenError::Schema {
            folder: folder.to_owned(),
            reason: StoreError::from(error).to_string(),
        })?;
    }
    Ok(connection)
}

fn recover_all(connection: &Connection) -> DatabaseResult<u64> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    // No host has this id, so every host that left something running counts as gone.
    let interrupted = recover(&transaction, Uuid::now_v7())?;
    transaction.commit()?;
    Ok(interrupted)
}

fn database(folder: &Path, error: DatabaseError) -> OpenError {
    OpenError::Database { folder: folder.to_owned(), source: error.into() }
}

/// Opening waits for the disk, and for locks of other processes.
async fn spawn_blocking<T: Send + 'static>(
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
