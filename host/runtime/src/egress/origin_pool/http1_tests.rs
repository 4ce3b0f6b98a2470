//! The pool against HTTP/1.1 servers.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Semaphore;
use wasmtime_wasi_http::WasiBody;

use super::super::body::{GuardedBody, OccupiedRequest};
use super::super::client::{Answer, UpstreamClient};
use super::super::connection::open_http1;
use super::super::header_limit::HeaderLimit;
use super::super::redact::EchoRedactor;
use super::*;
use crate::diagnostics::CallDiagnostics;

/// Longer than any test takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);
const WHOLE: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n";
const BEGUN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";

/// Opens connections to servers that answer each request in the same way.
struct PipeConnector {
    answer: &'static str,
    connections: Arc<AtomicUsize>,
}

impl Connector for PipeConnector {
    fn open(&self, _: &Origin) -> BoxFuture<'static, Result<OpenedConnection, OpenError>> {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let (io, server) = tokio::io::duplex(64 << 10);
        tokio::spawn(serve(server, self.answer));
        Box::pin(open_http1(TokioIo::new(io)))
    }
}

async fn serve(mut server: DuplexStream, answer: &'static str) {
    let mut head = Vec::new();
    while let Ok(byte) = server.read_u8().await {
        head.push(byte);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            server.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

/// A client with one connection at a time, and how many it has opened.
fn client(answer: &'static str) -> (UpstreamClient, Arc<AtomicUsize>) {
    let connections = Arc::<AtomicUsize>::default();
    let policy = PoolPolicy { http1_connections: 1, ..PoolPolicy::DEFAULT };
    let connector = PipeConnector { answer, connections: connections.clone() };
    (UpstreamClient::new(Arc::new(connector), policy), connections)
}

/// The body of an answer, as a guest gets it.
async fn body(client: &UpstreamClient) -> GuardedBody {
    let body: WasiBody = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::get("http://upstream.test/").body(body).unwrap();
    let sent = client.send(request, &"http://upstream.test".parse().unwrap(), LONG, LONG).await;
    let Answer { response, lease } = sent.unwrap();
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let limit = HeaderLimit { bytes: 1000, diagnostics: CallDiagnostics::default() };
    let occupied = OccupiedRequest { _permit: permit, _lease: lease };
    GuardedBody::new(response.into_body(), EchoRedactor::default(), limit, LONG, occupied)
}

#[tokio::test]
async fn a_connection_serves_the_next_request_once_its_answer_was_read() {
    let (client, connections) = client(WHOLE);
    for _ in 0..3 {
        let mut body = body(&client).await;
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            read.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        assert_eq!(read, b"onetwo");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_rest_of_a_dropped_answer_is_read_and_its_connection_serves_the_next_request() {
    let (client, connections) = client(WHOLE);
    for _ in 0..3 {
        drop(body(&client).await);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_connection_of_a_dropped_answer_that_does_not_end_is_closed_and_replaced() {
    let (client, connections) = client(BEGUN);
    for expected in 1..=3 {
        let mut body = body(&client).await;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        assert_eq!(connections.load(Ordering::SeqCst), expected);
    }
}
