//! Bodies on their way to the guest.

use std::sync::Arc;

use futures::{FutureExt, stream};
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
    drop(GuardedBody::new(endless, EchoRedactor::default(), trailer_limit(1000), LONG, occupied(&permits)));
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
    sent_body_with(between_bytes, occupied(&Arc::new(Semaphore::new(1))))
}

fn sent_body_with(
    between_bytes: Duration,
    occupied: OccupiedRequest,
) -> (
    mpsc::UnboundedSender<Frame<Bytes>>,
    GuardedBody<impl Body<Data = Bytes, Error = hyper::Error> + Send + Unpin + 'static>,
) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let frames = stream::poll_fn(move |cx| receiver.poll_recv(cx).map(|frame| frame.map(Ok)));
    (
        sender,
        GuardedBody::new(StreamBody::new(frames), redactor(), trailer_limit(1000), between_bytes, occupied),
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

#[tokio::test(start_paused = true)]
async fn frames_that_arrive_together_reach_the_guest_as_one_and_a_single_one_at_once() {
    let (upstream, mut body) = sent_body(LONG);
    let send = |text: &'static str| upstream.send(Frame::data(Bytes::from_static(text.as_bytes()))).unwrap();
    send("one\n");
    send("two\nthr");
    send("ee\nfour");
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one\ntwo\nthree\n");
    send(" and five\n");
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "four and five\n");
    assert!(body.frame().now_or_never().is_none(), "nothing else has arrived");
}

#[tokio::test(start_paused = true)]
async fn trailers_that_arrive_with_the_data_come_after_it_and_end_the_body() {
    let permits = Arc::new(Semaphore::new(1));
    let (upstream, mut body) = sent_body_with(LONG, occupied(&permits));
    upstream.send(Frame::data(Bytes::from_static(b"one\ntwo"))).unwrap();
    upstream
        .send(Frame::trailers(HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())])))
        .unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one\ntwo");
    assert_eq!(permits.available_permits(), 1, "nothing more is read");
    assert!(!body.is_end_stream());
    assert_eq!(body.frame().await.unwrap().unwrap().into_trailers().unwrap().len(), 1);
    assert!(body.is_end_stream() && body.frame().await.is_none());
}
