//! A response's body on its way to the guest: its pauses bounded, its secrets struck out.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

use super::redact::Redactor;

/// What is read of a body that the guest let go, so that its connection can serve the next request. A chat-completions
/// stream that was read up to `[DONE]` has a few bytes left; without this, every turn would open a connection.
const DRAIN_BYTES: usize = 64 << 10;
/// Short, since a reply that was cancelled goes on costing money for as long as it is read.
const DRAIN: Duration = Duration::from_millis(100);

pub(crate) struct GuardedBody {
    /// Taken when the body is dropped before its end.
    inner: Option<Incoming>,
    redactor: Redactor,
    /// How long the upstream may pause, and the alarm for it.
    between: Duration,
    alarm: Pin<Box<Sleep>>,
    ended: bool,
    /// One of the requests that the call may have under way; given back when the body is gone.
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl GuardedBody {
    pub(crate) fn new(
        inner: Incoming,
        redactor: Redactor,
        between: Duration,
        place: tokio::sync::OwnedSemaphorePermit,
    ) -> Self {
        Self {
            inner: Some(inner),
            redactor,
            between,
            alarm: Box::pin(tokio::time::sleep(between)),
            ended: false,
            _place: place,
        }
    }
}

impl Body for GuardedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        loop {
            let Some(inner) = this.inner.as_mut().filter(|_| !this.ended) else {
                return Poll::Ready(None);
            };
            let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) else {
                ready!(this.alarm.as_mut().poll(cx));
                this.ended = true;
                return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
            };
            this.alarm.as_mut().reset(Instant::now() + this.between);
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let data = this.redactor.push(data);
                        if !data.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                    }
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(error_in_body(&error))));
                }
                None => {
                    this.ended = true;
                    let held = this.redactor.finish();
                    return Poll::Ready((!held.is_empty()).then(|| Ok(Frame::data(held))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

impl Drop for GuardedBody {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take().filter(|_| !self.ended) else { return };
        // Outside of a runtime the process is ending, and the connection with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(DRAIN, drain(inner)));
        }
    }
}

async fn drain(mut body: Incoming) {
    let mut left = DRAIN_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// A body that breaks off is told apart from one that breaks the protocol, so that a plugin can say which.
fn error_in_body(error: &hyper::Error) -> Error {
    if error.is_incomplete_message() || error.is_closed() || error.is_body_write_aborted() {
        Error::HttpResponseIncomplete
    } else {
        Error::ConnectionTerminated
    }
}
