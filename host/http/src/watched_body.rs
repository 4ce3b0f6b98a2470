//! A response's body, and what has to know when it ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// Lives as long as a body: until its last byte was sent, or the client left.
pub(crate) trait BodyWatcher: Send + Unpin + 'static {
    /// The body has no more frames.
    fn complete(&mut self) {}
}

/// A body with its watcher.
struct WatchedBody<W> {
    body: Body,
    watcher: W,
}

/// Moves `watcher` into the response's body.
pub(crate) fn watch<W: BodyWatcher>(response: Response, watcher: W) -> Response {
    response.map(|body| Body::new(WatchedBody { body, watcher }))
}

impl<W: BodyWatcher> http_body::Body for WatchedBody<W> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        // hyper drops a body of known length after its last frame, without polling it for the end.
        if matches!(polled, Poll::Ready(None)) || this.body.is_end_stream() {
            this.watcher.complete();
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
