//! A response's body on its way to the guest: what arrives together is passed on together, its pauses are bounded, and secrets are
//! redacted.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

use super::driven_body::DrivenBody;
use super::gather::{BodyEnd, Gathered, JoinedBytes, poll_gathered};
use super::header_limit::HeaderLimit;
use super::origin_pool::ConnectionLease;
use super::redact::EchoRedactor;

/// The most bytes that are read of a body that the guest dropped, so that its connection can serve the next request. A
/// chat-completions stream that was read up to `[DONE]` has a few bytes left; without draining, every turn would open a
/// connection.
const DRAIN_BYTES: usize = 64 << 10;
/// The longest time for that. It is short because a cancelled reply costs money for as long as it is read.
const DRAIN_TIME: Duration = Duration::from_millis(100);

/// The body of one response.
pub(crate) struct GuardedBody<B = DrivenBody>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
{
    /// Absent after the end.
    inner: Option<B>,
    redactor: EchoRedactor,
    trailer_limit: HeaderLimit,
    /// What is passed on after the bytes that the redactor held back.
    last: Option<Result<HeaderMap, Error>>,
    /// The longest time that the guest waits for the upstream.
    between_bytes: Duration,
    /// Fires when it has waited for longer.
    alarm: Pin<Box<Sleep>>,
    /// Whether the guest waits. The time in which it does not read is no pause of the upstream.
    is_waiting: bool,
    /// Released when the body is no longer read.
    occupied: Option<OccupiedRequest>,
}

/// What a request occupies until its answer has been read.
pub(crate) struct OccupiedRequest {
    /// One of the requests that the call may have under way.
    pub(crate) _permit: OwnedSemaphorePermit,
    /// Its stream, on HTTP/2.
    pub(crate) _lease: Option<ConnectionLease>,
}

impl<B> GuardedBody<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
{
    pub(crate) fn new(
        inner: B,
        redactor: EchoRedactor,
        trailer_limit: HeaderLimit,
        between_bytes: Duration,
        occupied: OccupiedRequest,
    ) -> Self {
        Self {
            inner: Some(inner),
            redactor,
            trailer_limit,
            last: None,
            between_bytes,
            alarm: Box::pin(tokio::time::sleep(between_bytes)),
            is_waiting: false,
            occupied: Some(occupied),
        }
    }

    /// Ends the body. Returns what comes next: `released` and what the redactor held back, then `last`.
    fn end(
        &mut self,
        released: Bytes,
        last: Option<Result<HeaderMap, Error>>,
    ) -> Option<Result<Frame<Bytes>, Error>> {
        // Resets the stream, where the upstream has not ended it, before another request may have it.
        self.inner = None;
        self.occupied = None;
        let mut data = JoinedBytes::default();
        data.push(released);
        data.push(self.redactor.finish());
        if data.is_empty() {
            return last.map(|last| last.map(Frame::trailers));
        }
        self.last = last;
        Some(Ok(Frame::data(data.finish())))
    }

    /// What comes after the data of a body that has ended in this way.
    fn last(&self, end: BodyEnd<hyper::Error>) -> Option<Result<HeaderMap, Error>> {
        match end {
            BodyEnd::Complete => None,
            BodyEnd::Failed(error) => Some(Err(error_in_body(&error))),
            BodyEnd::Trailers(mut trailers) => Some(match self.trailer_limit.check(&trailers) {
                Ok(()) => {
                    self.redactor.redact_headers(&mut trailers);
                    Ok(trailers)
                }
                Err(size) => Err(Error::HttpResponseTrailerSectionSize(Some(size))),
            }),
        }
    }
}

impl<B> Body for GuardedBody<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Some(last) = this.last.take() {
            return Poll::Ready(Some(last.map(Frame::trailers)));
        }
        loop {
            let Some(inner) = this.inner.as_mut() else {
                return Poll::Ready(None);
            };
            let Poll::Ready(Gathered { data, end }) = poll_gathered(inner, cx) else {
                if !this.is_waiting {
                    this.is_waiting = true;
                    this.alarm.as_mut().reset(Instant::now() + this.between_bytes);
                }
                ready!(this.alarm.as_mut().poll(cx));
                return Poll::Ready(this.end(Bytes::new(), Some(Err(Error::ConnectionReadTimeout))));
            };
            this.is_waiting = false;
            let released = this.redactor.push(data);
            if let Some(end) = end {
                let last = this.last(end);
                return Poll::Ready(this.end(released, last));
            }
            if !released.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(released))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_none() && self.last.is_none()
    }
}

impl<B> Drop for GuardedBody<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else { return };
        // Without a runtime the process is ending, and the connection with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let occupied = self.occupied.take();
            runtime.spawn(async move {
                // The connection of a slower body is closed, which is the only consequence.
                let _ = tokio::time::timeout(DRAIN_TIME, drain(inner)).await;
                drop(occupied);
            });
        }
    }
}

async fn drain(mut body: impl Body<Data = Bytes, Error = hyper::Error> + Unpin) {
    let mut left = DRAIN_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Tells a body that ends early from one that breaks the protocol, so that a plugin can report which.
fn error_in_body(error: &hyper::Error) -> Error {
    if error.is_timeout() {
        // The server did not answer a ping.
        Error::ConnectionReadTimeout
    } else if error.is_incomplete_message() || error.is_closed() || error.is_body_write_aborted() {
        Error::HttpResponseIncomplete
    } else {
        Error::ConnectionTerminated
    }
}

#[cfg(test)]
mod tests;
