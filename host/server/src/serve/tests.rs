//! Connections over real sockets, with limits short enough to be waited for.

use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::accept::{Listening, bind};
use super::connection::{Front, Protocols};
use super::tls::Certificates;
use crate::api::arrival::Via;
use crate::api::phase::{Life, Phase};
use crate::config::{self, Environment, Flags};

const SHORT: Duration = Duration::from_millis(100);
/// What no test takes unless it fails.
const LONG: Duration = Duration::from_secs(10);

struct Served {
    address: std::net::SocketAddr,
    listening: Listening,
    life: Life,
}

async fn serve(router: Router) -> Served {
    serve_within(router, SHORT).await
}

/// Lets clients have `head` for each request's.
async fn serve_within(router: Router, head: Duration) -> Served {
    serve_over(router, head, None).await
}

async fn serve_over(router: Router, head: Duration, certificates: Option<Certificates>) -> Served {
    let mut server =
        config::load(&Flags::default(), &Environment::default(), std::path::Path::new("/nowhere"))
            .unwrap()
            .config
            .server;
    (server.header_timeout, server.write_timeout, server.max_connections) = (head, SHORT, 2);
    let listener = bind(([127, 0, 0, 1], 0).into(), "--listen").await.unwrap();
    let address = listener.address().unwrap().unwrap();
    let life = Life::new();
    let listening = Listening::new();
    let ends = listening.ends.clone();
    let protocols =
        Protocols::new(&server, Front::new(router), life.clone(), ends, Via::Public, certificates);
    listening.accept(listener, server.max_connections, protocols);
    Served { address, listening, life }
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

async fn connect(served: &Served) -> TcpStream {
    TcpStream::connect(served.address).await.unwrap()
}

/// What comes until the other side closes.
async fn rest(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    let read =
        tokio::time::timeout(LONG, socket.read_to_end(&mut text)).await.expect("the socket stays open");
    // A reset is an end too.
    drop(read);
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let served = serve(hello()).await;
    for first_words in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost: lo"] {
        let mut socket = connect(&served).await;
        socket.write_all(first_words.as_bytes()).await.unwrap();
        assert!(!rest(socket).await.contains("200"), "{first_words:?}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place() {
    let served = serve(hello()).await;
    for _ in 0..5 {
        let mut socket = connect(&served).await;
        socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(rest(socket).await.ends_with("hello"));
    }
}

/// A route whose answer never ends, and what says when one such answer is no longer held.
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
async fn a_client_that_does_not_read_is_let_go() {
    let (endless, left) = endless();
    let served = serve(Router::new().route("/", endless)).await;
    let mut socket = connect(&served).await;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    // The sender is dropped with the body.
    tokio::time::timeout(LONG, left).await.expect("the body is still held").unwrap_err();
}

#[tokio::test]
async fn a_stream_that_is_silent_for_longer_than_any_limit_goes_on() {
    let slow = || {
        let late = futures::stream::once(async {
            tokio::time::sleep(3 * SHORT).await;
            Ok::<_, io::Error>(Bytes::from_static(b"late"))
        });
        ready(Body::from_stream(futures::stream::iter([Ok(Bytes::from_static(b"early"))]).chain(late)))
    };
    let served = serve(Router::new().route("/", get(slow))).await;
    let mut socket = connect(&served).await;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let text = rest(socket).await;
    assert!(text.contains("early") && text.contains("late"), "{text}");
}

type Requests = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

/// Speaks HTTP/2, answers pings, and lets each answer have `window` bytes that it has not read.
async fn speak(served: &Served, window: u32) -> (Requests, JoinHandle<hyper::Result<()>>) {
    let socket = TokioIo::new(connect(served).await);
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (requests, connection) = builder.initial_stream_window_size(window).handshake(socket).await.unwrap();
    (requests, tokio::spawn(connection))
}

fn ask(method: http::Method, path: &str) -> http::Request<Empty<Bytes>> {
    http::Request::builder().method(method).uri(format!("http://localhost{path}")).body(Empty::new()).unwrap()
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_reset_and_its_neighbours_are_not() {
    for window in [0, 1] {
        let (endless, left) = endless();
        let (go, gone) = oneshot::channel::<()>();
        let gone = Arc::new(Mutex::new(Some(gone)));
        let waits = move || {
            let gone = gone.lock().unwrap().take().unwrap();
            async move { gone.await.unwrap() }
        };
        let served = serve(Router::new().route("/", endless).route("/waits", get(waits))).await;
        let (mut requests, _connection) = speak(&served, window).await;
        let neighbour = tokio::spawn(requests.send_request(ask(http::Method::GET, "/waits")));
        let answer = requests.send_request(ask(http::Method::GET, "/")).await.unwrap();
        tokio::time::timeout(LONG, left).await.expect("the body is still held").unwrap_err();
        drop(answer);
        go.send(()).unwrap();
        assert_eq!(neighbour.await.unwrap().unwrap().status(), 200, "{window}");
    }
}

#[tokio::test]
async fn an_http_2_client_that_asks_for_nothing_more_is_let_go() {
    let served = serve(hello()).await;
    let (mut requests, connection) = speak(&served, 1 << 16).await;
    assert_eq!(requests.send_request(ask(http::Method::GET, "/")).await.unwrap().status(), 200);
    tokio::time::timeout(LONG, connection).await.expect("the connection stays").unwrap().unwrap();
    drop(requests);
}

#[tokio::test]
async fn an_http_2_client_that_waits_for_longer_than_any_limit_is_answered_whole() {
    const LENGTH: usize = 100_000;
    let slow = async || {
        tokio::time::sleep(3 * SHORT).await;
        "x".repeat(LENGTH)
    };
    let served = serve(Router::new().route("/", get(slow))).await;
    let (mut requests, _connection) = speak(&served, 1 << 16).await;
    let answer = requests.send_request(ask(http::Method::GET, "/")).await.unwrap();
    assert_eq!(answer.headers()["content-length"], LENGTH.to_string());
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), LENGTH);
}

#[tokio::test]
async fn a_host_that_drains_tells_http_2_to_go_elsewhere_after_the_answer() {
    let served = serve_within(hello(), 2 * LONG).await;
    let (mut sender, connection) = speak(&served, 1 << 16).await;
    served.life.enter(Phase::Draining);
    assert_eq!(sender.send_request(ask(http::Method::GET, "/")).await.unwrap().status(), 200);
    // The sender is still held: only a GOAWAY ends the connection.
    tokio::time::timeout(LONG, connection).await.expect("no GOAWAY came").unwrap().unwrap();
}

#[tokio::test]
async fn what_is_under_way_when_the_host_stops_accepting_is_answered() {
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
    let served = serve(Router::new().route("/", get(slow))).await;
    let mut socket = connect(&served).await;
    socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    begun.await.unwrap();
    served.listening.close();
    go.send(()).unwrap();
    let text = rest(socket).await;
    assert!(text.ends_with("slow"), "{text}");
    assert!(served.listening.finished(LONG, &CancellationToken::new()).await);
    assert!(TcpStream::connect(served.address).await.is_err());
}

/// A host that speaks TLS, and the folder of its files.
async fn serve_encrypted(router: Router) -> (Served, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("tls.crt"), pair.cert.pem()).unwrap();
    std::fs::write(folder.path().join("tls.key"), pair.signing_key.serialize_pem()).unwrap();
    std::fs::write(
        folder.path().join("masque.toml"),
        "[tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\n",
    )
    .unwrap();
    let config = config::load(&Flags::default(), &Environment::default(), folder.path()).unwrap().config;
    let certificates = Certificates::follow(&config.tls.unwrap(), CancellationToken::new()).unwrap();
    (serve_over(router, SHORT, Some(certificates)).await, folder)
}

