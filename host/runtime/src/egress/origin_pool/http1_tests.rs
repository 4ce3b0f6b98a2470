//! The pool against HTTP/1.1 servers.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use masque_read_bound::{BoundedRead, ReadProgress};
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

const ONE_CONNECTION: PoolPolicy = PoolPolicy { http1_connections: 1, ..PoolPolicy::DEFAULT };

/// Opens connections to servers that answer each request in the same way.
struct PipeConnector {
    answer: &'static str,
    /// What a server sends after its answer, again and again.
    flood: &'static str,
    connections: Arc<AtomicUsize>,
}

impl Connector for PipeConnector {
    fn open(&self, _: &Origin) -> BoxFuture<'static, Result<OpenedConnection, OpenError>> {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let (io, server) = tokio::io::duplex(64 << 10);
        tokio::spawn(serve(server, self.answer, self.flood));
        let progress = ReadProgress::default();
        let io = BoundedRead::new(io, progress.clone());
        Box::pin(open_http1(TokioIo::new(io), progress))
    }
}

async fn serve(mut server: DuplexStream, answer: &'static str, flood: &'static str) {
    let mut head = Vec::new();
    while let Ok(byte) = server.read_u8().await {
        head.push(byte);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            server.write_all(answer.as_bytes()).await.unwrap();
            while !flood.is_empty() && server.write_all(flood.as_bytes()).await.is_ok() {}
        }
    }
}

/// Answers a request whose head has arrived, and reads no more.
async fn serve_without_reading(mut server: DuplexStream) {
    let mut head = vec![0; 64];
    let _some = server.read(&mut head).await.unwrap();
    server.write_all(WHOLE.as_bytes()).await.unwrap();
    std::future::pending::<()>().await;
}

/// A client with one connection at a time, and how many it has opened.
fn client(answer: &'static str) -> (UpstreamClient, Arc<AtomicUsize>) {
    client_of_flood(answer, "")
}

/// The same for servers that send `flood` without end after each answer.
fn client_of_flood(answer: &'static str, flood: &'static str) -> (UpstreamClient, Arc<AtomicUsize>) {
    let connections = Arc::<AtomicUsize>::default();
    let connector = PipeConnector { answer, flood, connections: connections.clone() };
    (UpstreamClient::new(Arc::new(connector), ONE_CONNECTION), connections)
}

/// The body of an answer, as a guest gets it.
async fn body(client: &UpstreamClient) -> GuardedBody {
    guarded(send(client, Bytes::new()).await.unwrap())
}

/// The answer, unless it fails before its body.
async fn send(client: &UpstreamClient, body: Bytes) -> Option<Answer> {
    let body: WasiBody = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    let request = Request::post("http://upstream.test/").body(body).unwrap();
    client.send(request, &"http://upstream.test".parse().unwrap(), LONG, LONG).await.ok()
}

fn guarded(answer: Answer) -> GuardedBody {
    let Answer { response, lease } = answer;
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

#[tokio::test]
async fn an_answer_that_goes_on_without_content_fails_within_a_bound() {
    // The length of a chunk, trailers, and heads before that of the answer.
    for flood in ["0", "0\r\n", "HTTP/1.1 102 Processing\r\n\r\n"] {
        let answer = if flood.starts_with("HTTP") { flood } else { BEGUN };
        let (client, connections) = client_of_flood(answer, flood);
        for expected in 1..=2 {
            let sent = send(&client, Bytes::new()).await;
            assert_eq!(connections.load(Ordering::SeqCst), expected, "{flood:?}");
            if flood.starts_with("HTTP") {
                assert!(sent.is_none());
                continue;
            }
            assert!(guarded(sent.unwrap()).collect().await.is_err(), "{flood:?}");
        }
    }
}

/// Opens connections to servers that answer a request and never read its body.
struct DeafConnector(Arc<AtomicUsize>);

impl Connector for DeafConnector {
    fn open(&self, _: &Origin) -> BoxFuture<'static, Result<OpenedConnection, OpenError>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let (io, server) = tokio::io::duplex(64 << 10);
        tokio::spawn(serve_without_reading(server));
        Box::pin(open_http1(TokioIo::new(io), ReadProgress::default()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_server_reads_no_further_is_closed_and_replaced() {
    let connections = Arc::<AtomicUsize>::default();
    let client = UpstreamClient::new(Arc::new(DeafConnector(connections.clone())), ONE_CONNECTION);
    for expected in 1..=3 {
        let answer = send(&client, vec![0; 1 << 20].into()).await.unwrap();
        assert_eq!(guarded(answer).collect().await.unwrap().to_bytes(), "onetwo");
        assert_eq!(connections.load(Ordering::SeqCst), expected);
    }
}
