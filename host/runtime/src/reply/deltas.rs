//! The reader's end of a reply.

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::sink::Batch;
use crate::contract::Delta;
use crate::error::{CallError, Cause};

/// The reply as it is written. Dropping it drops the guest's store and so cancels the call.
pub struct Deltas {
    batches: mpsc::Receiver<Batch>,
    task: Option<AbortOnDropHandle<Result<(), CallError>>>,
    /// Whether the guest may return by itself after the last item, so that its instance can serve again.
    lingers: bool,
    truncated: Option<CallError>,
    ended: bool,
}

impl Deltas {
    /// `task` drives the call, and `truncated` is the error of a reply that ends without a last item.
    pub(crate) fn new(
        batches: mpsc::Receiver<Batch>,
        task: AbortOnDropHandle<Result<(), CallError>>,
        lingers: bool,
        truncated: CallError,
    ) -> Self {
        Self { batches, task: Some(task), lingers, truncated: Some(truncated), ended: false }
    }

    /// The next items that are ready together, at least one. Returns `None` after the last item of the reply (`Finish` or
    /// `Failed`) and after an error.
    ///
    /// # Errors
    /// The call failed, or the reply ended without a last item ([`Cause::Truncated`]).
    pub async fn next(&mut self) -> Option<Result<Vec<Delta>, CallError>> {
        if self.ended {
            return None;
        }
        if let Some(batch) = self.batches.recv().await {
            self.ended = batch.items.last().is_some_and(Delta::is_last);
            if self.ended {
                // Items after the last one are ignored, so they are not read. The call's budgets hold until it returns.
                match self.task.take() {
                    Some(task) if self.lingers => drop(task.detach()),
                    task => drop(task),
                }
            }
            return Some(Ok(batch.items));
        }
        self.ended = true;
        let outcome = match self.task.take() {
            Some(task) => task.await,
            None => return None,
        };
        let truncated = self.truncated.take()?;
        Some(Err(match outcome {
            Ok(Err(error)) => error,
            Ok(Ok(())) => truncated,
            Err(error) => CallError { cause: Cause::Engine(error.to_string()), ..truncated },
        }))
    }
}
