//! The one task that writes.
//!
//! Operations wait in a bounded queue. The task takes the first, opens a transaction, runs it and whatever else is in
//! the queue by then, each in a savepoint of its own, and commits them together: while one `COMMIT` waits for the disk
//! the next batch gathers, so the disk's pace sets the size of a batch and not the number of writes a second.
//!
//! An operation that fails is undone alone. When the transaction itself is lost (a full disk at `COMMIT`), every
//! operation in it is answered with the reason and none has happened.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::fault::Fault;
use super::folder::Folder;
use crate::{Durable, StoreError};

/// Operations that may wait; who comes after that waits to be let in.
const QUEUE: usize = 1024;

/// Operations in one transaction: bounds how much is undone at once and how long the first waits for the last.
const BATCH: usize = 128;

/// One write, run within a savepoint.
pub(super) trait Operation: Send + 'static {
    type Answer: Send + 'static;

    fn run(self, session: Session<'_>) -> impl Future<Output = Result<Verdict<Self::Answer>, Fault>> + Send;
}

/// The connection as one operation gets it, and what has to be said on it before: the operation's savepoint, and the
/// transaction where it is the first. That goes along with the operation's first text, since a trip to SQLite's thread and
/// back costs more than most statements.
pub(super) struct Session<'c> {
    connection: &'c mut SqliteConnection,
    opening: &'static str,
}

/// What is said around one operation of a transaction.
struct Savepoint {
    /// Releases that of the operation before.
    open: &'static str,
    undo: &'static str,
    commit: &'static str,
}

/// Two names in turn: an operation that failed before its savepoint was there must not undo the one before it.
const FIRST: Savepoint = Savepoint { open: "BEGIN IMMEDIATE; SAVEPOINT even;", ..EVEN };
const ODD: Savepoint = Savepoint {
    open: "RELEASE even; SAVEPOINT odd;",
    undo: "ROLLBACK TO odd",
    commit: "RELEASE odd; COMMIT",
};
const EVEN: Savepoint = Savepoint {
    open: "RELEASE odd; SAVEPOINT even;",
    undo: "ROLLBACK TO even",
    commit: "RELEASE even; COMMIT",
};

impl Savepoint {
    /// For the operation of this number in its transaction.
    fn of(number: usize) -> &'static Self {
        match number {
            0 => &FIRST,
            odd if odd.is_multiple_of(2) => &EVEN,
            _ => &ODD,
        }
    }
}

impl<'c> Session<'c> {
    /// Within a transaction that has begun and has this operation alone.
    pub(super) fn within(connection: &'c mut SqliteConnection) -> Self {
        Self { connection, opening: "" }
    }

    /// For an operation of several texts.
    pub(super) async fn open(self) -> Result<&'c mut SqliteConnection, Fault> {
        if !self.opening.is_empty() {
            execute(self.connection, self.opening).await?;
        }
        Ok(self.connection)
    }

    /// For an operation that begins with `sql`: that with what comes before, and the connection to run it on.
    pub(super) fn open_with(self, sql: &'static str) -> (AssertSqlSafe<String>, &'c mut SqliteConnection) {
        (AssertSqlSafe([self.opening, sql].concat()), self.connection)
    }
}

/// What is to become of an operation's writes.
pub(super) enum Verdict<T> {
    Keep(T),
    Undo(T),
}

/// Hands operations to the writing task.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Queued>>,
    closing: Arc<Notify>,
    ended: watch::Receiver<()>,
}

impl Writer {
    /// Starts the task. It holds the folder until its last operation is done.
    pub(super) fn start(options: SqliteConnectOptions, connection: SqliteConnection, folder: Folder) -> Self {
        let (queue, operations) = mpsc::channel(QUEUE);
        let closing = Arc::new(Notify::new());
        let (end, ended) = watch::channel(());
        let hand = Hand { options, connection: Some(connection) };
        let closed = Arc::clone(&closing);
        tokio::spawn(async move {
            hand.write(operations, &closed).await;
            drop(folder);
            drop(end);
        });
        Self { queue, closing, ended }
    }

    /// Queues an operation. Its answer comes as soon as it ran; the promise is kept after `COMMIT`.
    pub(super) async fn submit<O: Operation>(
        &self,
        operation: O,
    ) -> Result<(O::Answer, Durable), StoreError> {
        let (answer, answered) = oneshot::channel();
        let (durable, committed) = oneshot::channel();
        let slot = Slot { operation: Some(operation), answer: Some(answer), durable };
        self.queue.send(Box::new(slot)).await.map_err(|_closed| closed())?;
        let answer = answered.await.map_err(|_gone| closed())??;
        Ok((answer, Durable::pending(committed)))
    }

    /// Queues an operation and answers when it is on disk.
    pub(super) async fn perform<O: Operation>(&self, operation: O) -> Result<O::Answer, StoreError> {
        let (answer, durable) = self.submit(operation).await?;
        durable.wait().await?;
        Ok(answer)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Lets no one in any more and returns when the last operation is done and the folder is free.
    pub(super) async fn close(&self) {
        self.closing.notify_one();
        // The only news on this channel is that the task dropped its end.
        while self.ended.clone().changed().await.is_ok() {}
    }
}

pub(super) fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// The task's side: the connection, made anew when it was lost.
struct Hand {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
}

impl Hand {
    async fn write(mut self, mut operations: mpsc::Receiver<Box<dyn Queued>>, closing: &Notify) {
        let mut open = true;
        loop {
            let first = tokio::select! {
                () = closing.notified(), if open => {
                    open = false;
                    operations.close();
                    continue;
                }
                first = operations.recv() => first,
            };
            match first {
                Some(first) => self.batch(first, &mut operations).await,
                None => break,
            }
        }
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.close().await
        {
            // Everything acknowledged is in the log on disk already; only tidying up failed.
            tracing::warn!(%error, "the database was not closed cleanly");
        }
    }

