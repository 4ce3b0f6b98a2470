//! The pool against real HTTP/2 servers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use wasmtime_wasi_http::{Error, WasiBody};

use super::super::client::{Answer, SendFailure, UpstreamClient};
use super::super::connection::open_http2;
use super::*;

/// Longer than any test takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// An HTTP/2 server that allows some streams on each connection, and answers each request after it got a permit.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: watch::Sender<usize>,
    permits: Arc<Semaphore>,
}

impl Server {
    async fn start(max_streams: u32, permits: usize, answer: Bytes) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: watch::Sender::default(),
            permits: Arc::new(Semaphore::new(permits)),
        };
        let (connections, requests, permits) =
            (server.connections.clone(), server.requests.clone(), server.permits.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, permits, answer) = (requests.clone(), permits.clone(), answer.clone());
                let service = service_fn(move |_: Request<Incoming>| {
                    requests.send_modify(|requests| *requests += 1);
                    let (permits, answer) = (permits.clone(), answer.clone());
                    async move {
                        permits.acquire().await.unwrap().forget();
                        Ok::<_, Infallible>(Response::new(Full::new(answer)))
                    }
                });
                let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                builder.max_concurrent_streams(max_streams);
                tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
            }
        });
        server
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until so many requests have arrived.
    async fn arrived(&self, requests: usize) {
        let mut seen = self.requests.subscribe();
        let arrived = tokio::time::timeout(LONG, seen.wait_for(|seen| *seen >= requests));
        let seen = arrived.await.map(|seen| *seen.unwrap());
        assert!(seen.is_ok(), "{} of {requests} requests arrived", *self.requests.borrow());
    }
}

/// Speaks HTTP/2 without TLS, which a server would have to be asked for.
struct PlainConnector {
    address: SocketAddr,
    policy: PoolPolicy,
}

impl Connector for PlainConnector {
    fn open(&self, _: &Origin) -> BoxFuture<'static, Result<OpenedConnection, OpenError>> {
        let (address, policy) = (self.address, self.policy);
        Box::pin(async move {
            let stream = TcpStream::connect(address).await.map_err(OpenError::new)?;
            open_http2(TokioIo::new(stream), &policy).await
        })
    }
}

fn policy(http2_connections: usize) -> PoolPolicy {
    PoolPolicy { http2_connections, ..PoolPolicy::DEFAULT }
}

fn client(address: SocketAddr, policy: PoolPolicy) -> UpstreamClient {
    UpstreamClient::new(Arc::new(PlainConnector { address, policy }), policy)
}

async fn send(
    client: &UpstreamClient,
    connect: Duration,
    first_byte: Duration,
) -> Result<Answer, SendFailure> {
    let body: WasiBody = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::get("https://upstream.test/").body(body).unwrap();
    client.send(request, &"https://upstream.test".parse().unwrap(), connect, first_byte).await
}

/// Sends so many requests at once, in tasks.
fn send_all(
    client: &UpstreamClient,
    requests: usize,
) -> Vec<tokio::task::JoinHandle<Result<Answer, SendFailure>>> {
    let sent = (0..requests).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { send(&client, LONG, LONG).await })
    });
    sent.collect()
}

#[tokio::test]
async fn requests_beyond_the_streams_of_a_server_are_sent_on_further_connections() {
    let server = Server::start(2, 0, Bytes::new()).await;
    let client = client(server.address, policy(16));
    let sent = send_all(&client, 7);
    server.arrived(7).await;
    assert_eq!(server.connections(), 4);
    server.permits.add_permits(7);
    for answer in join_all(sent).await {
        assert_eq!(answer.unwrap().unwrap().response.status(), 200);
    }
}

#[tokio::test]
async fn the_101st_request_does_not_wait_for_the_first_hundred() {
    let server = Server::start(250, 0, Bytes::new()).await;
    let client = client(server.address, PoolPolicy::DEFAULT);
    let sent = send_all(&client, 101);
    server.arrived(101).await;
    assert_eq!(server.connections(), 2);
    server.permits.add_permits(101);
    assert!(join_all(sent).await.into_iter().all(|answer| answer.unwrap().is_ok()));
}

