//! The reader's end of a reply.

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::sink::Batch;
use crate::call::CallObserver;
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
    /// Taken when the reply has ended.
    observer: Option<CallObserver>,
}

impl Deltas {
    /// `task` drives the call, and `truncated` is the error of a reply that ends without a last item.
    pub(crate) fn new(
        batches: mpsc::Receiver<Batch>,
        task: AbortOnDropHandle<Result<(), CallError>>,
        lingers: bool,
        truncated: CallError,
        observer: CallObserver,
    ) -> Self {
        Self {
            batches,
            task: Some(task),
            lingers,
            truncated: Some(truncated),
            ended: false,
            observer: Some(observer),
        }
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
            let last = batch.items.last().filter(|item| item.is_last());
            self.ended = last.is_some();
            if let Some(last) = last {
                match (self.observer.take(), last) {
                    (Some(observer), Delta::Failed(failure)) => observer.end_failed(&failure.code),
                    (Some(observer), _) => observer.end(None),
                    (None, _) => {}
                }
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
        let error = match outcome {
            Ok(Err(error)) => error,
            Ok(Ok(())) => truncated,
            Err(error) => CallError { cause: Cause::Engine(error.to_string()), ..truncated },
        };
        if let Some(observer) = self.observer.take() {
            observer.end(Some(&error));
        }
        Some(Err(error))
    }
}
