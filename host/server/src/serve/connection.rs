//! One connection: which protocol it speaks, what a client may cost, and how it ends.
//!
//! HTTP/1.1 and HTTP/2 share a port; HTTP/2 is agreed on within TLS, or spoken with prior knowledge. A client that sends
//! nothing, does not finish the handshake of TLS, sends its head too slowly, or does not read what it is sent is let go,
//! and so is one that asks for nothing more; one that waits for a slow model is not.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::room::{Place, UnderWay};
use super::streams::{Streams, watched};
use super::tls::Certificates;
use crate::api::arrival::{Arrival, Via};
use crate::api::phase::{Life, Phase};
use crate::config;

/// Heads of requests, for either protocol: four times what browsers and proxies produce. Of HTTP/1.1, hyper takes 100
/// headers at most.
const HEAD_BYTES: usize = 64 * 1024;
/// Streams of one HTTP/2 connection, as many as its specification recommends at least (RFC 9113, section 6.5.2).
const STREAMS: u32 = 100;
/// What is kept for one stream of HTTP/2 that its client does not read.
const SEND_BUFFER: usize = 64 * 1024;
/// How often a silent HTTP/2 connection is asked whether it still lives, and how long it has to answer.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(20);
/// How long a new connection may take to send its first request once the host has stopped accepting.
const LAST_REQUEST: Duration = Duration::from_millis(250);
/// How long a connection of HTTP/2 that makes room may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// What answers: first the router of a host that loads, then, once, the real one.
#[derive(Clone)]
pub(super) struct Front(Arc<Routers>);

struct Routers {
    loading: Router,
    ready: OnceLock<Router>,
}

impl Front {
    pub(super) fn new(loading: Router) -> Self {
        Self(Arc::new(Routers { loading, ready: OnceLock::new() }))
    }

    pub(super) fn open(&self, ready: Router) {
        // A second router would be a mistake of the caller's, and the first stays.
        let _ = self.0.ready.set(ready);
    }

    async fn answer(self, request: Request<Incoming>, under_way: UnderWay) -> Result<Response, Infallible> {
        let router = self.0.ready.get().unwrap_or(&self.0.loading).clone();
        let response = router.oneshot(request.map(Body::new)).await?;
        Ok(watched(under_way.until_the_end_of(response)))
    }
}

/// How connections are ended from outside.
#[derive(Clone)]
pub(super) struct Ends {
    /// After what they are doing.
    pub(super) finish: CancellationToken,
    /// At once.
    pub(super) abort: CancellationToken,
}

/// What was accepted.
pub(super) enum Socket {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// How connections are spoken to.
pub(super) struct Protocols {
    front: Front,
    life: Life,
    ends: Ends,
    via: Via,
    /// For those over TCP.
    tls: Option<Certificates>,
    /// How long a handshake or a head may take, and how long a connection may stay without a request.
    head: Duration,
    /// How long a client may leave unread what it is sent.
    stall: Duration,
}

impl Protocols {
    pub(super) fn new(
        server: &config::Server,
        front: Front,
        life: Life,
        ends: Ends,
        via: Via,
        tls: Option<Certificates>,
    ) -> Self {
        Self { front, life, ends, via, tls, head: server.header_timeout, stall: server.write_timeout }
    }

    /// Takes one client up, and speaks with it until either side has enough.
    pub(super) async fn serve(&self, socket: Socket, place: Place) {
        let (socket, arrival): (Box<dyn Transport>, _) = match socket {
            Socket::Unix(socket) => {
                (self.patient(socket), Arrival { via: self.via, peer: None, encrypted: false })
            }
            Socket::Tcp(socket, peer) => {
                let encrypted = self.tls.is_some();
                let arrival = Arrival { via: self.via, peer: Some(peer), encrypted };
                match &self.tls {
                    None => (self.patient(socket), arrival),
                    Some(certificates) => match self.encrypt(certificates, socket, &place).await {
                        Some(socket) => (socket, arrival),
                        None => return,
                    },
                }
            }
        };
        self.drive(socket, arrival, &place).await;
    }

    /// The socket, with a limit that counts only while a write waits for the client to read.
    fn patient(&self, socket: impl AsyncRead + AsyncWrite + Send + 'static) -> Box<dyn Transport> {
        let mut socket = TimeoutStream::new(socket);
        socket.set_write_timeout(Some(self.stall));
        Box::new(Box::pin(socket))
    }

    /// The socket after the handshake, if that comes about.
    async fn encrypt(
        &self,
        certificates: &Certificates,
        socket: TcpStream,
        place: &Place,
    ) -> Option<Box<dyn Transport>> {
        let handshake = certificates.acceptor().accept(self.patient(socket));
        let closing = async {
            self.ends.finish.cancelled().await;
            tokio::time::sleep(LAST_REQUEST).await;
        };
        tokio::select! {
            shaken = handshake => match shaken {
                Ok(socket) => Some(Box::new(socket)),
                Err(error) => {
                    tracing::debug!(%error, "a client did not come to terms over TLS");
                    None
                }
            },
            () = tokio::time::sleep(self.head) => {
                tracing::debug!("a client did not finish the handshake of TLS");
                None
            }
            () = place.wanted() => None,
            () = closing => None,
            () = self.ends.abort.cancelled() => None,
        }
    }