#[tokio::test]
async fn a_request_at_the_limit_waits_for_a_stream_and_names_the_limit_where_none_is_freed() {
    let server = Server::start(1, 0, Bytes::new()).await;
    let client = client(server.address, policy(1));
    let first = send_all(&client, 1);
    server.arrived(1).await;
    let failure = send(&client, Duration::from_millis(100), LONG).await.err().unwrap();
    assert!(matches!(failure.code, Error::ConnectionLimitReached), "{failure:?}");
    assert!(failure.limit.unwrap().contains("https://upstream.test"));

    let second = send_all(&client, 1);
    server.permits.add_permits(2);
    // The stream is free once the answer is dropped.
    drop(join_all(first).await);
    assert!(join_all(second).await.into_iter().all(|answer| answer.unwrap().is_ok()));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn the_number_of_requests_that_wait_is_bounded() {
    let server = Server::start(1, 0, Bytes::new()).await;
    let client = client(server.address, PoolPolicy { waiting: 2, ..policy(1) });
    let first = send_all(&client, 1);
    server.arrived(1).await;
    // One of three finds two before it.
    let mut waiting: futures::stream::FuturesUnordered<_> = send_all(&client, 3).into_iter().collect();
    let refused = futures::StreamExt::next(&mut waiting).await.unwrap().unwrap().err().unwrap();
    assert!(matches!(refused.code, Error::ConnectionLimitReached), "{refused:?}");
    server.permits.add_permits(3);
    drop(join_all(first).await);
    while let Some(answer) = futures::StreamExt::next(&mut waiting).await {
        assert!(answer.unwrap().is_ok());
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_stop_no_other_one() {
    const ANSWER_BYTES: usize = 1 << 20;
    let server = Server::start(250, 60, Bytes::from(vec![b'x'; ANSWER_BYTES])).await;
    let client = client(server.address, policy(1));
    let unread = join_all(send_all(&client, 59)).await;
    let answer = send(&client, LONG, LONG).await.unwrap();
    let body = tokio::time::timeout(LONG, answer.response.into_body().collect()).await;
    assert_eq!(body.expect("the body stopped").unwrap().to_bytes().len(), ANSWER_BYTES);
    assert_eq!((unread.len(), server.connections()), (59, 1));
}

#[tokio::test]
async fn where_no_connection_can_be_opened_every_request_fails_with_the_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = client(address, policy(16));
    for answer in join_all(send_all(&client, 5)).await {
        let failure = answer.unwrap().err().unwrap();
        assert!(matches!(failure.code, Error::ConnectionRefused), "{failure:?}");
    }
}

#[tokio::test]
async fn a_request_that_gives_up_frees_its_stream() {
    let server = Server::start(1, 0, Bytes::new()).await;
    let client = client(server.address, policy(1));
    let abandoned = send_all(&client, 1);
    server.arrived(1).await;
    abandoned.iter().for_each(|task| task.abort());
    let next = send_all(&client, 1);
    server.arrived(2).await;
    server.permits.add_permits(2);
    assert!(join_all(next).await.into_iter().all(|answer| answer.unwrap().is_ok()));
    assert_eq!(server.connections(), 1);
}

/// Connects to a peer that sends its settings and then nothing, not even answers to pings.
struct SilentConnector;

impl Connector for SilentConnector {
    fn open(&self, _: &Origin) -> BoxFuture<'static, Result<OpenedConnection, OpenError>> {
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            tokio::spawn(fall_silent(theirs));
            open_http2(TokioIo::new(ours), &PoolPolicy::DEFAULT).await
        })
    }
}

async fn fall_silent(mut stream: DuplexStream) {
    const EMPTY_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(&EMPTY_SETTINGS).await.unwrap();
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_answers_no_pings_fails_its_requests() {
    let client = UpstreamClient::new(Arc::new(SilentConnector), PoolPolicy::DEFAULT);
    let failure = send(&client, LONG, 10 * LONG).await.err().unwrap();
    assert!(matches!(failure.code, Error::ConnectionReadTimeout), "{failure:?}");
}
