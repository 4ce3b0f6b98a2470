//! The guest's end of a reply: a stream consumer that waits while the buffer is full.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, Lift, Source, StreamConsumer, StreamReader, StreamResult};

use super::buffer::ReplyBuffer;
use crate::contract::Delta;
use crate::error::Cause;
use crate::guest::Guest;
use crate::instance::wait_until_quiet;

/// Where a call writes its reply.
pub(crate) struct ReplySink {
    pub(crate) buffer: ReplyBuffer,
    /// The most bytes of one item.
    pub(crate) max_item_bytes: usize,
    /// Whether the guest may return by itself after its last item.
    pub(crate) lingers: bool,
}

impl ReplySink {
    /// Pipes the guest's stream into the buffer until the reply has ended. Returns whether the guest has no task left then.
    pub(crate) async fn receive<T: Lift + Send + 'static>(
        self,
        accessor: &Accessor<Guest>,
        stream: StreamReader<T>,
        translate: fn(T) -> Delta,
    ) -> wasmtime::Result<bool> {
        let Self { buffer, max_item_bytes, lingers } = self;
        let (done, finished) = oneshot::channel();
        let consumer = Consumer { buffer: buffer.clone(), max_item_bytes, translate, _done: done };
        accessor.with(|access| stream.pipe(access, consumer))?;
        buffer.accept();
        // The only end is an error: the consumer was dropped.
        let _ = finished.await;
        Ok(lingers && wait_until_quiet(accessor).await)
    }
}

/// Takes what the guest writes. It is dropped when the guest drops its end or the reply has ended.
struct Consumer<T> {
    buffer: ReplyBuffer,
    max_item_bytes: usize,
    translate: fn(T) -> Delta,
    /// Dropped with the consumer, which tells the waiting call that the stream has ended.
    _done: oneshot::Sender<()>,
}

impl<T: Lift + Send + 'static> StreamConsumer<Guest> for Consumer<T> {
    type Item = T;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<Guest>,
        mut source: Source<'_, T>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let largest = self.max_item_bytes;
        let mut buffer = self.buffer.lock();
        // There has to be room for the largest item: the size of an item is known only after it was taken, and an item that was
        // taken can't be put back.
        match buffer.poll_room(largest, cx) {
            Poll::Ready(()) => {}
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        }
        for _ in 0..source.remaining(&mut store) {
            if !buffer.has_room(largest) {
                break;
            }
            let mut item = None;
            source.read(&mut store, &mut item)?;
            let Some(item) = item else { break };
            let item = (self.translate)(item);
            let bytes = item.bytes();
            if bytes > largest {
                let reason =
                    format!("one item of its reply had {bytes} bytes, of {largest} (limit `delta_bytes`)");
                return Poll::Ready(Err(Cause::HostResources(reason).into()));
            }
            let is_last = item.is_last();
            buffer.push(item, bytes);
            if is_last {
                return Poll::Ready(Ok(StreamResult::Dropped));
            }
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}
