//! Request bodies that a handler does not read to their end.
//!
//! Hazard: a request that is refused early, for example without a credential, leaves its body unread. On HTTP/2 the stream
//! is then reset after the response (RFC 9113, section 8.1), and some clients, curl 7.88 among them, throw the response
//! away with it. HTTP/1.1 is not affected: hyper reads what is there before it closes the connection. Policy: what is
//! left of such a body is read and discarded, up to a limit in bytes and in time; then the stream is reset. Consequence: a
//! client that sends a large body to a route that refuses it still learns from the reset that it can stop.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

/// What is discarded of one body: more than any request of the API has without a file in it.
const MAX_BYTES: usize = 256 * 1024;
/// How long a client may take to send it.
const MAX_TIME: Duration = Duration::from_secs(2);

/// The body of an HTTP/2 request. What is left of it when it is dropped is read in a task of its own.
pub(crate) struct UnreadBody<B>(Option<B>)
where
    B: Body<Data = Bytes> + Send + Unpin + 'static;

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> UnreadBody<B> {
    pub(crate) fn new(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Body for UnreadBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Drop for UnreadBody<B> {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        // Without a runtime the connection is gone as well.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // A body that can't be discarded in time is reset, which is what happens without this task.
            runtime.spawn(async { drop(tokio::time::timeout(MAX_TIME, discard(body)).await) });
        }
    }
}

/// Reads until the end of the body, an error, or [`MAX_BYTES`].
async fn discard<B: Body<Data = Bytes> + Send + Unpin>(mut body: B) {
    let mut left = MAX_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
