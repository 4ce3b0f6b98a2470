//! The one thread that writes.
//!
//! It owns the only connection that writes and takes operations from a bounded queue. It begins a transaction for the
//! first, runs it and all others that are in the queue by then, each in a savepoint, and commits them together. While
//! one `COMMIT` waits for the disk, operations gather in the queue for the next batch. So the number of transactions
//! depends on the speed of the disk and not on the number of writes.
//!
//! A turn must not wait long for what others write. So a batch has a bound in number and in time, and operations that
//! nobody waits for (the sweep, the ends of jobs) come last, one in each batch.
//!
//! An operation that fails or panics is undone alone. When the transaction is lost (a full disk at `COMMIT`), every
//! operation in it fails with the reason and none is stored, unless the error says that this is unknown.
//!
//! Before each `COMMIT` the thread looks whether the database file is still there ([`DatabaseFile`]). If it is not, the
//! transaction is not committed, everything that waits is refused, and the thread ends with the reason.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use masque_store::{Durable, StoreError};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tokio::sync::{mpsc, oneshot};

use crate::connection::open_writer;
use crate::database_file::DatabaseFile;
use crate::error::Result;
use crate::folder::Folder;
use crate::operation::Operation;
use crate::query::execute;
use crate::threads::StoreThread;
use crate::wal::LogLimit;
use crate::write_health::WriteHealth;
use crate::writer::queued::{Answer, Queued, QueuedOperation};

mod queued;

/// Operations that can wait. When the queue is full, callers wait.
const QUEUE: usize = 1024;

/// Operations in one transaction at most. Bounds how many are undone together, and how long the first waits for the
/// last.
const BATCH: usize = 128;

/// A batch takes no further operation once it has run for this long. Operations are short, but 128 that write a megabyte
/// each are not.
const BATCH_TIME: Duration = Duration::from_millis(10);

/// Hands operations to the writing thread.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Request>,
    thread: StoreThread,
    health: Arc<WriteHealth>,
}

/// A message to the thread.
enum Request {
    Run(Box<dyn Queued>),
    /// Finish what is queued and end.
    Close,
}

