//! Request bodies of HTTP/1.1 that tell their connection when a part of them has been read.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use masque_read_bound::ReadProgress;

/// A request's body, and the connection that it comes from.
pub(crate) struct DeliveredBody<B> {
    body: B,
    progress: ReadProgress,
}

impl<B> DeliveredBody<B> {
    pub(crate) fn new(body: B, progress: ReadProgress) -> Self {
        Self { body, progress }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for DeliveredBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() {
            self.progress.made();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