#[tokio::test]
async fn a_client_that_does_not_finish_the_handshake_is_let_go() {
    let (served, _folder) = serve_encrypted(hello()).await;
    // The beginning of a record that holds a handshake, by TLS 1.2 and later.
    for first_words in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut socket = connect(&served).await;
        socket.write_all(first_words).await.unwrap();
        assert_eq!(rest(socket).await, "", "{first_words:?}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_encrypt_is_let_go_unanswered() {
    let (served, _folder) = serve_encrypted(hello()).await;
    for first_words in ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut socket = connect(&served).await;
        socket.write_all(first_words.as_bytes()).await.unwrap();
        let answer = rest(socket).await;
        assert!(!answer.contains("HTTP") && !answer.contains("hello"), "{answer:?}");
    }
}

#[tokio::test]
async fn an_idle_connection_makes_room_and_one_with_a_request_does_not() {
    let (endless, _left) = endless();
    let router = hello().route("/endless", endless);
    let served = serve_within(router, 2 * LONG).await;
    let mut busy = connect(&served).await;
    busy.write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut piece = [0; 1024];
    assert!(busy.read(&mut piece).await.unwrap() > 0);
    // Both places are taken now.
    let idle = connect(&served).await;
    for _ in 0..3 {
        let mut next = connect(&served).await;
        next.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        assert!(rest(next).await.ends_with("hello"));
        assert!(busy.read(&mut piece).await.unwrap() > 0);
    }
    assert_eq!(rest(idle).await, "");
}

#[tokio::test]
async fn an_idle_connection_of_http_2_makes_room() {
    let served = serve_within(hello(), 2 * LONG).await;
    let (mut first, first_connection) = speak(&served, 1 << 16).await;
    let (mut second, second_connection) = speak(&served, 1 << 16).await;
    for requests in [&mut first, &mut second] {
        let answer = requests.send_request(ask(http::Method::GET, "/")).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    let mut next = connect(&served).await;
    next.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(rest(next).await.ends_with("hello"));
    tokio::time::timeout(LONG, first_connection).await.expect("no GOAWAY came").unwrap().unwrap();
    assert!(!second_connection.is_finished());
}
