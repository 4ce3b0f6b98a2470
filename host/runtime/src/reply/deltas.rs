//! The reader's end of a reply, which drives the call.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::FutureExt;
use tracing::Instrument;

use super::buffer::ReplyBuffer;
use super::poll_on_wake::PollOnWake;
use crate::call::{CallObserver, call_error};
use crate::contract::Delta;
use crate::error::{CallError, Cause};
use crate::profile::PluginProfile;

/// The function that has a reply.
const FUNCTION: &str = "generate";

/// A call that writes its reply into a buffer.
type ReplyCall = Pin<Box<dyn Future<Output = Result<(), CallError>> + Send>>;

/// The reply as it is written. The guest runs only while the reader waits in [`Self::next`], within the reader's own task.
/// Dropping it drops the guest's store and so cancels the call.
pub struct Deltas {
    buffer: ReplyBuffer,
    call: DrivenCall,
    /// Whether the guest may return by itself after the last item, so that its instance can serve again.
    lingers: bool,
    profile: Arc<PluginProfile>,
    /// Taken when the reply has ended.
    observer: Option<CallObserver>,
}

/// How far the call is.
enum DrivenCall {
    Running {
        call: PollOnWake<ReplyCall>,
        /// Other work of the task comes before the next poll of the call.
        yields: bool,
    },
    /// What the call ended with, until the reader has the items before that.
    Returned(Result<(), CallError>),
    /// The reader has the last item, or the error.
    Over,
}

impl Deltas {
    /// Drives `call`, which writes into `buffer`, until the plugin has accepted the prompt.
    ///
    /// # Errors
    /// The call failed or returned before that.
    pub(crate) async fn open(
        call: ReplyCall,
        buffer: ReplyBuffer,
        lingers: bool,
        profile: Arc<PluginProfile>,
        observer: CallObserver,
    ) -> Result<Self, CallError> {
        let mut call = PollOnWake::new(call);
        let outcome = poll_fn(|cx| match call.poll_unpin(cx) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if buffer.is_accepted() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await;
        let call = match outcome {
            None => DrivenCall::Running { yields: call.is_woken(), call },
            Some(outcome) if buffer.is_accepted() => DrivenCall::Returned(outcome),
            Some(outcome) => {
                let error = outcome.err().unwrap_or_else(|| call_error(&profile, FUNCTION, Cause::Truncated));
                observer.end(Some(&error));
                return Err(error);
            }
        };
        Ok(Self { buffer, call, lingers, profile, observer: Some(observer) })
    }

    /// The next items that are ready together, at least one. Returns `None` after the last item of the reply (`Finish` or
    /// `Failed`) and after an error. Dropping the future loses no item.
    ///
    /// # Errors
    /// The call failed, or the reply ended without a last item ([`Cause::Truncated`]).
    pub async fn next(&mut self) -> Option<Result<Vec<Delta>, CallError>> {
        if matches!(self.call, DrivenCall::Over) {
            return None;
        }
        let items = poll_fn(|cx| self.poll_items(cx)).await;
        if let Some(last) = items.last().filter(|item| item.is_last()) {
            match (self.observer.take(), last) {
                (Some(observer), Delta::Failed(failure)) => observer.end_failed(&failure.code),
                (Some(observer), _) => observer.end(None),
                (None, _) => {}
            }
            self.end_call();
            return Some(Ok(items));
        }
        if !items.is_empty() {
            return Some(Ok(items));
        }
        let error = match std::mem::replace(&mut self.call, DrivenCall::Over) {
            DrivenCall::Returned(Err(error)) => error,
            _ => call_error(&self.profile, FUNCTION, Cause::Truncated),
        };
        if let Some(observer) = self.observer.take() {
            observer.end(Some(&error));
        }
        Some(Err(error))
    }

    /// Drives the call until there are items, or until it has returned without any.
    fn poll_items(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Delta>> {
        let Self { buffer, call, .. } = self;
        if let DrivenCall::Running { call: running, yields } = call {
            if std::mem::take(yields) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if let Poll::Ready(outcome) = running.poll_unpin(cx) {
                *call = DrivenCall::Returned(outcome);
            }
        }
        let items = buffer.take();
        if let DrivenCall::Running { call: running, yields } = call {
            if items.is_empty() {
                return Poll::Pending;
            }
            // A call that was woken by now has yielded to the other work of this task, or it filled the buffer. If the reader
            // came back at once, the task would run for as long as the guest computes.
            *yields = running.is_woken();
        }
        Poll::Ready(items)
    }

    /// Items after the last one are ignored, so nobody drives the call any more. Its budgets hold until it returns.
    fn end_call(&mut self) {
        if let DrivenCall::Running { call, .. } = std::mem::replace(&mut self.call, DrivenCall::Over) {
            if self.lingers {
                tokio::spawn(call.map(drop).in_current_span());
            } else {
                // In a task of its own: dropping the store resets its memory, and the reader need not wait for that.
                tokio::spawn(async move { drop(call) });
            }
        }
    }
}
