//! What metrics say of connections. Each test has a kind of listener of its own, since all share the registry of the process.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed precondition fails the test")]

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use masque_http::tls::{self, ServerCertificate};
use masque_http::{ConnectionHandler, ConnectionOptions, Lifecycle, Listener, ListenerKind, Server};
use masque_telemetry::metrics::http::{
    CERTIFICATE_EXPIRY, CONNECTIONS, CONNECTIONS_ACCEPTED, CONNECTIONS_CLOSED_EARLY,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

const SHORT: Duration = Duration::from_millis(100);
/// A limit that a client keeps also on a busy machine, and that a test can outwait.
const MEDIUM: Duration = Duration::from_secs(2);
/// A limit that only a failing test reaches.
const LONG: Duration = Duration::from_secs(60);

/// Starts a server for two connections.
async fn start(
    kind: ListenerKind,
    header_timeout: Duration,
    certificate: Option<ServerCertificate>,
) -> (Server, SocketAddr) {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = *listener.addresses().unwrap().first().unwrap();
    let server = Server::new();
    let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
    let endless = move || {
        let chunk = chunk.clone();
        ready(Body::from_stream(futures::stream::repeat_with(move || Ok::<_, io::Error>(chunk.clone()))))
    };
    let router = Router::new().route("/", get(async || "hello")).route("/endless", get(endless));
    let options = ConnectionOptions { header_timeout, write_timeout: MEDIUM };
    let handler =
        ConnectionHandler::new(options, kind, certificate, Lifecycle::new(), server.shutdown(), router);
    server.serve(listener, 2, handler);
    (server, address)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect(what);
}

async fn read_to_end(mut socket: TcpStream) {
    // A reset is an error here, and ends the connection too.
    drop(tokio::time::timeout(LONG, socket.read_to_end(&mut Vec::new())).await.expect("it stays open"));
}

#[tokio::test]
async fn connections_are_counted_while_they_are_open_and_by_the_reason_for_which_the_host_ends_them() {
    let closed = |reason: &str| CONNECTIONS_CLOSED_EARLY.value(&["public", reason]);
    let (server, address) = start(ListenerKind::Public, MEDIUM, None).await;
    read_to_end(TcpStream::connect(address).await.unwrap()).await;
    assert_eq!(closed("idle"), 1, "it sent no request");

    let mut reader = TcpStream::connect(address).await.unwrap();
    reader.write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    until("the connection that is not read is open", || CONNECTIONS.value(&["public"]) > 0.0).await;
    until("the connection that is not read is closed", || closed("stalled") == 1).await;
    until("no connection is open", || CONNECTIONS.value(&["public"]) == 0.0).await;

    // A client that leaves by itself is none of these.
    let mut polite = TcpStream::connect(address).await.unwrap();
    polite.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    read_to_end(polite).await;
    until("no connection is open", || CONNECTIONS.value(&["public"]) == 0.0).await;
    assert_eq!(CONNECTIONS_ACCEPTED.value(&["public"]), 3);
    assert_eq!((closed("idle"), closed("stalled"), closed("evicted"), closed("handshake")), (1, 1, 0, 0));
    drop(server);
}

#[tokio::test]
async fn a_connection_that_makes_room_for_another_is_counted_as_evicted() {
    let (_server, address) = start(ListenerKind::Socket, 2 * LONG, None).await;
    let first = TcpStream::connect(address).await.unwrap();
    let _second = TcpStream::connect(address).await.unwrap();
    until("both are open", || CONNECTIONS.value(&["socket"]) == 2.0).await;
    let _third = TcpStream::connect(address).await.unwrap();
    read_to_end(first).await;
    assert_eq!(CONNECTIONS_CLOSED_EARLY.value(&["socket", "evicted"]), 1);
}

#[tokio::test]
async fn a_handshake_that_fails_is_counted_and_the_expiry_of_the_certificate_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2040, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let options =
        tls::Options { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
    std::fs::write(&options.certificate, parameters.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&options.key, key.serialize_pem()).unwrap();
    let certificate = ServerCertificate::follow(options, CancellationToken::new()).unwrap();
    assert_eq!(CERTIFICATE_EXPIRY.value(&[]), 2_208_988_800.0);

    let (_server, address) = start(ListenerKind::Admin, SHORT, Some(certificate)).await;
    for (count, first_words) in [(1, &b""[..]), (2, b"GET / HTTP/1.1\r\n\r\n"), (3, b"\x16\x03\x01no TLS")] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(first_words).await.unwrap();
        read_to_end(socket).await;
        until("the handshake is counted", || {
            CONNECTIONS_CLOSED_EARLY.value(&["admin", "handshake"]) == count
        })
        .await;
    }
}
