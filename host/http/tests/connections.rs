//! Connections over real sockets, with time limits short enough for a test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed precondition fails the test")]

use std::future::{poll_fn, ready};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use masque_http::tls::{self, ServerCertificate};
use masque_http::{ConnectionHandler, ConnectionOptions, Lifecycle, Listener, ListenerKind, Phase, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SHORT: Duration = Duration::from_millis(100);
/// A limit that a client keeps also on a busy machine, and that a test can outwait.
const MEDIUM: Duration = Duration::from_secs(2);
/// A limit that only a failing test reaches.
const LONG: Duration = Duration::from_secs(60);

struct TestServer {
    address: std::net::SocketAddr,
    server: Server,
    lifecycle: Lifecycle,
}

/// A server that gives up whoever does not read what it is sent.
async fn serve(router: Router) -> TestServer {
    serve_with_header_timeout(router, 2 * LONG).await
}

async fn serve_with_header_timeout(router: Router, header_timeout: Duration) -> TestServer {
    serve_with(router, header_timeout, SHORT).await
}

async fn serve_with(router: Router, header_timeout: Duration, write_timeout: Duration) -> TestServer {
    start(router, ConnectionOptions { header_timeout, write_timeout }, None).await
}

/// Starts a server for two connections.
async fn start(
    router: Router,
    options: ConnectionOptions,
    certificate: Option<ServerCertificate>,
) -> TestServer {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = *listener.addresses().unwrap().first().unwrap();
    let (lifecycle, server) = (Lifecycle::new(), Server::new());
    let handler = ConnectionHandler::new(
        options,
        ListenerKind::Public,
        certificate,
        lifecycle.clone(),
        server.shutdown(),
        router,
    );
    server.serve(listener, 2, handler);
    TestServer { address, server, lifecycle }
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.address).await.unwrap()
}

