//! The file `records.db` beside the database.
//!
//! Records are large and may be lost, turns are small and may not. So records have a file of their own, whose commits wait for
//! no disk (`synchronous = NORMAL`), and no turn waits for them. One connection writes and reads, under a lock, on threads
//! for blocking work.
//!
//! A record has to go when its conversation or user does, which another file knows. So everything that is stored is checked
//! against the database within the transaction of this file, and what is deleted there is removed here afterwards, in a later
//! transaction of this file: a record is either refused or removed. After a power cut the removal may be undone, as it waits
//! for no disk; emptying the log, as an erasure does, makes it last.
//!
//! The file can be deleted while no host runs. One that is damaged, or of another version, is replaced by an empty one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use masque_store::{OpenError, StoreError};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use uuid::Uuid;

use crate::connection::{open_reader, open_records};
use crate::error::{DatabaseError, Result};
use crate::folder::make_private;
use crate::operation::without_panic;
use crate::query::{one_row, snapshot};
use crate::wal;

/// The number of the schema, in the header of the file.
const SCHEMA: i64 = 1;
const TABLES: &str = include_str!("../../migrations/records.sql");

/// The file of records, and what is known of records that may have to go.
#[derive(Debug)]
pub(crate) struct RecordsDatabase {
    path: PathBuf,
    /// The database that says which conversations and users there are.
    database: PathBuf,
    connections: Arc<Mutex<Slot>>,
    /// Conversations that are being deleted. One stays here if the caller went away in between, or its records could not be
    /// removed.
    deleted: Mutex<BTreeSet<Uuid>>,
    /// Up to which conversation the records were compared with the database since the start. `None`: all of them.
    compared: Mutex<Option<Uuid>>,
}

/// Where the connections are.
#[derive(Debug, Default)]
enum Slot {
    /// They are opened once they are needed.
    #[default]
    Unopened,
    Open(Box<Connections>),
    /// The store is closed.
    Closed,
}

#[derive(Debug)]
struct Connections {
    records: Connection,
    database: Connection,
}

/// The file of the records of a data folder.
pub(crate) fn path_of(folder: &Path) -> PathBuf {
    folder.join("records.db")
}

