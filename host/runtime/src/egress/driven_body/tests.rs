//! Answers of HTTP/1.1 whose server is the test. What is polled without an await in between is polled by no task of the runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use futures::FutureExt;
use http::Request;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper_util::rt::TokioIo;
use masque_grants::Origin;
use masque_read_bound::ReadProgress;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use wasmtime_wasi_http::WasiBody;

use super::super::connection::{RequestSender, open_http1};
use super::*;

/// Longer than any test takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);
const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

async fn connection() -> (RequestSender, DuplexStream) {
    let (io, server) = tokio::io::duplex(64 << 10);
    (open_http1(TokioIo::new(io), ReadProgress::default()).await.unwrap().sender, server)
}

fn origin() -> Origin {
    "http://127.0.0.1:9".parse().unwrap()
}

fn request() -> Request<WasiBody> {
    let body: WasiBody = Empty::new().map_err(|never| match never {}).boxed_unsync();
    Request::get("http://127.0.0.1:9/").body(body).unwrap()
}

/// Sends a request that the server answers with `answer`.
async fn answered(sender: &mut RequestSender, server: &mut DuplexStream, answer: &str) -> DrivenBody {
    let origin = origin();
    let serve = async {
        received(server, "\r\n\r\n").await;
        server.write_all(answer.as_bytes()).await.unwrap();
    };
    let (sent, ()) = futures::join!(sender.send(request(), &origin), serve);
    sent.ok().unwrap().into_body()
}

/// Reads until what the server received ends with `last`.
async fn received(server: &mut DuplexStream, last: &str) -> String {
    let mut received = String::new();
    while !received.ends_with(last) {
        let byte =
            tokio::time::timeout(LONG, server.read_u8()).await.expect("the request is written").unwrap();
        received.push(char::from(byte));
    }
    received
}

/// Writes without a task's help.
fn write(server: &mut DuplexStream, text: &str) {
    server.write_all(text.as_bytes()).now_or_never().unwrap().unwrap();
}

#[derive(Default)]
struct CountedWakes(AtomicUsize);

impl Wake for CountedWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A task that reads, as far as the test says.
struct Reader {
    wakes: Arc<CountedWakes>,
    waker: Waker,
}

impl Reader {
    fn new() -> Self {
        let wakes = Arc::new(CountedWakes::default());
        Self { waker: wakes.clone().into(), wakes }
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }

    /// The next bytes, empty at the end of the body.
    fn read(&self, body: &mut DrivenBody) -> Poll<Bytes> {
        let frame = Pin::new(body).poll_frame(&mut Context::from_waker(&self.waker));
        frame.map(|frame| frame.map_or_else(Bytes::new, |frame| frame.unwrap().into_data().unwrap()))
    }
}

#[tokio::test]
async fn a_frame_wakes_its_reader_once_and_no_other_task() {
    let (mut sender, mut server) = connection().await;
    let mut body = answered(&mut sender, &mut server, HEAD).await;
    let reader = Reader::new();
    assert_eq!(reader.read(&mut body), Poll::Pending);
    for wakes in 1..=3 {
        write(&mut server, "5\r\nhello\r\n");
        assert_eq!(reader.wakes(), wakes);
        assert_eq!(reader.read(&mut body), Poll::Ready("hello".into()));
        assert_eq!(reader.read(&mut body), Poll::Pending);
        assert_eq!(reader.wakes(), wakes, "what the reader does itself does not wake it");
    }
    write(&mut server, "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
    assert_eq!(reader.read(&mut body), Poll::Ready("one".into()));
    assert_eq!(reader.read(&mut body), Poll::Ready("two".into()));
    assert!(!sender.is_ready());
    assert_eq!(reader.read(&mut body), Poll::Ready(Bytes::new()));
    assert!(sender.is_ready(), "the connection can serve the next request at once");
    assert_eq!(reader.wakes(), 4);
}

#[tokio::test]
async fn a_request_is_written_and_its_head_read_by_whoever_sends_it() {
    let (mut sender, mut server) = connection().await;
    let (origin, reader) = (origin(), Reader::new());
    let mut sent = Box::pin(sender.send(request(), &origin));
    let mut poll = || sent.as_mut().poll(&mut Context::from_waker(&reader.waker));
    assert!(poll().is_pending());
    let head = received(&mut server, "\r\n\r\n").now_or_never().expect("the request is written");
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
    assert_eq!(reader.wakes(), 0);
    write(&mut server, HEAD);
    assert_eq!(reader.wakes(), 1);
    assert!(matches!(poll(), Poll::Ready(Ok(answer)) if answer.status() == 200));
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let (mut sender, mut server) = connection().await;
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let body = answered(&mut sender, &mut server, answer).await;
        assert_eq!(body.collect().await.unwrap().to_bytes(), "ok");
        tokio::time::timeout(LONG, sender.wait_until_ready()).await.expect("the connection is ready");
        assert!(sender.is_ready());
    }
}