/// Reads until the other side closes the connection.
async fn read_to_end(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    let read =
        tokio::time::timeout(LONG, socket.read_to_end(&mut text)).await.expect("the socket stays open");
    // A reset is an error here, and ends the connection too.
    drop(read);
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_disconnected() {
    let server = serve_with_header_timeout(hello(), SHORT).await;
    for first_words in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost: lo"] {
        let mut socket = connect(&server).await;
        socket.write_all(first_words.as_bytes()).await.unwrap();
        assert!(!read_to_end(socket).await.contains("200"), "{first_words:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_slot() {
    let server = serve(hello()).await;
    for _ in 0..5 {
        let mut socket = connect(&server).await;
        socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(read_to_end(socket).await.ends_with("hello"));
    }
}

/// A route whose response never ends, and a receiver that fails when the body of its first response is dropped.
fn endless() -> (MethodRouter, oneshot::Receiver<()>) {
    let (gone, left) = oneshot::channel::<()>();
    let gone = Arc::new(Mutex::new(Some(gone)));
    let endless = move || {
        let guard = gone.lock().unwrap().take();
        let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
        let stream = futures::stream::repeat_with(move || {
            let _held = &guard;
            Ok::<_, io::Error>(chunk.clone())
        });
        ready(Body::from_stream(stream))
    };
    (get(endless), left)
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let (endless, left) = endless();
    let server = serve(Router::new().route("/", endless)).await;
    let mut socket = connect(&server).await;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    // The sender is dropped with the body.
    tokio::time::timeout(LONG, left).await.expect("the body is still held").unwrap_err();
}

#[tokio::test]
async fn a_client_that_sends_no_content_without_end_is_disconnected() {
    const MOST: usize = 64 << 20;
    let server =
        serve_with_header_timeout(Router::new().route("/", post(async |_: Bytes| "read")), LONG).await;
    let mut socket = connect(&server).await;
    socket.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    // The first chunk has a length of zeros.
    let zeros = vec![b'0'; 64 << 10];
    let sending = async {
        let mut sent = 0;
        while sent < MOST && socket.write_all(&zeros).await.is_ok() {
            sent += zeros.len();
        }
        sent
    };
    let sent = tokio::time::timeout(LONG, sending).await.unwrap();
    assert!(sent < MOST, "more than the buffers of the sockets");
}

#[tokio::test]
async fn a_response_that_pauses_for_longer_than_any_limit_continues() {
    let slow = || {
        let late = futures::stream::once(async {
            tokio::time::sleep(MEDIUM + SHORT).await;
            Ok::<_, io::Error>(Bytes::from_static(b"late"))
        });
        ready(Body::from_stream(futures::stream::iter([Ok(Bytes::from_static(b"early"))]).chain(late)))
    };
    let server = serve_with(Router::new().route("/", get(slow)), MEDIUM, SHORT).await;
    let mut socket = connect(&server).await;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let text = read_to_end(socket).await;
    assert!(text.contains("early") && text.contains("late"), "{text}");
}

type Requests = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

/// Opens an HTTP/2 connection that answers pings and grants each response a window of `window` bytes.
async fn connect_http2(server: &TestServer, window: u32) -> (Requests, JoinHandle<hyper::Result<()>>) {
    let socket = TokioIo::new(connect(server).await);
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (requests, connection) = builder.initial_stream_window_size(window).handshake(socket).await.unwrap();
    (requests, tokio::spawn(connection))
}

fn request(method: http::Method, path: &str) -> http::Request<Empty<Bytes>> {
    http::Request::builder().method(method).uri(format!("http://localhost{path}")).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn an_http2_stream_that_is_not_read_is_reset_and_the_others_are_not() {
    for window in [0, 1] {
        let (endless, left) = endless();
        let (go, gone) = oneshot::channel::<()>();
        let gone = Arc::new(Mutex::new(Some(gone)));
        let waits = move || {
            let gone = gone.lock().unwrap().take().unwrap();
            async move { gone.await.unwrap() }
        };
        let server = serve(Router::new().route("/", endless).route("/waits", get(waits))).await;
        let (mut requests, _connection) = connect_http2(&server, window).await;
        let neighbour = tokio::spawn(requests.send_request(request(http::Method::GET, "/waits")));
        let answer = requests.send_request(request(http::Method::GET, "/")).await.unwrap();
        tokio::time::timeout(LONG, left).await.expect("the body is still held").unwrap_err();
        drop(answer);
        go.send(()).unwrap();
        assert_eq!(neighbour.await.unwrap().unwrap().status(), 200, "{window}");
    }
}

/// Sends a request whose body follows after the response, and returns whether the stream was reset instead.
async fn is_reset_when_its_body_comes_late(bytes: usize) -> bool {
    let refuse = Router::new().route("/", post(async || http::StatusCode::UNAUTHORIZED));
    let server = serve_with_header_timeout(refuse, LONG).await;
    let (requests, connection) = h2::client::handshake(connect(&server).await).await.unwrap();
    tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let request = http::Request::post("http://localhost/").body(()).unwrap();
    let (response, mut body) = requests.send_request(request, false).unwrap();
    assert_eq!(response.await.unwrap().status(), http::StatusCode::UNAUTHORIZED);
    body.reserve_capacity(bytes);
    let mut sent = 0;
    while sent < bytes {
        let Some(Ok(window)) = poll_fn(|context| body.poll_capacity(context)).await else { return true };
        let piece = window.min(bytes - sent);
        sent += piece;
        if body.send_data(Bytes::from(vec![b'x'; piece]), sent == bytes).is_err() {
            return true;
        }
    }
    // A reset would have been sent with the response, long before the body.
    tokio::time::timeout(SHORT, poll_fn(|context| body.poll_reset(context)))
        .await
        .is_ok_and(|reset| reset.is_ok())
}

#[tokio::test]
async fn an_http2_request_that_is_refused_before_its_body_is_not_reset() {
    for bytes in [2, 200 * 1024] {
        assert!(!is_reset_when_its_body_comes_late(bytes).await, "{bytes}");
    }
    assert!(is_reset_when_its_body_comes_late(8 * 1024 * 1024).await);
}

#[tokio::test]
async fn an_http2_client_without_further_requests_is_disconnected() {
    let server = serve_with_header_timeout(hello(), MEDIUM).await;
    let (mut requests, connection) = connect_http2(&server, 1 << 16).await;
    assert_eq!(requests.send_request(request(http::Method::GET, "/")).await.unwrap().status(), 200);
    tokio::time::timeout(LONG, connection).await.expect("the connection stays").unwrap().unwrap();
    drop(requests);
}

#[tokio::test]
async fn an_http2_client_that_waits_for_longer_than_any_limit_gets_the_whole_response() {
    const LENGTH: usize = 100_000;
    let slow = async || {
        tokio::time::sleep(MEDIUM + SHORT).await;
        "x".repeat(LENGTH)
    };
    let server = serve_with(Router::new().route("/", get(slow)), MEDIUM, MEDIUM).await;
    let (mut requests, _connection) = connect_http2(&server, 1 << 16).await;
    let answer = requests.send_request(request(http::Method::GET, "/")).await.unwrap();
    assert_eq!(answer.headers()["content-length"], LENGTH.to_string());
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), LENGTH);
}

#[tokio::test]
async fn a_host_that_drains_sends_goaway_after_the_response() {
    let server = serve(hello()).await;
    let (mut sender, connection) = connect_http2(&server, 1 << 16).await;
    server.lifecycle.enter(Phase::Draining);
    assert_eq!(sender.send_request(request(http::Method::GET, "/")).await.unwrap().status(), 200);
    // The sender is still held, so only a GOAWAY ends the connection.
    tokio::time::timeout(LONG, connection).await.expect("no GOAWAY came").unwrap().unwrap();
}

#[tokio::test]
async fn a_request_that_runs_when_the_host_stops_accepting_is_answered() {
    let (begun_sender, begun) = oneshot::channel::<()>();
    let (go, gone) = oneshot::channel::<()>();
    let shared = Arc::new(Mutex::new(Some((begun_sender, gone))));
    let slow = move || {
        let (begun, gone) = shared.lock().unwrap().take().unwrap();
        begun.send(()).unwrap();
        async move {
            gone.await.unwrap();
            "slow"
        }
    };
    let server = serve(Router::new().route("/", get(slow))).await;
    let mut socket = connect(&server).await;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    begun.await.unwrap();
    server.server.stop_accepting();
    go.send(()).unwrap();
    let text = read_to_end(socket).await;
    assert!(text.ends_with("slow"), "{text}");
    assert!(server.server.wait_closed(LONG, &CancellationToken::new(), SHORT).await);
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn clients_that_wait_for_a_slot_when_the_host_stops_accepting_are_answered() {
    let (endless, _left) = endless();
    let server = serve_with(hello().route("/endless", endless), 2 * LONG, 2 * LONG).await;
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut socket = connect(&server).await;
        socket.write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert!(socket.read(&mut [0; 1024]).await.unwrap() > 0);
        busy.push(socket);
    }
    // Both slots are taken: the first of these is accepted and waits for one, the others wait in the backlog.
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut socket = connect(&server).await;
        socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        waiting.push(socket);
    }
    server.server.stop_accepting();
    for socket in waiting {
        let text = read_to_end(socket).await;
        assert!(text.ends_with("hello"), "{text:?}");
    }
}

