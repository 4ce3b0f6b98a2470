//! A reply on its way out of the sandbox: from the guest's stream through a bounded channel to one reader.
//!
//! Stores meet nothing but channels: a reader that lags fills the channel, by count or by bytes, and then the guest's
//! write waits.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::{PollSemaphore, PollSender};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::StoreContextMut;
use wasmtime::component::{Source, StreamConsumer, StreamResult};

use crate::contract::{Delta, Part, Property};
use crate::error::{CallError, Cause};
use crate::guest::Guest;

/// Batches that may wait for the reader.
const BATCHES: usize = 16;
/// Items in one batch.
const ITEMS: usize = 64;
/// Bytes that may wait for the reader: a few seconds of any model's speech. An item larger than that waits alone.
const BYTES: usize = 256 << 10;

/// Items that became ready together, and the room that they take until they are read.
#[derive(Debug)]
pub(crate) struct Batch {
    items: Vec<Delta>,
    _room: OwnedSemaphorePermit,
}

/// The reply as it is written. Dropping it drops the store, and that is the cancel.
pub struct Deltas {
    batches: mpsc::Receiver<Batch>,
    task: Option<AbortOnDropHandle<Result<(), CallError>>>,
    /// Whether the guest may return by itself after the last item, so that its instance can serve again.
    lingers: bool,
    truncated: Option<CallError>,
    ended: bool,
}

impl Deltas {
    pub(crate) fn new(
        batches: mpsc::Receiver<Batch>,
        task: AbortOnDropHandle<Result<(), CallError>>,
        lingers: bool,
        truncated: CallError,
    ) -> Self {
        Self { batches, task: Some(task), lingers, truncated: Some(truncated), ended: false }
    }

    /// The next items that are ready together, never none. The last item of a reply is `finish` or `failed`; `None` comes
    /// after it, or after an error. A reply that just ends is an error.
    pub async fn next(&mut self) -> Option<Result<Vec<Delta>, CallError>> {
        if self.ended {
            return None;
        }
        if let Some(batch) = self.batches.recv().await {
            self.ended = batch.items.last().is_some_and(ends);
            if self.ended {
                // Nothing after the end counts, so nobody waits for it. Its budgets hold until it returns.
                match self.task.take() {
                    Some(task) if self.lingers => drop(task.detach()),
                    ended => drop(ended),
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

fn ends(delta: &Delta) -> bool {
    matches!(delta, Delta::Finish(_) | Delta::Failed(_))
}

/// A channel for one reply: what the guest's stream is piped into, its end, and what the reader holds.
pub(crate) fn channel(largest: usize) -> (Consumer, oneshot::Receiver<()>, mpsc::Receiver<Batch>) {
    let (sender, receiver) = mpsc::channel(BATCHES);
    let (done, finished) = oneshot::channel();
    let whole = u32::try_from(BYTES.max(largest)).unwrap_or(u32::MAX);
    let room = PollSemaphore::new(std::sync::Arc::new(Semaphore::new(whole as usize)));
    (Consumer { sender: PollSender::new(sender), room, largest, whole, _done: done }, finished, receiver)
}

/// Takes what the guest writes. Dropped when the guest drops its end or the reply is over.
pub(crate) struct Consumer {
    sender: PollSender<Batch>,
    /// One permit a byte.
    room: PollSemaphore,
    largest: usize,
    /// All permits there are.
    whole: u32,
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
        // Room first: items that were taken can't be put back, and how large one is shows only then.
        let largest = u32::try_from(self.largest).unwrap_or(u32::MAX).min(self.whole);
        let reserved = match self.sender.poll_reserve(cx) {
            Poll::Ready(Ok(())) => self.room.poll_acquire_many(cx, largest),
            Poll::Ready(Err(_)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending => Poll::Pending,
        };
        let mut spare = match reserved {
            Poll::Ready(Some(spare)) => spare,
            Poll::Ready(None) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        let waiting = source.remaining(&mut store);
        if waiting == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let mut items = Vec::with_capacity(waiting.min(ITEMS));
        let mut room: Option<OwnedSemaphorePermit> = None;
        let mut result = StreamResult::Completed;
        while items.len() < waiting.min(ITEMS) {
            let mut item = None;
            source.read(&mut store, &mut item)?;
            let Some(item) = item else { break };
            let size = size(&item);
            if size > self.largest {
                let limit = self.largest;
                let reason =
                    format!("one item of its reply had {size} bytes, of {limit} (limit `delta_bytes`)");
                return Poll::Ready(Err(Cause::HostResources(reason).into()));
            }
            match (room.as_mut(), spare.split(size)) {
                (Some(room), Some(taken)) => room.merge(taken),
                (None, taken) => room = taken,
                (Some(_), None) => {}
            }
            let end = ends(&item);
            items.push(item);
            if end {
                result = StreamResult::Dropped;
                break;
            }
            // Another one only where it surely finds room: `spare` is what the next may take.
            let missing = largest as usize - spare.num_permits();
            match self.room.clone_inner().try_acquire_many_owned(u32::try_from(missing).unwrap_or(u32::MAX)) {
                Ok(more) => spare.merge(more),
                Err(_) => break,
            }
        }
        let Some(room) = room else { return Poll::Ready(Ok(result)) };
        match self.sender.send_item(Batch { items, _room: room }) {
            Ok(()) => Poll::Ready(Ok(result)),
            Err(_) => Poll::Ready(Ok(StreamResult::Dropped)),
        }
    }
}

/// Bytes that an item holds, roughly. None is free: an empty one takes its own room in the channel.
fn size(delta: &Delta) -> usize {
    let properties = |properties: &[Property]| {
        let bytes = |property: &Property| size_of::<Property>() + property.name.len() + property.json.len();
        properties.iter().map(bytes).sum::<usize>()
    };
    let held = match delta {
        Delta::Text(text) | Delta::Thinking(text) => text.len(),
        Delta::ToolCall(call) => {
            call.id.len() + call.name.len() + call.arguments.len() + properties(&call.metadata)
        }
        Delta::Other(property) => property.name.len() + property.json.len(),
        Delta::Failed(failure) => failure.code.len() + failure.message.len() + properties(&failure.metadata),
        Delta::Usage(usage) => properties(&usage.metadata),
        Delta::Finish(finish) => finish.reason.len() + properties(&finish.metadata),
    };
    held.max(1)
}

/// Checks that a message has a role that its place allows and some content.
pub(crate) fn has_text(parts: &[Part]) -> bool {
    parts.iter().any(|part| !matches!(part, Part::Text(text) if text.trim().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Failure, Finish, Usage};

    #[test]
    fn what_an_item_carries_on_the_side_counts_too() {
        let metadata = || vec![Property { name: "n".repeat(100), json: "1".repeat(900) }];
        let failed = Failure { metadata: metadata(), ..Failure::new("internal", "no") };
        let finish = Finish { reason: "stop".into(), metadata: metadata() };
        let usage = Usage { input_tokens: 0, output_tokens: 0, cached_tokens: 0, metadata: metadata() };
        for delta in [Delta::Failed(failed), Delta::Finish(finish), Delta::Usage(usage)] {
            assert!(size(&delta) >= 1000, "{delta:?}");
        }
        let empty = vec![Property { name: String::new(), json: String::new() }; 1000];
        assert!(size(&Delta::Finish(Finish { reason: "stop".into(), metadata: empty })) > 1000);
        assert_eq!(size(&Delta::Text(String::new())), 1);
    }
}