    fn builder(&self, streams: Streams) -> auto::Builder<Streams> {
        let mut builder = auto::Builder::new(streams);
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.head).max_buf_size(HEAD_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD_BYTES as u32)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG);
        builder
    }

    async fn drive(&self, socket: Box<dyn Transport>, arrival: Arrival, place: &Place) {
        let seen = Seen(watch::Sender::new(None));
        let service = service_fn(|mut request: Request<Incoming>| {
            seen.note(request.version());
            request.extensions_mut().insert(arrival);
            self.front.clone().answer(request, place.request())
        });
        let streams = Streams::new(self.stall);
        let builder = self.builder(streams.clone());
        let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));

        let mut too_slow = pin!(seen.nothing_for(self.head));
        let mut unused = pin!(self.unused(&seen, &streams));
        let mut wanted = pin!(place.wanted());
        let mut goaway = pin!(self.goaway(&seen));
        let mut finish = pin!(self.finish(&seen));
        let (mut waiting, mut leaving, mut finishing) = (true, false, false);
        let result = loop {
            tokio::select! {
                result = connection.as_mut() => break result,
                nothing = too_slow.as_mut(), if waiting => {
                    if nothing {
                        tracing::debug!("a client sent no request");
                        return;
                    }
                    waiting = false;
                }
                () = unused.as_mut() => {
                    connection.as_mut().graceful_shutdown();
                    // A request may have been on its way, and the last piece of an answer may still be.
                    tokio::select! {
                        result = connection.as_mut() => break result,
                        () = streams.unused_for(self.stall) => {
                            tracing::debug!("a client asked for nothing more and stayed");
                            return;
                        }
                        () = self.ends.abort.cancelled() => return,
                    }
                }
                () = wanted.as_mut() => {
                    let Some(version) = seen.version() else {
                        tracing::debug!("a client without a request made room for another");
                        return;
                    };
                    connection.as_mut().graceful_shutdown();
                    // One of HTTP/1.1 ends once its client has read the last answer, for which there is a limit.
                    tokio::select! {
                        result = connection.as_mut() => break result,
                        () = streams.unused_for(GOODBYE), if version == Version::HTTP_2 => return,
                        () = self.ends.abort.cancelled() => return,
                    }
                }
                () = goaway.as_mut(), if !leaving && !finishing => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = finish.as_mut(), if !finishing => {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.ends.abort.cancelled() => return,
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a connection ended with an error");
        }
    }

    /// Resolves when a connection of HTTP/2 has had no stream for as long as one of HTTP/1.1 may take for the head of
    /// its next request. hyper has no such limit for HTTP/2, and a client that answers pings would stay for ever.
    async fn unused(&self, seen: &Seen, streams: &Streams) {
        seen.request(|version| version == Version::HTTP_2).await;
        streams.unused_for(self.head).await;
    }

    /// Resolves when a connection of HTTP/2 should be told to go elsewhere. One that has not sent a request is left
    /// alone: its client could not tell whether its first one was served. Of HTTP/1.1, the answer's own `Connection:
    /// close` says the same without cutting off a request that is on its way.
    async fn goaway(&self, seen: &Seen) {
        self.life.reached(Phase::Draining).await;
        seen.request(|version| version == Version::HTTP_2).await;
    }

    /// Resolves when a connection should end. One that was accepted a moment ago may have a request on its way.
    async fn finish(&self, seen: &Seen) {
        self.ends.finish.cancelled().await;
        // Either way it ends then.
        let _ = tokio::time::timeout(LAST_REQUEST, seen.request(|_| true)).await;
    }
}

/// The protocol of a connection's first request, once there was one.
struct Seen(watch::Sender<Option<Version>>);

impl Seen {
    fn note(&self, version: Version) {
        self.0.send_if_modified(|seen| seen.replace(version).is_none());
    }

    fn version(&self) -> Option<Version> {
        *self.0.borrow()
    }

    async fn request(&self, wanted: impl Fn(Version) -> bool) {
        let mut changes = self.0.subscribe();
        // The sender lives in `self`, so the wait can't fail.
        let _ = changes.wait_for(|seen| seen.is_some_and(&wanted)).await;
    }

    /// Whether no request came within `patience`. hyper's own limit on heads begins when the protocol is known, which
    /// takes a client that says something.
    async fn nothing_for(&self, patience: Duration) -> bool {
        tokio::time::timeout(patience, self.request(|_| true)).await.is_err()
    }
}