/// Removes the file of a data folder that no host uses, with its log.
///
/// # Errors
/// A file can't be removed.
pub(crate) fn remove_files(folder: &Path) -> std::io::Result<()> {
    let path = path_of(folder);
    for file in [wal::path_of(&path), wal::index_path_of(&path), path] {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

impl RecordsDatabase {
    /// The records of a data folder, whose `database` is at that path. Opens nothing. Without a file there are no records.
    pub(crate) fn new(folder: &Path, database: &Path) -> Self {
        Self {
            path: path_of(folder),
            database: database.to_owned(),
            connections: Arc::default(),
            deleted: Mutex::default(),
            compared: Mutex::new(Some(Uuid::nil())),
        }
    }

    /// Makes the file if it is missing, for a host that has locked the folder. One that can't be used is replaced.
    ///
    /// # Errors
    /// [`OpenError`] if the file can't be made or written.
    pub(crate) fn prepare(&self, folder: &Path) -> std::result::Result<(), OpenError> {
        let failed = |source| OpenError::Io { folder: folder.to_owned(), source };
        let of_database =
            |error: DatabaseError| OpenError::Database { folder: folder.to_owned(), source: error.into() };
        make_private(&self.path).map_err(failed)?;
        match inspect(&self.path) {
            Ok(Some(SCHEMA)) => return Ok(()),
            Ok(None) => {}
            Ok(Some(_)) => self.replace(folder, "it is of another version")?,
            Err(error) => match StoreError::from(error) {
                StoreError::Corrupt(reason) => self.replace(folder, &reason)?,
                source => return Err(OpenError::Database { folder: folder.to_owned(), source }),
            },
        }
        let connection = open_records(&self.path).map_err(of_database)?;
        let made = || -> Result<()> {
            let transaction = Transaction::new_unchecked(&connection, TransactionBehavior::Immediate)?;
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", SCHEMA)?;
            transaction.commit()?;
            Ok(())
        };
        made().map_err(of_database)
    }

    fn replace(&self, folder: &Path, reason: &str) -> std::result::Result<(), OpenError> {
        let path = self.path.display();
        tracing::warn!(reason, "the turn records in {path} can't be used and are removed");
        remove_files(folder)
            .and_then(|()| make_private(&self.path))
            .map_err(|source| OpenError::Io { folder: folder.to_owned(), source })
    }

    /// Runs `work` in a transaction that writes: the first connection is to the records, the second reads the database.
    /// `None` without a file. It runs on although the caller goes away.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Connection) -> Result<T> + Send + 'static,
    ) -> std::result::Result<Option<T>, StoreError> {
        self.run(move |connections| {
            let records = &connections.records;
            // Reading the database begins after this one has the lock, so it sees whatever was deleted before.
            let transaction = Transaction::new_unchecked(records, TransactionBehavior::Immediate)?;
            let result = without_panic(|| work(records, &connections.database))?;
            transaction.commit()?;
            Ok(result)
        })
        .await
    }

    /// The same for work that only reads.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Connection) -> Result<T> + Send + 'static,
    ) -> std::result::Result<Option<T>, StoreError> {
        self.run(move |connections| {
            let database = &connections.database;
            snapshot(&connections.records, |records| without_panic(|| work(records, database)))
        })
        .await
    }

    /// Overwrites what was removed: the log, which has older copies of pages, is emptied. False if another process reads.
    pub(crate) async fn clear_traces(&self, patience: Duration) -> std::result::Result<bool, StoreError> {
        let cleared = self.run(move |connections| wal::empty(&connections.records, patience)).await?;
        Ok(cleared.unwrap_or(true))
    }

    /// Closes the connections and refuses everything that comes later.
    pub(crate) async fn close(&self) {
        let slot = Arc::clone(&self.connections);
        // It fails only where the runtime ends, which closes them too.
        let _ended = tokio::task::spawn_blocking(move || *lock(&slot) = Slot::Closed).await;
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connections) -> Result<T> + Send + 'static,
    ) -> std::result::Result<Option<T>, StoreError> {
        let (slot, path, database) =
            (Arc::clone(&self.connections), self.path.clone(), self.database.clone());
        let run = move || -> Result<Option<T>> {
            let mut slot = lock(&slot);
            let connections = match &*slot {
                Slot::Open(connections) => connections,
                Slot::Closed => return Err(StoreError::Unavailable("the store is closed".into()).into()),
                Slot::Unopened if !path.try_exists().unwrap_or(true) => return Ok(None),
                Slot::Unopened => {
                    let opened =
                        Connections { records: open_records(&path)?, database: open_reader(&database)? };
                    *slot = Slot::Open(Box::new(opened));
                    let Slot::Open(opened) = &*slot else { return Ok(None) };
                    opened
                }
            };
            let result = work(connections);
            if result.is_err() {
                // What failed may concern the connection, so the next one is a new one. A transaction ends when it is dropped.
                *slot = Slot::Unopened;
            }
            result.map(Some)
        };
        match tokio::task::spawn_blocking(run).await {
            Ok(result) => Ok(result?),
            Err(panic) => Err(StoreError::Internal(panic.to_string())),
        }
    }

    /// Notes that a conversation is about to be deleted.
    pub(crate) fn deletion_begins(&self, conversation: Uuid) {
        lock(&self.deleted).insert(conversation);
    }

    /// Notes that no record of the conversation has to go any more.
    pub(crate) fn deletion_ended(&self, conversation: Uuid) {
        lock(&self.deleted).remove(&conversation);
    }

    /// Conversations whose records may have to go.
    pub(crate) fn deleted(&self) -> Vec<Uuid> {
        lock(&self.deleted).iter().copied().collect()
    }

    /// Up to which conversation the records were compared with the database. `None`: all of them.
    pub(crate) fn compared(&self) -> Option<Uuid> {
        *lock(&self.compared)
    }

    /// Notes how far the comparison got.
    pub(crate) fn compared_to(&self, conversation: Option<Uuid>) {
        *lock(&self.compared) = conversation;
    }
}

/// What is behind the lock is whole after every step, also after one that panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of the schema of a file. `None` for an empty one.
fn inspect(path: &Path) -> Result<Option<i64>> {
    let connection = open_records(path)?;
    let tables =
        one_row(&connection, "SELECT count(*) FROM sqlite_schema", [], |row| Ok(row.get::<_, i64>(0)?))?;
    if tables == 0 {
        return Ok(None);
    }
    let number = one_row(&connection, "PRAGMA user_version", [], |row| Ok(row.get::<_, i64>(0)?))?;
    if number == SCHEMA {
        one_row(&connection, "SELECT count(*) FROM (SELECT 1 FROM turn_records LIMIT 1)", [], |_row| Ok(()))?;
    }
    Ok(Some(number))
}