impl Writer {
    /// Starts the thread with an open connection to the database at `path`. It holds `folder` until its last operation
    /// is done and the connection is closed.
    ///
    /// # Errors
    /// The thread can't be started, or the file can't be found.
    pub(crate) fn start(
        path: PathBuf,
        connection: Connection,
        folder: Option<Folder>,
    ) -> std::io::Result<Self> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let health = Arc::new(WriteHealth::default());
        let writer = WriterThread {
            file: DatabaseFile::open(&path)?,
            log_limit: LogLimit::new(&path),
            path,
            connection: Some(connection),
            requests,
            deferred: VecDeque::new(),
            health: Arc::clone(&health),
        };
        let thread = StoreThread::start("store-writer", move || {
            let ended = writer.run();
            drop(folder);
            ended
        })?;
        Ok(Self { queue, thread, health })
    }

    /// Queues an operation. Its answer comes as soon as it ran, and its durability after `COMMIT`.
    pub(crate) async fn submit<O: Operation>(
        &self,
        operation: O,
    ) -> std::result::Result<(O::Answer, Durable), StoreError> {
        let (answer, answered) = oneshot::channel();
        let (durable, committed) = oneshot::channel();
        self.queue(operation, answer, Some(durable)).await?;
        let answer = answered.await.map_err(|_ended| writer_ended())??;
        Ok((answer, Durable::pending(committed)))
    }

    /// Queues an operation and answers when it is on disk.
    pub(crate) async fn perform<O: Operation>(
        &self,
        operation: O,
    ) -> std::result::Result<O::Answer, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue(operation, answer, None).await?;
        answered.await.map_err(|_ended| writer_ended())?
    }

    async fn queue<O: Operation>(
        &self,
        operation: O,
        answer: oneshot::Sender<Answer<O>>,
        durable: Option<oneshot::Sender<std::result::Result<(), StoreError>>>,
    ) -> std::result::Result<(), StoreError> {
        let queued = QueuedOperation::new(operation, answer, durable);
        self.queue.send(Request::Run(Box::new(queued))).await.map_err(|_closed| closed())
    }

    /// Fails if no operation is taken any more, or if the last one that changed something could not be written.
    pub(crate) fn check(&self) -> std::result::Result<(), StoreError> {
        if self.queue.is_closed() { Err(closed()) } else { self.health.check() }
    }

    /// Refuses new operations, and returns when the last one is done, the connection is closed and the folder is free.
    pub(crate) async fn close(&self) {
        // Fails if the thread has ended, or is about to.
        let _ = self.queue.send(Request::Close).await;
        self.thread.ended().await;
    }

    /// Resolves with the reason when the thread ends although nobody closed the store.
    pub(crate) async fn failed(&self) -> StoreError {
        self.thread.failed().await
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// The error for an operation that got no answer. This happens only if the thread panics outside of an operation.
fn writer_ended() -> StoreError {
    StoreError::OutcomeUnknown("the writing thread ended".into())
}

/// The state of the thread. The connection is opened again after it was lost.
struct WriterThread {
    path: PathBuf,
    connection: Option<Connection>,
    requests: mpsc::Receiver<Request>,
    /// Background operations that were taken from the queue and wait for their turn. There are as many at most as there
    /// are callers of such operations: each waits for its answer.
    deferred: VecDeque<Box<dyn Queued>>,
    log_limit: LogLimit,
    file: DatabaseFile,
    health: Arc<WriteHealth>,
}

impl WriterThread {
    /// Runs until it is told to end.
    ///
    /// # Errors
    /// Why it can't go on.
    fn run(mut self) -> std::result::Result<(), StoreError> {
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(first) = self.wait_for_first() {
            self.write(first, &mut batch).inspect_err(|reason| self.refuse_all(reason))?;
        }
        self.close();
        Ok(())
    }

    fn close(self) {
        if let Some(Err((_, error))) = self.connection.map(Connection::close) {
            // Everything that was acknowledged is in the log on disk; only the checkpoint failed.
            tracing::warn!(%error, "the database was not closed cleanly");
        }
    }

    /// Runs one batch and sends its operations how the transaction ended.
    ///
    /// # Errors
    /// The database file is gone.
    fn write(
        &mut self,
        first: Box<dyn Queued>,
        batch: &mut Vec<Box<dyn Queued>>,
    ) -> std::result::Result<(), StoreError> {
        let result = self.transact(first, batch);
        if let Err(error) = &result {
            tracing::error!(%error, operations = batch.len(), "a transaction was lost");
            self.health.failed(error);
            self.abandon();
        }
        for operation in batch.drain(..) {
            operation.finish(&result);
        }
        if result.is_err() {
            self.file.check()?;
        }
        if let Some(connection) = &self.connection {
            self.log_limit.after_commit(connection);
        }
        Ok(())
    }

    /// Refuses everything that waits, and leaves the connection so that closing it touches no file: another host may have
    /// made files with the same paths.
    fn refuse_all(&mut self, reason: &StoreError) {
        self.requests.close();
        let refused = Err(reason.clone());
        while let Some(operation) = self.next().or_else(|| self.deferred.pop_front()) {
            operation.finish(&refused);
        }
        if let Some(connection) = &self.connection
            && let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        {
            tracing::warn!(%error, "the log of the database is removed as the connection is closed");
        }
    }

    fn transact(
        &mut self,
        first: Box<dyn Queued>,
        batch: &mut Vec<Box<dyn Queued>>,
    ) -> std::result::Result<(), StoreError> {
        batch.push(first);
        let begun =
            self.connected().and_then(|connection| execute(connection, "BEGIN IMMEDIATE", []).map(drop));
        if let Err(error) = begun {
            if error.is_busy() {
                // Each of the others would wait for the same lock, one after the other.
                while let Some(next) = self.next() {
                    batch.push(next);
                }
                batch.extend(self.deferred.drain(..));
            }
            return Err(lost(error.into()));
        }
        let (began, mut number, mut has_background) = (Instant::now(), 0, false);
        let (mut has_changes, mut unavailable) = (false, None);
        while let Some(operation) = batch.get_mut(number) {
            has_background |= operation.is_background();
            let connection = self.connected()?;
            match run_in_savepoint(operation.as_mut(), connection).map_err(lost)? {
                Effect::Nothing => {}
                Effect::Changes => has_changes = true,
                Effect::Unavailable(error) => unavailable = Some(error),
            }
            number += 1;
            let has_room = number < BATCH && began.elapsed() < BATCH_TIME;
            let next = if has_room { self.next() } else { None };
            // Every batch takes one background operation if there is one, so that turns without end don't starve them.
            let next = next.or_else(|| if has_background { None } else { self.deferred.pop_front() });
            batch.extend(next);
        }
        self.file.check()?;
        let connection = self.connected()?;
        execute(connection, "COMMIT", []).map_err(|error| lost(error.of_commit()))?;
        // A transaction that changed nothing also succeeds on a full disk.
        match unavailable {
            Some(error) => self.health.failed(&error),
            None if has_changes => self.health.succeeded(),
            None => {}
        }
        Ok(())
    }

    /// The first operation of the next batch. `None` when the queue is closed and nothing waits.
    fn wait_for_first(&mut self) -> Option<Box<dyn Queued>> {
        loop {
            if let Some(operation) = self.next().or_else(|| self.deferred.pop_front()) {
                return Some(operation);
            }
            match self.requests.blocking_recv()? {
                Request::Run(operation) if operation.is_background() => self.deferred.push_back(operation),
                Request::Run(operation) => return Some(operation),
                Request::Close => self.requests.close(),
            }
        }
    }

    /// The next operation in the queue that somebody waits for, if there is one. Puts background operations before it
    /// aside.
    fn next(&mut self) -> Option<Box<dyn Queued>> {
        loop {
            match self.requests.try_recv().ok()? {
                Request::Run(operation) if operation.is_background() => self.deferred.push_back(operation),
                Request::Run(operation) => return Some(operation),
                Request::Close => self.requests.close(),
            }
        }
    }

    fn connected(&mut self) -> Result<&Connection> {
        if self.connection.is_none() {
            self.connection = Some(open_writer(&self.path)?);
        }
        self.connection.as_ref().ok_or_else(|| closed().into())
    }

    /// Leaves a transaction that was lost. SQLite may have ended it by itself.
    fn abandon(&mut self) {
        if let Some(connection) = &self.connection {
            let _already_over = execute(connection, "ROLLBACK", []);
            if !connection.is_autocommit() {
                self.connection = None;
            }
        }
    }
}

/// The error for all operations of a lost transaction. The reason may be a rule that another operation broke, so to
/// these the store was unavailable.
fn lost(error: StoreError) -> StoreError {
    match error {
        StoreError::Refused(_) | StoreError::Conflict(_) | StoreError::FenceEnded => {
            StoreError::Unavailable(error.to_string())
        }
        StoreError::Unavailable(_)
        | StoreError::OutcomeUnknown(_)
        | StoreError::Corrupt(_)
        | StoreError::NewerFormat(_)
        | StoreError::Internal(_) => error,
    }
}

/// What an operation did to the database.
enum Effect {
    /// It changed nothing, or was undone.
    Nothing,
    Changes,
    /// It was undone alone because the disk failed it.
    Unavailable(StoreError),
}

/// An error means that the whole transaction is lost.
fn run_in_savepoint(
    operation: &mut dyn Queued,
    connection: &Connection,
) -> std::result::Result<Effect, StoreError> {
    execute(connection, "SAVEPOINT operation", [])?;
    let changes_before = connection.total_changes();
    let result = operation.run(connection);
    let mut effect =
        if connection.total_changes() > changes_before { Effect::Changes } else { Effect::Nothing };
    if let Err(error) = result {
        // On a full disk SQLite may have rolled back everything, this savepoint included. The error to report is then
        // that of the operation, and not that its savepoint is gone.
        if connection.is_autocommit() || execute(connection, "ROLLBACK TO operation", []).is_err() {
            return Err(error);
        }
        effect = match &error {
            StoreError::Unavailable(_) => Effect::Unavailable(error.clone()),
            _ => Effect::Nothing,
        };
        operation.refuse(error);
    }
    execute(connection, "RELEASE operation", [])?;
    Ok(effect)
}

#[cfg(test)]
mod tests;
