//! An operation in the queue of the writer, and how its caller gets the answer.

use masque_store::StoreError;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::operation::{Operation, without_panic};

/// An operation in the queue, of any answer type.
pub(super) trait Queued: Send {
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

/// The answer to the caller of an operation.
pub(super) type Answer<O> = std::result::Result<<O as Operation>::Answer, StoreError>;

/// An operation with whoever waits for it.
pub(super) struct QueuedOperation<O: Operation> {
    operation: Option<O>,
    /// The answer, if it waits for `COMMIT`.
    held: Option<O::Answer>,
    /// `None` once it was answered.
    answer: Option<oneshot::Sender<Answer<O>>>,
    /// Present if the answer goes out before `COMMIT`.
    durable: Option<oneshot::Sender<std::result::Result<(), StoreError>>>,
}

impl<O: Operation> QueuedOperation<O> {
    /// `answer` gets the answer: at once if `durable` is given, which then gets the result of `COMMIT`, and after `COMMIT`
    /// otherwise.
    pub(super) fn new(
        operation: O,
        answer: oneshot::Sender<Answer<O>>,
        durable: Option<oneshot::Sender<std::result::Result<(), StoreError>>>,
    ) -> Self {
        Self { operation: Some(operation), held: None, answer: Some(answer), durable }
    }

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
