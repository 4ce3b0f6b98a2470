//! A reply on its way out of the sandbox: from the guest's stream through a bounded channel to one reader.
//!
//! Stores meet nothing but channels: a reader that lags fills the channel, and then the guest's write waits.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::PollSender;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::StoreContextMut;
use wasmtime::component::{Source, StreamConsumer, StreamResult};

use crate::contract::{Delta, Part, ToolCall};
use crate::error::{CallError, Cause};
use crate::guest::Guest;

/// Batches that may wait for the reader.
const BATCHES: usize = 16;
/// Items in one batch.
const ITEMS: usize = 64;

/// Items that became ready together.
type Batch = Vec<Delta>;

/// The reply as it is written. Dropping it drops the store, and that is the cancel.
pub struct Deltas {
    batches: mpsc::Receiver<Batch>,
    task: Option<AbortOnDropHandle<Result<(), CallError>>>,
    truncated: Option<CallError>,
    ended: bool,
}

impl Deltas {
    pub(crate) fn new(
        batches: mpsc::Receiver<Batch>,
        task: AbortOnDropHandle<Result<(), CallError>>,
        truncated: CallError,
    ) -> Self {
        Self { batches, task: Some(task), truncated: Some(truncated), ended: false }
    }

    /// The next items that are ready together, never none. The last item of a reply is `finish` or `failed`; `None` comes
    /// after it, or after an error. A reply that just ends is an error.
    pub async fn next(&mut self) -> Option<Result<Vec<Delta>, CallError>> {
        if self.ended {
            return None;
        }
        if let Some(batch) = self.batches.recv().await {
            self.ended = batch.last().is_some_and(ends);
            if self.ended {
                // Nothing after the end counts, so the sandbox need not wait for it.
                self.task = None;
            }
            return Some(Ok(batch));
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

fn ends(delta: &Delta) -> bool {
    matches!(delta, Delta::Finish(_) | Delta::Failed(_))
}

/// A channel for one reply: what the guest's stream is piped into, its end, and what the reader holds.
pub(crate) fn channel(largest: usize) -> (Consumer, oneshot::Receiver<()>, mpsc::Receiver<Batch>) {
    let (sender, receiver) = mpsc::channel(BATCHES);
    let (done, finished) = oneshot::channel();
    (Consumer { sender: PollSender::new(sender), largest, _done: done }, finished, receiver)
}

/// Takes what the guest writes. Dropped when the guest drops its end or the reply is over.
pub(crate) struct Consumer {
    sender: PollSender<Batch>,
    largest: usize,
    /// Its drop tells the waiting call that the stream is over.
    _done: oneshot::Sender<()>,
}

impl StreamConsumer<Guest> for Consumer {
    type Item = Delta;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<Guest>,
        mut source: Source<'_, Delta>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        // Room first: items that were taken can't be put back.
        match self.sender.poll_reserve(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        }
        let waiting = source.remaining(&mut store);
        if waiting == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let mut batch = Vec::with_capacity(waiting.min(ITEMS));
        source.read(&mut store, &mut batch)?;
        if let Some(size) = batch.iter().map(size).find(|size| *size > self.largest) {
            let limit = self.largest;
            let reason = format!("one item of its reply had {size} bytes, of {limit} (limit `delta_bytes`)");
            return Poll::Ready(Err(Cause::HostResources(reason).into()));
        }
        let end = batch.iter().position(ends);
        if let Some(end) = end {
            batch.truncate(end + 1);
        }
        let result = if end.is_some() { StreamResult::Dropped } else { StreamResult::Completed };
        match self.sender.send_item(batch) {
            Ok(()) => Poll::Ready(Ok(result)),
            Err(_) => Poll::Ready(Ok(StreamResult::Dropped)),
        }
    }
}

/// Bytes that an item holds, roughly.
fn size(delta: &Delta) -> usize {
    let call = |call: &ToolCall| call.id.len() + call.name.len() + call.arguments.len();
    match delta {
        Delta::Text(text) | Delta::Thinking(text) => text.len(),
        Delta::ToolCall(tool) => call(tool),
        Delta::Other(property) => property.name.len() + property.json.len(),
        Delta::Failed(failure) => failure.code.len() + failure.message.len(),
        Delta::Usage(usage) => usage.metadata.iter().map(|p| p.name.len() + p.json.len()).sum(),
        Delta::Finish(finish) => finish.reason.len(),
    }
}

/// Checks that a message has a role that its place allows and some content.
pub(crate) fn has_text(parts: &[Part]) -> bool {
    parts.iter().any(|part| !matches!(part, Part::Text(text) if text.trim().is_empty()))
}
