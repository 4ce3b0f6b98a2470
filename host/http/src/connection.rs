//! One connection: TLS, HTTP/1.1 or HTTP/2, its time limits, and how it ends.
//!
//! HTTP/1.1 and HTTP/2 share a port: HTTP/2 is negotiated in the TLS handshake (ALPN), or spoken with prior knowledge.
//!
//! Threat: a client holds a connection without using it. Policy: a connection is closed if its client sends nothing, does
//! not finish the TLS handshake, sends a request head too slowly, does not read the response, or sends no further
//! request. A client that waits for a slow model is not affected by any of these limits. What a client sends without a request
//! in it is bounded, too ([`masque_read_bound`]).

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use masque_read_bound::{BoundedRead, ReadProgress};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;
use tower::{Service, ServiceExt};

use crate::connection_info::{ConnectionInfo, ListenerKind};
use crate::connection_limiter::{ActiveRequest, ConnectionSlot};
use crate::connection_metrics::{EarlyClose, OpenConnection};
use crate::delivered_body::DeliveredBody;
use crate::first_request::FirstRequest;
use crate::lifecycle::{Lifecycle, Phase};
use crate::listener::AcceptedSocket;
use crate::plain_http;
use crate::shutdown::Shutdown;
use crate::streams::{StreamExecutor, record_unread_data};
use crate::tls::ServerCertificate;
use crate::unread_body::UnreadBody;

/// The limit on a request's head, for both protocols: four times what browsers and proxies produce. hyper also limits
/// HTTP/1.1 to 100 headers.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The limit on open streams of one HTTP/2 connection. RFC 9113, section 6.5.2 recommends no fewer.
const MAX_STREAMS: u32 = 100;
/// The limit on data that is buffered for one HTTP/2 stream whose client does not read.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// How often a silent HTTP/2 connection is pinged, and how long its client has to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection without a request may take to send its first one after the host has stopped accepting.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_millis(250);
/// How long an evicted HTTP/2 connection may take to close after it was sent GOAWAY.
const GOAWAY_TIMEOUT: Duration = Duration::from_secs(1);

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionOptions {
    /// How long a TLS handshake or a request head may take, and how long a connection may be without a request.
    pub header_timeout: Duration,
    /// How long a client may leave data unread that it is sent.
    pub write_timeout: Duration,
}

/// What serves the connections of one listener.
pub struct ConnectionHandler<S> {
    options: ConnectionOptions,
    listener: ListenerKind,
    /// For TCP connections; `None` serves them without TLS.
    certificate: Option<ServerCertificate>,
    lifecycle: Lifecycle,
    shutdown: Shutdown,
    service: S,
}

trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

impl<S> ConnectionHandler<S> {
    /// Answers the requests of every connection with `service`, and adds [`ConnectionInfo`] to their extensions.
    ///
    /// While `lifecycle` is draining, HTTP/2 clients are asked to reconnect elsewhere. `shutdown` ends all connections;
    /// it is that of the [`Server`](crate::Server) that accepts them. `certificate` turns TLS on for TCP connections.
    pub fn new(
        options: ConnectionOptions,
        listener: ListenerKind,
        certificate: Option<ServerCertificate>,
        lifecycle: Lifecycle,
        shutdown: Shutdown,
        service: S,
    ) -> Self {
        Self { options, listener, certificate, lifecycle, shutdown, service }
    }
}