    async fn batch(&mut self, first: Box<dyn Queued>, operations: &mut mpsc::Receiver<Box<dyn Queued>>) {
        let mut batch = Vec::new();
        let result = self.transact(first, operations, &mut batch).await;
        if let Err(error) = &result {
            tracing::error!(%error, operations = batch.len(), "a transaction was lost");
        }
        for operation in batch {
            operation.settle(&result);
        }
    }

    /// Runs a batch and leaves its operations in `batch`, to be told the result.
    async fn transact(
        &mut self,
        first: Box<dyn Queued>,
        operations: &mut mpsc::Receiver<Box<dyn Queued>>,
        batch: &mut Vec<Box<dyn Queued>>,
    ) -> Result<(), StoreError> {
        let mut next = Some(first);
        let mut result = Ok(());
        let mut last = &FIRST;
        while let Some(mut operation) = next.take() {
            last = Savepoint::of(batch.len());
            result = match self.connected().await {
                Ok(connection) => operation.run(connection, last).await,
                Err(mut fault) => {
                    fault.locked = true;
                    Err(fault)
                }
            };
            batch.push(operation);
            if result.is_ok() && batch.len() < BATCH {
                next = operations.try_recv().ok();
            }
        }
        if result.is_ok() {
            result = match self.connected().await {
                Ok(connection) => execute(connection, last.commit).await,
                Err(fault) => Err(fault),
            };
        }
        let Err(fault) = result else { return Ok(()) };
        self.abandon().await;
        if fault.locked && batch.len() == 1 {
            // Where the first can't even begin, each of the others would wait for the same lock, one after the other.
            while let Ok(operation) = operations.try_recv() {
                batch.push(operation);
            }
        }
        Err(unavailable(fault))
    }

    async fn connected(&mut self) -> Result<&mut SqliteConnection, Fault> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Leaves a transaction that can't be committed. SQLite may have ended it by itself, which is as good.
    async fn abandon(&mut self) {
        if let Some(connection) = &mut self.connection {
            let _already_over = execute(connection, "ROLLBACK").await;
            // A connection that can't say whether a transaction is open is not asked again.
            let idle = sqlx::query("SELECT 1").fetch_optional(&mut *connection).await.is_ok()
                && execute(connection, "BEGIN").await.is_ok()
                && execute(connection, "ROLLBACK").await.is_ok();
            if !idle {
                self.connection = None;
            }
        }
    }
}

/// Whatever lost the transaction, to those in it the store was away.
fn unavailable(fault: Fault) -> StoreError {
    match StoreError::from(fault) {
        error @ (StoreError::Unavailable(_) | StoreError::Corrupt(_)) => error,
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// Statements joined by semicolons go to SQLite's thread and back together: that way costs more than they do.
async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), Fault> {
    sqlx::query(sql).execute(connection).await?;
    Ok(())
}

/// An operation in the queue, whatever it answers.
#[async_trait]
trait Queued: Send {
    /// Runs it in a savepoint of its own and tells its answer. An error means that the whole transaction is lost.
    async fn run(&mut self, connection: &mut SqliteConnection, savepoint: &Savepoint) -> Result<(), Fault>;

    /// Tells it how its transaction ended.
    fn settle(self: Box<Self>, result: &Result<(), StoreError>);
}

struct Slot<O: Operation> {
    operation: Option<O>,
    answer: Option<oneshot::Sender<Result<O::Answer, StoreError>>>,
    durable: oneshot::Sender<Result<(), StoreError>>,
}

#[async_trait]
impl<O: Operation> Queued for Slot<O> {
    async fn run(&mut self, connection: &mut SqliteConnection, savepoint: &Savepoint) -> Result<(), Fault> {
        let Some(operation) = self.operation.take() else { return Ok(()) };
        let session = Session { connection: &mut *connection, opening: savepoint.open };
        let answer = match operation.run(session).await {
            Ok(Verdict::Keep(answer)) => Ok(answer),
            Ok(Verdict::Undo(answer)) => {
                execute(connection, savepoint.undo).await?;
                Ok(answer)
            }
            Err(fault) => {
                // On a full disk SQLite may have rolled back everything, this savepoint included; then the reason is
                // what the operation met and not that its savepoint is gone.
                if execute(connection, savepoint.undo).await.is_err() {
                    return Err(fault);
                }
                Err(fault.into())
            }
        };
        if let Some(waiting) = self.answer.take() {
            // A caller that went away has lost its answer, not its write.
            let _caller_left = waiting.send(answer);
        }
        Ok(())
    }

    fn settle(self: Box<Self>, result: &Result<(), StoreError>) {
        if let (Some(waiting), Err(error)) = (self.answer, result) {
            let _caller_left = waiting.send(Err(error.clone()));
        }
        let _caller_left = self.durable.send(result.clone());
    }
}