/// A server with TLS, and the folder of its files.
async fn serve_tls(router: Router, header_timeout: Duration) -> (TestServer, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let options =
        tls::Options { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
    std::fs::write(&options.certificate, pair.cert.pem()).unwrap();
    std::fs::write(&options.key, pair.signing_key.serialize_pem()).unwrap();
    let certificate = ServerCertificate::follow(options, CancellationToken::new()).unwrap();
    let options = ConnectionOptions { header_timeout, write_timeout: 2 * LONG };
    (start(router, options, Some(certificate)).await, folder)
}

#[tokio::test]
async fn a_client_that_does_not_finish_the_tls_handshake_is_disconnected() {
    let (server, _folder) = serve_tls(hello(), SHORT).await;
    // The start of a TLS record that holds a handshake.
    for first_words in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut socket = connect(&server).await;
        socket.write_all(first_words).await.unwrap();
        assert_eq!(read_to_end(socket).await, "", "{first_words:?}");
    }
}

#[tokio::test]
async fn a_client_without_tls_is_told_and_disconnected() {
    let (server, _folder) = serve_tls(hello(), 2 * LONG).await;
    for first_words in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut socket = connect(&server).await;
        socket.write_all(first_words.as_bytes()).await.unwrap();
        let answer = read_to_end(socket).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("speaks HTTPS"), "{answer:?}");
        assert!(!answer.contains("hello"), "{answer:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_evicted_and_a_busy_one_is_not() {
    let (endless, _left) = endless();
    let router = hello().route("/endless", endless);
    let server = serve_with(router, 2 * LONG, 2 * LONG).await;
    let mut busy = connect(&server).await;
    busy.write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut piece = [0; 1024];
    assert!(busy.read(&mut piece).await.unwrap() > 0);
    // Both slots are taken now.
    let idle = connect(&server).await;
    for _ in 0..3 {
        let mut next = connect(&server).await;
        next.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(read_to_end(next).await.ends_with("hello"));
        assert!(busy.read(&mut piece).await.unwrap() > 0);
    }
    assert_eq!(read_to_end(idle).await, "");
}

#[tokio::test]
async fn an_idle_http2_connection_is_evicted() {
    let server = serve(hello()).await;
    let (mut first, first_connection) = connect_http2(&server, 1 << 16).await;
    let (mut second, second_connection) = connect_http2(&server, 1 << 16).await;
    for requests in [&mut first, &mut second] {
        let answer = requests.send_request(request(http::Method::GET, "/")).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    let mut next = connect(&server).await;
    next.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(read_to_end(next).await.ends_with("hello"));
    tokio::time::timeout(LONG, first_connection).await.expect("no GOAWAY came").unwrap().unwrap();
    assert!(!second_connection.is_finished());
}
