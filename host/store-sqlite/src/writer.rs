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

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use masque_store::{Durable, StoreError};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::connection::open_writer;
use crate::error::Result;
use crate::folder::Folder;
use crate::operation::{Operation, without_panic};
use crate::query::execute;
use crate::threads::StoreThread;
use crate::wal::LogLimit;

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
    /// The thread can't be started.
    pub(crate) fn start(
        path: PathBuf,
        connection: Connection,
        folder: Option<Folder>,
    ) -> std::io::Result<Self> {
        let (queue, requests) = mpsc::channel(QUEUE);
        let log_limit = LogLimit::new(&path);
        let deferred = VecDeque::new();
        let writer = WriterThread { path, connection: Some(connection), requests, deferred, log_limit };
        let thread = StoreThread::start("store-writer", move || {
            writer.run();
            drop(folder);
        })?;
        Ok(Self { queue, thread })
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
        let queued =
            QueuedOperation { operation: Some(operation), held: None, answer: Some(answer), durable };
        self.queue.send(Request::Run(Box::new(queued))).await.map_err(|_closed| closed())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Refuses new operations, and returns when the last one is done, the connection is closed and the folder is free.
    pub(crate) async fn close(&self) {
        // Fails if the thread has ended, or is about to.
        let _ = self.queue.send(Request::Close).await;
        self.thread.ended().await;
    }

    /// Resolves with the reason when the thread ends although nobody closed the store.
    pub(crate) async fn failed(&self) -> String {
        self.thread.failed().await
    }
}

pub(crate) fn closed() -> StoreError {
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
}

impl WriterThread {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(first) = self.wait_for_first() {
            self.write(first, &mut batch);
        }
        if let Some(Err((_, error))) = self.connection.take().map(Connection::close) {
            // Everything that was acknowledged is in the log on disk; only the checkpoint failed.
            tracing::warn!(%error, "the database was not closed cleanly");
        }
    }

    /// Runs one batch and sends its operations how the transaction ended.
    fn write(&mut self, first: Box<dyn Queued>, batch: &mut Vec<Box<dyn Queued>>) {
        let result = self.transact(first, batch);
        if let Err(error) = &result {
            tracing::error!(%error, operations = batch.len(), "a transaction was lost");
            self.abandon();
        }
        for operation in batch.drain(..) {
            operation.finish(&result);
        }
        if let Some(connection) = &self.connection {
            self.log_limit.after_commit(connection);
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
        while let Some(operation) = batch.get_mut(number) {
            has_background |= operation.is_background();
            let connection = self.connected()?;
            run_in_savepoint(operation.as_mut(), connection).map_err(lost)?;
            number += 1;
            let has_room = number < BATCH && began.elapsed() < BATCH_TIME;
            let next = if has_room { self.next() } else { None };
            // Every batch takes one background operation if there is one, so that turns without end don't starve them.
            let next = next.or_else(|| if has_background { None } else { self.deferred.pop_front() });
            batch.extend(next);
        }
        let connection = self.connected()?;
        execute(connection, "COMMIT", []).map(drop).map_err(|error| lost(error.of_commit()))
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
        | StoreError::Internal(_) => error,
    }
}

/// An error means that the whole transaction is lost.
fn run_in_savepoint(
    operation: &mut dyn Queued,
    connection: &Connection,
) -> std::result::Result<(), StoreError> {
    execute(connection, "SAVEPOINT operation", [])?;
    if let Err(error) = operation.run(connection) {
        // On a full disk SQLite may have rolled back everything, this savepoint included. The error to report is then
        // that of the operation, and not that its savepoint is gone.
        if connection.is_autocommit() || execute(connection, "ROLLBACK TO operation", []).is_err() {
            return Err(error);
        }
        operation.refuse(error);
    }
    execute(connection, "RELEASE operation", [])?;
    Ok(())
}

/// An operation in the queue, of any answer type.
trait Queued: Send {
    /// See [`Operation::IS_BACKGROUND`].
    fn is_background(&self) -> bool;

    /// Runs the operation, and sends the answer at once if the caller waits for durability separately. An error is sent
    /// by `refuse` or `finish`.
    fn run(&mut self, connection: &Connection) -> std::result::Result<(), StoreError>;

    /// Sends the error of an operation that was undone alone.
    fn refuse(&mut self, error: StoreError);

    /// Sends how the transaction ended.
    fn finish(self: Box<Self>, result: &std::result::Result<(), StoreError>);
}

type Answer<O> = std::result::Result<<O as Operation>::Answer, StoreError>;

struct QueuedOperation<O: Operation> {
    operation: Option<O>,
    /// The answer, if it waits for `COMMIT`.
    held: Option<O::Answer>,
    /// `None` once it was answered.
    answer: Option<oneshot::Sender<Answer<O>>>,
    /// Present if the answer goes out before `COMMIT`.
    durable: Option<oneshot::Sender<std::result::Result<(), StoreError>>>,
}

impl<O: Operation> QueuedOperation<O> {
    /// Sends the answer. If the caller went away, the write is still done.
    fn tell(&mut self, answer: Answer<O>) {
        if let Some(caller) = self.answer.take() {
            let _caller_left = caller.send(answer);
        }
    }
}

impl<O: Operation> Queued for QueuedOperation<O> {
    fn is_background(&self) -> bool {
        O::IS_BACKGROUND
    }

    fn run(&mut self, connection: &Connection) -> std::result::Result<(), StoreError> {
        let Some(operation) = self.operation.take() else { return Ok(()) };
        let answer = without_panic(|| operation.run(connection))?;
        if self.durable.is_some() {
            self.tell(Ok(answer));
        } else {
            self.held = Some(answer);
        }
        Ok(())
    }

    fn refuse(&mut self, error: StoreError) {
        self.tell(Err(error));
    }

    fn finish(mut self: Box<Self>, result: &std::result::Result<(), StoreError>) {
        match (self.held.take(), result) {
            (Some(answer), Ok(())) => self.tell(Ok(answer)),
            (_, Err(error)) => self.tell(Err(error.clone())),
            (None, Ok(())) => {}
        }
        if let Some(durable) = self.durable.take() {
            let _caller_left = durable.send(result.clone());
        }
    }
}

#[cfg(test)]
mod tests;