#[tokio::test]
async fn a_server_that_closes_an_idle_connection_is_noticed_after_a_body_has_driven_it() {
    let (mut sender, mut server) = connection().await;
    let body = answered(&mut sender, &mut server, &format!("{HEAD}2\r\nok\r\n0\r\n\r\n")).await;
    assert_eq!(body.collect().await.unwrap().to_bytes(), "ok");
    sender.wait_until_ready().await;
    // The connection's task waits for the server.
    tokio::task::yield_now().await;
    drop(server);
    let noticed = async {
        while sender.is_ready() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, noticed).await.expect("the end of the connection is noticed");
}

#[tokio::test]
async fn a_body_that_is_dropped_closes_its_connection() {
    let (mut sender, mut server) = connection().await;
    let mut body = answered(&mut sender, &mut server, &format!("{HEAD}2\r\nok\r\n")).await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
    assert_eq!(Reader::new().read(&mut body), Poll::Pending);
    drop(body);
    let closed = tokio::time::timeout(LONG, server.read(&mut [0])).await.expect("the connection closes");
    assert_eq!(closed.unwrap(), 0);
    tokio::time::timeout(LONG, sender.wait_until_ready()).await.expect("the connection has ended");
    assert!(!sender.is_ready() && !sender.is_busy());
}

#[tokio::test]
async fn a_request_that_is_given_up_closes_its_connection() {
    let (mut sender, mut server) = connection().await;
    let origin = origin();
    let mut sent = Box::pin(sender.send(request(), &origin));
    assert!((&mut sent).now_or_never().is_none());
    drop(sent);
    received(&mut server, "\r\n\r\n").await;
    let closed = tokio::time::timeout(LONG, server.read(&mut [0])).await.expect("the connection closes");
    assert_eq!(closed.unwrap(), 0);
}

#[tokio::test]
async fn a_server_that_breaks_off_fails_the_body_that_waits() {
    let (mut sender, mut server) = connection().await;
    let mut body = answered(&mut sender, &mut server, &format!("{HEAD}2\r\nok\r\n")).await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
    let reader = Reader::new();
    assert_eq!(reader.read(&mut body), Poll::Pending);
    drop(server);
    assert_eq!(reader.wakes(), 1);
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn a_request_is_written_to_its_end_though_nobody_reads_its_answer() {
    let (mut sender, mut server) = connection().await;
    let (upload, mut pieces) = mpsc::unbounded_channel::<&'static str>();
    let pieces = futures::stream::poll_fn(move |cx| pieces.poll_recv(cx));
    let frames =
        futures::StreamExt::map(pieces, |piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
    let request = Request::post("http://127.0.0.1:9/").body(StreamBody::new(frames).boxed_unsync()).unwrap();
    let origin = origin();
    let serve = async {
        received(&mut server, "\r\n\r\n").await;
        server.write_all(format!("{HEAD}2\r\nok\r\n").as_bytes()).await.unwrap();
    };
    let (sent, ()) = futures::join!(sender.send(request, &origin), serve);
    let mut body = sent.ok().unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ok");
    let reader = Reader::new();
    assert_eq!(reader.read(&mut body), Poll::Pending);
    upload.send("more").unwrap();
    received(&mut server, "more\r\n").await;
    drop(upload);
    received(&mut server, "0\r\n\r\n").await;
    assert_eq!(reader.read(&mut body), Poll::Pending);
    write(&mut server, "2\r\nok\r\n");
    assert_eq!(reader.read(&mut body), Poll::Ready("ok".into()));
}