impl<S> ConnectionHandler<S>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    /// Serves one connection until it ends. The slot is held meanwhile.
    pub(crate) async fn handle(&self, socket: AcceptedSocket, slot: ConnectionSlot) {
        let listener = self.listener;
        let open = OpenConnection::accepted(listener);
        let progress = ReadProgress::default();
        let (transport, info) = match socket {
            AcceptedSocket::Unix(socket) => (
                self.transport(socket, &progress),
                ConnectionInfo { listener, peer: None, is_encrypted: false },
            ),
            AcceptedSocket::Tcp(socket, peer) => {
                let is_encrypted = self.certificate.is_some();
                let info = ConnectionInfo { listener, peer: Some(peer), is_encrypted };
                match &self.certificate {
                    None => (self.transport(socket, &progress), info),
                    Some(certificate) => {
                        match self.accept_tls(certificate, socket, &progress, &slot, &open).await {
                            Some(transport) => (transport, info),
                            None => return,
                        }
                    }
                }
            }
        };
        self.drive(transport, &progress, info, &slot, &open).await;
    }

    /// Limits how long a write may wait for the client to read, and what is read without `progress`.
    fn transport(
        &self,
        socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        progress: &ReadProgress,
    ) -> Box<dyn Transport> {
        let mut socket = TimeoutStream::new(BoundedRead::new(socket, progress.clone()));
        socket.set_write_timeout(Some(self.options.write_timeout));
        Box::new(Box::pin(socket))
    }

    /// The encrypted transport; `None` if the client speaks plain HTTP, or the handshake fails, takes too long, or is cut
    /// off.
    async fn accept_tls(
        &self,
        certificate: &ServerCertificate,
        socket: TcpStream,
        progress: &ReadProgress,
        slot: &ConnectionSlot,
        open: &OpenConnection,
    ) -> Option<Box<dyn Transport>> {
        let handshake = async {
            if plain_http::is_spoken_on(&socket).await {
                tracing::debug!("a client speaks plain HTTP where HTTPS is served");
                plain_http::refuse(socket).await;
                return Ok(None);
            }
            certificate.acceptor().accept(self.transport(socket, progress)).await.map(Some)
        };
        let stopping = async {
            self.shutdown.graceful.cancelled().await;
            tokio::time::sleep(LAST_REQUEST_TIMEOUT).await;
        };
        let closed = tokio::select! {
            result = handshake => match result {
                Ok(Some(socket)) => return Some(Box::new(socket)),
                Ok(None) => EarlyClose::Handshake,
                Err(error) => {
                    tracing::debug!(%error, "a client did not come to terms over TLS");
                    EarlyClose::Handshake
                }
            },
            () = tokio::time::sleep(self.options.header_timeout) => {
                tracing::debug!("a client did not finish the handshake of TLS");
                EarlyClose::Handshake
            }
            () = slot.evicted() => EarlyClose::Evicted,
            () = stopping => return None,
            () = self.shutdown.immediate.cancelled() => return None,
        };
        open.closes_early(closed);
        None
    }

    fn builder(&self, streams: StreamExecutor) -> auto::Builder<StreamExecutor> {
        let mut builder = auto::Builder::new(streams);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.header_timeout)
            .max_buf_size(MAX_HEAD_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        builder
    }

    /// Speaks HTTP until either side ends the connection. Returning without `graceful_shutdown` cuts it off.
    async fn drive(
        &self,
        transport: Box<dyn Transport>,
        progress: &ReadProgress,
        info: ConnectionInfo,
        slot: &ConnectionSlot,
        open: &OpenConnection,
    ) {
        let first_request = FirstRequest::new();
        let service = service_fn(|mut request: Request<Incoming>| {
            first_request.record(request.version());
            request.extensions_mut().insert(info);
            if request.version() == Version::HTTP_2 {
                // hyper has limits for what an HTTP/2 connection may send beside requests.
                progress.lift_bound();
            }
            answer(self.service.clone(), request, progress.clone(), slot.begin_request())
        });
        let ConnectionOptions { header_timeout, write_timeout } = self.options;
        let streams = StreamExecutor::new(write_timeout);
        let builder = self.builder(streams.clone());
        let mut connection = pin!(builder.serve_connection(TokioIo::new(transport), service));

        let mut first_deadline = pin!(first_request.is_missing_after(header_timeout));
        let mut http2_idle = pin!(self.http2_is_idle(&first_request, &streams));
        let mut evicted = pin!(slot.evicted());
        let mut draining = pin!(self.http2_should_go_away(&first_request));
        let mut stopping = pin!(self.should_stop(&first_request));
        let (mut awaits_first, mut is_draining, mut is_stopping) = (true, false, false);
        let result = loop {
            tokio::select! {
                result = connection.as_mut() => break result,
                is_missing = first_deadline.as_mut(), if awaits_first => {
                    if is_missing {
                        tracing::debug!("a client sent no request");
                        open.closes_early(EarlyClose::Idle);
                        return;
                    }
                    awaits_first = false;
                }
                () = http2_idle.as_mut() => {
                    open.closes_early(EarlyClose::Idle);
                    connection.as_mut().graceful_shutdown();
                    // A request may have been on its way, and the last frame of a response may still be.
                    tokio::select! {
                        result = connection.as_mut() => break result,
                        () = streams.idle_for(write_timeout) => {
                            tracing::debug!("a client asked for nothing more and stayed");
                            return;
                        }
                        () = self.shutdown.immediate.cancelled() => return,
                    }
                }
                () = evicted.as_mut() => {
                    open.closes_early(EarlyClose::Evicted);
                    let Some(version) = first_request.version() else {
                        tracing::debug!("a client without a request made room for another");
                        return;
                    };
                    connection.as_mut().graceful_shutdown();
                    // An HTTP/1.1 connection ends when its client has read the last response, which has a time limit.
                    tokio::select! {
                        result = connection.as_mut() => break result,
                        () = streams.idle_for(GOAWAY_TIMEOUT), if version == Version::HTTP_2 => return,
                        () = self.shutdown.immediate.cancelled() => return,
                    }
                }
                () = draining.as_mut(), if !is_draining && !is_stopping => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = stopping.as_mut(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = self.shutdown.immediate.cancelled() => return,
            }
        };
        if let Err(error) = result {
            if let Some(why) = EarlyClose::of(&*error) {
                open.closes_early(why);
            }
            tracing::debug!(%error, "a connection ended with an error");
        }
    }

    /// Resolves when an HTTP/2 connection has had no stream for as long as an HTTP/1.1 connection may take for its next
    /// request head. hyper has no such limit for HTTP/2, so a client that answers pings would stay forever.
    async fn http2_is_idle(&self, first_request: &FirstRequest, streams: &StreamExecutor) {
        first_request.received(|version| version == Version::HTTP_2).await;
        streams.idle_for(self.options.header_timeout).await;
    }

    /// Resolves when an HTTP/2 connection should be sent GOAWAY because the host drains.
    ///
    /// A connection without a request is left alone: its client could not tell whether its first request was served. For
    /// HTTP/1.1 the response's `Connection: close` says the same, without cutting off a request that is on its way.
    async fn http2_should_go_away(&self, first_request: &FirstRequest) {
        self.lifecycle.reached(Phase::Draining).await;
        first_request.received(|version| version == Version::HTTP_2).await;
    }

    /// Resolves when a connection should end because the host accepts no more. A connection that was accepted a moment
    /// ago may have its first request on its way, and gets a short time for it.
    async fn should_stop(&self, first_request: &FirstRequest) {
        self.shutdown.graceful.cancelled().await;
        // The connection ends with or without a request.
        let _ = tokio::time::timeout(LAST_REQUEST_TIMEOUT, first_request.received(|_| true)).await;
    }
}

/// Answers one request. The request counts as running until its response is sent or dropped.
async fn answer<S>(
    service: S,
    request: Request<Incoming>,
    progress: ReadProgress,
    active: ActiveRequest,
) -> Result<Response, Infallible>
where
    S: Service<Request<Body>, Response = Response, Error = Infallible>,
{
    let request = match request.version() {
        Version::HTTP_2 => request.map(|body| Body::new(UnreadBody::new(body))),
        _ => {
            progress.made();
            request.map(|body| Body::new(DeliveredBody::new(body, progress)))
        }
    };
    let response = service.oneshot(request).await?;
    Ok(record_unread_data(active.hold_until_end_of(response)))
}
