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
use super::origin_pool::ConnectionLease;
use super::redact::EchoRedactor;

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
    /// What is passed on after the bytes that the redactor held back.
    last: Option<Result<HeaderMap, Error>>,
    /// The longest time that the guest waits for the upstream.
    between_bytes: Duration,
    /// Fires when it has waited for longer.
    alarm: Pin<Box<Sleep>>,
    /// Whether the guest waits. The time in which it does not read is no pause of the upstream.
    is_waiting: bool,
    ended: bool,
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
            ended: false,
            occupied: Some(occupied),
        }
    }

    /// The next frame where the data has ended: what the redactor held back, then `last`.
    fn finish(&mut self, last: Option<Result<HeaderMap, Error>>) -> Option<Result<Frame<Bytes>, Error>> {
        if self.ended {
            // Resets the stream, where the upstream has not ended it, before another request may have it.
            self.inner = None;
            self.occupied = None;
        }
        let held = self.redactor.finish();
        if held.is_empty() {
            return last.map(|last| last.map(Frame::trailers));
        }
        self.last = last;
        Some(Ok(Frame::data(held)))
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
            let Some(inner) = this.inner.as_mut().filter(|_| !this.ended) else {
                return Poll::Ready(None);
            };
            let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) else {
                if !this.is_waiting {
                    this.is_waiting = true;
                    this.alarm.as_mut().reset(Instant::now() + this.between_bytes);
                }
                ready!(this.alarm.as_mut().poll(cx));
                this.ended = true;
                return Poll::Ready(this.finish(Some(Err(Error::ConnectionReadTimeout))));
            };
            this.is_waiting = false;
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let data = this.redactor.push(data);
                        if !data.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                    }
                    Err(other) => {
                        let Ok(mut trailers) = other.into_trailers() else { continue };
                        if let Err(size) = this.trailer_limit.check(&trailers) {
                            this.ended = true;
                            let error = Error::HttpResponseTrailerSectionSize(Some(size));
                            return Poll::Ready(this.finish(Some(Err(error))));
                        }
                        this.redactor.redact_headers(&mut trailers);
                        return Poll::Ready(this.finish(Some(Ok(trailers))));
                    }
                },
                Some(Err(error)) => {
                    this.ended = true;
                    return Poll::Ready(this.finish(Some(Err(error_in_body(&error)))));
                }
                None => {
                    this.ended = true;
                    return Poll::Ready(this.finish(None));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.last.is_none()
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
mod tests {
    use std::sync::Arc;

    use futures::stream;
    use http::HeaderValue;
    use http_body_util::StreamBody;
    use masque_grants::Secret;
    use tokio::sync::{Semaphore, mpsc};

    use super::*;
    use crate::diagnostics::CallDiagnostics;
    use crate::secret_matcher::SecretMatcher;

    const LONG: Duration = Duration::from_secs(60);

    fn occupied(permits: &Arc<Semaphore>) -> OccupiedRequest {
        OccupiedRequest { _permit: permits.clone().try_acquire_owned().unwrap(), _lease: None }
    }

    fn trailer_limit(bytes: usize) -> HeaderLimit {
        HeaderLimit { bytes, diagnostics: CallDiagnostics::default() }
    }

    fn redactor() -> EchoRedactor {
        EchoRedactor::new(SecretMatcher::new([Secret::from("sk-secret-1".to_owned())]))
    }

    #[tokio::test]
    async fn trailers_past_the_limit_on_headers_end_the_body_with_an_error() {
        let trailers = HeaderMap::from_iter([("x".parse().unwrap(), "v".repeat(1000).parse().unwrap())]);
        let frames = [Frame::data(Bytes::from_static(b"hello")), Frame::trailers(trailers)];
        let inner = StreamBody::new(stream::iter(frames.map(Ok)));
        let occupied = occupied(&Arc::new(Semaphore::new(1)));
        let body = GuardedBody::new(inner, EchoRedactor::default(), trailer_limit(1000), LONG, occupied);
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
        let body = GuardedBody::new(
            inner,
            redactor(),
            trailer_limit(1000),
            LONG,
            occupied(&Arc::new(Semaphore::new(1))),
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
        drop(GuardedBody::new(
            endless,
            EchoRedactor::default(),
            trailer_limit(1000),
            LONG,
            occupied(&permits),
        ));
        tokio::time::sleep(DRAIN_TIME / 2).await;
        assert_eq!(permits.available_permits(), 0);
        tokio::time::sleep(DRAIN_TIME).await;
        assert_eq!(permits.available_permits(), 1);
    }

    /// A body whose frames the test sends.
    fn sent_body(
        between_bytes: Duration,
    ) -> (
        mpsc::UnboundedSender<Frame<Bytes>>,
        GuardedBody<impl Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static>,
    ) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let frames = stream::poll_fn(move |cx| receiver.poll_recv(cx).map(|frame| frame.map(Ok)));
        let occupied = occupied(&Arc::new(Semaphore::new(1)));
        (
            sender,
            GuardedBody::new(
                StreamBody::new(frames),
                redactor(),
                trailer_limit(1000),
                between_bytes,
                occupied,
            ),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_time_in_which_the_guest_waits_is_a_pause_of_the_upstream() {
        let (upstream, mut body) = sent_body(Duration::from_secs(1));
        upstream.send(Frame::data(Bytes::from_static(b"one\n"))).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one\n");
        // The guest computes, or its reader is slow.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let late = tokio::time::timeout(Duration::from_millis(500), body.frame()).await;
        assert!(late.is_err(), "the guest has waited for half a second only");
        upstream.send(Frame::data(Bytes::from_static(b"two\n"))).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two\n");
        assert!(matches!(body.frame().await, Some(Err(Error::ConnectionReadTimeout))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_held_back_comes_before_the_error_that_ends_the_body() {
        let (upstream, mut body) = sent_body(Duration::from_secs(1));
        upstream.send(Frame::data(Bytes::from_static(b"no line"))).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "no line");
        assert!(!body.is_end_stream());
        assert!(matches!(body.frame().await, Some(Err(Error::ConnectionReadTimeout))));
        assert!(body.frame().await.is_none());
    }
}
