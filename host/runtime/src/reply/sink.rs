//! The guest's end of a reply: a stream consumer that waits while the channel is full.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::sync::{PollSemaphore, PollSender};
use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, Lift, Source, StreamConsumer, StreamReader, StreamResult};

use crate::contract::Delta;
use crate::error::Cause;
use crate::guest::Guest;
use crate::instance::wait_until_quiet;

/// The most batches that wait for the reader.
const MAX_BATCHES: usize = 16;
/// The most items in one batch.
const MAX_BATCH_ITEMS: usize = 64;
/// The most bytes that wait for the reader: a few seconds of any model's reply. An item larger than that waits alone.
const MAX_WAITING_BYTES: usize = 256 << 10;

/// Items that became ready together. They hold their bytes of the channel until they are read.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(super) items: Vec<Delta>,
    _bytes: OwnedSemaphorePermit,
}

/// Where a call writes its reply.
pub(crate) struct ReplySink {
    batches: mpsc::Sender<Batch>,
    max_item_bytes: usize,
    lingers: bool,
    accept: oneshot::Sender<()>,
}

/// What the reader of a reply holds.
pub(crate) struct OpenedReply {
    pub(crate) batches: mpsc::Receiver<Batch>,
    /// Resolves when the plugin has accepted the prompt; fails when the call ends without that.
    pub(crate) accepted: oneshot::Receiver<()>,
}

/// Opens the channel of one reply. `lingers` says that the guest may return by itself after its last item.
pub(crate) fn open_reply(max_item_bytes: usize, lingers: bool) -> (ReplySink, OpenedReply) {
    let (sender, receiver) = mpsc::channel(MAX_BATCHES);
    let (accept, accepted) = oneshot::channel();
    let sink = ReplySink { batches: sender, max_item_bytes, lingers, accept };
    (sink, OpenedReply { batches: receiver, accepted })
}

impl ReplySink {
    /// Pipes the guest's stream into the channel until the reply has ended. Returns whether the guest has no task left then.
    pub(crate) async fn receive<T: Lift + Send + 'static>(
        self,
        accessor: &Accessor<Guest>,
        stream: StreamReader<T>,
        translate: fn(T) -> Delta,
    ) -> wasmtime::Result<bool> {
        let (done, finished) = oneshot::channel();
        let consumer = Consumer::new(self.batches, self.max_item_bytes, translate, done);
        accessor.with(|access| stream.pipe(access, consumer))?;
        // If the reader is gone, the task is aborted, and this future with it.
        let _ = self.accept.send(());
        // The only end is an error: the consumer was dropped.
        let _ = finished.await;
        Ok(self.lingers && wait_until_quiet(accessor).await)
    }
}

/// Takes what the guest writes. It is dropped when the guest drops its end or the reply has ended.
struct Consumer<T> {
    sender: PollSender<Batch>,
    /// One permit for each byte that may wait.
    bytes: PollSemaphore,
    /// All permits of `bytes`.
    all_bytes: u32,
    max_item_bytes: usize,
    translate: fn(T) -> Delta,
    /// Dropped with the consumer, which tells the waiting call that the stream has ended.
    _done: oneshot::Sender<()>,
}

impl<T> Consumer<T> {
    fn new(
        sender: mpsc::Sender<Batch>,
        max_item_bytes: usize,
        translate: fn(T) -> Delta,
        done: oneshot::Sender<()>,
    ) -> Self {
        let all_bytes = u32::try_from(MAX_WAITING_BYTES.max(max_item_bytes)).unwrap_or(u32::MAX);
        Self {
            sender: PollSender::new(sender),
            bytes: PollSemaphore::new(Arc::new(Semaphore::new(all_bytes as usize))),
            all_bytes,
            max_item_bytes,
            translate,
            _done: done,
        }
    }
}

impl<T: Lift + Send + 'static> StreamConsumer<Guest> for Consumer<T> {
    type Item = T;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<Guest>,
        mut source: Source<'_, T>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        // Permits for the largest item are taken first: the size of an item is known only after it was taken, and an item that
        // was taken can't be put back.
        let largest = u32::try_from(self.max_item_bytes).unwrap_or(u32::MAX).min(self.all_bytes);
        let reserved = match self.sender.poll_reserve(cx) {
            Poll::Ready(Ok(())) => self.bytes.poll_acquire_many(cx, largest),
            Poll::Ready(Err(_)) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending => Poll::Pending,
        };
        let mut spare = match reserved {
            Poll::Ready(Some(spare)) => spare,
            Poll::Ready(None) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        let waiting = source.remaining(&mut store).min(MAX_BATCH_ITEMS);
        if waiting == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let mut items = Vec::with_capacity(waiting);
        let mut held: Option<OwnedSemaphorePermit> = None;
        let mut result = StreamResult::Completed;
        while items.len() < waiting {
            let mut item = None;
            source.read(&mut store, &mut item)?;
            let Some(item) = item else { break };
            let item = (self.translate)(item);
            let bytes = item.bytes();
            if bytes > self.max_item_bytes {
                let limit = self.max_item_bytes;
                let reason =
                    format!("one item of its reply had {bytes} bytes, of {limit} (limit `delta_bytes`)");
                return Poll::Ready(Err(Cause::HostResources(reason).into()));
            }
            match (held.as_mut(), spare.split(bytes)) {
                (Some(held), Some(taken)) => held.merge(taken),
                (None, taken) => held = taken,
                (Some(_), None) => {}
            }
            let is_last = item.is_last();
            items.push(item);
            if is_last {
                result = StreamResult::Dropped;
                break;
            }
            // Another item is taken only if the channel has room for the largest one.
            let missing = largest as usize - spare.num_permits();
            match self.bytes.clone_inner().try_acquire_many_owned(u32::try_from(missing).unwrap_or(u32::MAX))
            {
                Ok(more) => spare.merge(more),
                Err(_) => break,
            }
        }
        let Some(held) = held else { return Poll::Ready(Ok(result)) };
        match self.sender.send_item(Batch { items, _bytes: held }) {
            Ok(()) => Poll::Ready(Ok(result)),
            Err(_) => Poll::Ready(Ok(StreamResult::Dropped)),
        }
    }
}
