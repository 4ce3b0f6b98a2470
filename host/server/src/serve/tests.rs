//! Connections over real sockets, with limits short enough to be waited for.

use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures::StreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::accept::Listening;
use super::connection::Front;
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
    let mut server =
        config::load(&Flags::default(), &Environment::default(), std::path::Path::new("/nowhere"))
            .unwrap()
            .config
            .server;
    (server.header_timeout, server.write_timeout, server.max_connections) = (SHORT, SHORT, 2);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let life = Life::new();
    let listening =
        Listening::start(listener, server.max_connections, &server, Front::new(router), life.clone());
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

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
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
    let served = serve(Router::new().route("/", get(endless))).await;
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

#[tokio::test]
async fn a_host_that_drains_tells_http_2_to_go_elsewhere_after_the_answer() {
    let served = serve(hello()).await;
    let socket = TokioIo::new(connect(&served).await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), socket).await.unwrap();
    let connection = tokio::spawn(connection);
    served.life.enter(Phase::Draining);
    let request =
        http::Request::get("http://localhost/").body(http_body_util::Empty::<Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
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
