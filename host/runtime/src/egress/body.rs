//! A response's body on its way to the guest: its pauses are bounded, and secrets are redacted.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::Error;

use super::header_limit::HeaderLimit;
use super::redact::{EchoRedactor, redact_headers};

/// The most bytes that are read of a body that the guest dropped, so that its connection can serve the next request. A
/// chat-completions stream that was read up to `[DONE]` has a few bytes left; without draining, every turn would open a
/// connection.
const DRAIN_BYTES: usize = 64 << 10;
/// The longest time for that. It is short because a cancelled reply costs money for as long as it is read.
const DRAIN_TIME: Duration = Duration::from_millis(100);

/// The body of one response.
pub(crate) struct GuardedBody<B = Incoming>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
{
    /// Taken when the body is dropped before its end.
    inner: Option<B>,
    redactor: EchoRedactor,
    trailer_limit: HeaderLimit,
    /// Trailers that are passed on after the bytes that the redactor held back.
    trailers: Option<HeaderMap>,
    /// The longest pause of the upstream.
    between_bytes: Duration,
    /// Fires when the upstream pauses for longer.
    alarm: Pin<Box<Sleep>>,
    ended: bool,
    /// One of the requests that the call may have under way. It is released when the body is no longer read.
    permit: Option<OwnedSemaphorePermit>,
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
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            inner: Some(inner),
            redactor,
            trailer_limit,
            trailers: None,
            between_bytes,
            alarm: Box::pin(tokio::time::sleep(between_bytes)),
            ended: false,
            permit: Some(permit),
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
        if let Some(trailers) = this.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        loop {
            let Some(inner) = this.inner.as_mut().filter(|_| !this.ended) else {
                return Poll::Ready(None);
            };
            let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) else {
                ready!(this.alarm.as_mut().poll(cx));
                this.ended = true;
                return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
            };
            this.alarm.as_mut().reset(Instant::now() + this.between_bytes);
            match frame {
                Some(Ok(frame)) => {
                    let data = match frame.into_data() {
                        Ok(data) => this.redactor.push(data),
                        Err(other) => {
                            let Ok(mut trailers) = other.into_trailers() else { continue };
                            if let Err(size) = this.trailer_limit.check(&trailers) {
                                this.ended = true;
                                let error = Error::HttpResponseTrailerSectionSize(Some(size));
                                return Poll::Ready(Some(Err(error)));
                            }
                            redact_headers(&mut trailers, &this.redactor);
                            let held = this.redactor.finish();
                            if held.is_empty() {
                                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                            }
                            this.trailers = Some(trailers);
                            held
                        }
                    };
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
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

impl<B> Drop for GuardedBody<B>
where
    B: Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let Some(inner) = self.inner.take().filter(|_| !self.ended) else { return };
        // Without a runtime the process is ending, and the connection with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let permit = self.permit.take();
            runtime.spawn(async move {
                // The connection of a slower body is closed, which is the only consequence.
                let _ = tokio::time::timeout(DRAIN_TIME, drain(inner)).await;
                drop(permit);
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
    if error.is_incomplete_message() || error.is_closed() || error.is_body_write_aborted() {
        Error::HttpResponseIncomplete
    } else {
        Error::ConnectionTerminated
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::stream;
    use http::HeaderValue;
    use http_body_util::StreamBody;
    use masque_grants::Secret;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::diagnostics::CallDiagnostics;

    const LONG: Duration = Duration::from_secs(60);

    fn permit(permits: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        permits.clone().try_acquire_owned().unwrap()
    }

    fn trailer_limit(bytes: usize) -> HeaderLimit {
        HeaderLimit { bytes, diagnostics: CallDiagnostics::default() }
    }

    #[tokio::test]
    async fn trailers_past_the_limit_on_headers_end_the_body_with_an_error() {
        let trailers = HeaderMap::from_iter([("x".parse().unwrap(), "v".repeat(1000).parse().unwrap())]);
        let frames = [Frame::data(Bytes::from_static(b"hello")), Frame::trailers(trailers)];
        let inner = StreamBody::new(stream::iter(frames.map(Ok)));
        let permit = permit(&Arc::new(Semaphore::new(1)));
        let body = GuardedBody::new(inner, EchoRedactor::default(), trailer_limit(1000), LONG, permit);
        let error = body.collect().await.unwrap_err();
        assert!(matches!(error, Error::HttpResponseTrailerSectionSize(Some(1073))), "{error:?}");
    }

    #[tokio::test]
    async fn trailers_come_after_what_was_held_back_and_are_redacted() {
        let trailers = HeaderMap::from_iter([
            ("x-echo".parse().unwrap(), HeaderValue::from_static("it was sk-secret-1")),
            ("x-sum".parse().unwrap(), HeaderValue::from_static("42")),
        ]);
        let frames = [Frame::data(Bytes::from_static(b"hello sk-sec")), Frame::trailers(trailers)];
        let inner = StreamBody::new(stream::iter(frames.map(Ok)));
        let redactor = EchoRedactor::new([Secret::from("sk-secret-1".to_owned())]);
        let body = GuardedBody::new(
            inner,
            redactor,
            trailer_limit(1000),
            LONG,
            permit(&Arc::new(Semaphore::new(1))),
        );
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().unwrap().clone();
        assert_eq!(collected.to_bytes(), "hello sk-sec");
        assert_eq!(
            (trailers.get("x-echo").unwrap(), trailers.get("x-sum").unwrap()),
            (&HeaderValue::from_static("[redacted]"), &HeaderValue::from_static("42"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_body_keeps_its_permit_until_it_is_no_longer_read() {
        let permits = Arc::new(Semaphore::new(1));
        let endless = StreamBody::new(stream::pending::<Result<Frame<Bytes>, hyper::Error>>());
        let redactor = EchoRedactor::default();
        drop(GuardedBody::new(endless, redactor, trailer_limit(1000), LONG, permit(&permits)));
        tokio::time::sleep(DRAIN_TIME / 2).await;
        assert_eq!(permits.available_permits(), 0);
        tokio::time::sleep(DRAIN_TIME).await;
        assert_eq!(permits.available_permits(), 1);
    }
}
