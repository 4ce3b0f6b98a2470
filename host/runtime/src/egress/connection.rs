//! One connection to an upstream: how it is opened, and how a request is sent on it.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Uri};
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::Connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use masque_grants::Origin;
use masque_read_bound::ReadProgress;
use tower::Service;
use wasmtime_wasi_http::WasiBody;

use super::connection_driver::ConnectionDriver;
use super::connection_slot::ConnectionSlot;
use super::connector::GatedConnector;
use super::driven_body::DrivenBody;
use super::first_settings::FirstSettings;
use super::pool_policy::{PoolPolicy, Protocol};
use super::sent_request::{SendError, SentBody};

/// After so long without a frame an HTTP/2 connection is asked whether it still lives. Routers forget connections after a few
/// minutes without traffic, and a model may think for as long.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long it may take to answer that. Then all of its requests fail.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The bytes of one answer that may be under way. Over a connection with a round trip of 100 ms that is 1.2 MB each second.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the connection could not be opened: {0}")]
pub(super) struct OpenError(#[source] pub(super) Box<dyn StdError + Send + Sync>);

impl OpenError {
    pub(super) fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// Opens connections. A pool calls it from a task of its own, and drops the future after a while.
pub(super) trait Connector: Send + Sync {
    fn open(&self, origin: &Origin) -> BoxFuture<'static, Result<OpenedConnection, OpenError>>;
}

/// A connection that has just been opened.
pub(super) struct OpenedConnection {
    pub(super) sender: RequestSender,
    /// The most streams by the server's first settings, where they set a limit.
    pub(super) first_limit: Option<usize>,
    /// The most streams that hyper opens. It follows the server's settings each time that a request is sent.
    pub(super) limit: Arc<AtomicUsize>,
}

/// Sends requests on a connection.
pub(super) enum RequestSender {
    Http1 { sender: http1::SendRequest<SentBody>, slot: Arc<ConnectionSlot> },
    Http2(http2::SendRequest<WasiBody>),
}

impl RequestSender {
    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Self::Http1 { .. } => Protocol::Http1,
            Self::Http2(_) => Protocol::Http2,
        }
    }

    /// Whether a request can be sent now. An HTTP/1.1 connection is ready once the answer before has been read to its end.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Http1 { sender, .. } => sender.is_ready(),
            Self::Http2(sender) => sender.is_ready(),
        }
    }

    /// Whether the answer before may still be read. A connection that is closed is neither ready nor busy.
    pub(super) fn is_busy(&self) -> bool {
        match self {
            Self::Http1 { sender, .. } => is_busy(sender),
            Self::Http2(_) => false,
        }
    }

    /// Resolves when the connection is ready, or when it never will be.
    pub(super) async fn wait_until_ready(&mut self) {
        // The caller asks `is_ready`.
        let _ = match self {
            Self::Http1 { sender, .. } => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        };
    }

    /// Closes an HTTP/1.1 connection, whatever is under way on it. An HTTP/2 connection serves others, too, and stays.
    pub(super) fn close(&self) {
        if let Self::Http1 { slot, .. } = self {
            slot.close();
        }
    }

    /// Sends a request to `origin` and returns the head of its answer.
    pub(super) async fn send(
        &mut self,
        mut request: Request<WasiBody>,
        origin: &Origin,
    ) -> Result<Response<DrivenBody>, Box<SendError>> {
        match self {
            Self::Http1 { sender, slot } => {
                to_origin_form(&mut request, origin);
                send_http1(sender, slot, request).await
            }
            Self::Http2(sender) => match sender.try_send_request(request).await {
                Ok(answer) => Ok(answer.map(|incoming| DrivenBody::new(incoming, None))),
                Err(error) => Err(Box::new(SendError::new(error, |body| body))),
            },
        }
    }
}

/// Sends a request and drives its connection until the head of the answer is there. Then the answer's body drives it.
async fn send_http1(
    sender: &mut http1::SendRequest<SentBody>,
    slot: &Arc<ConnectionSlot>,
    request: Request<WasiBody>,
) -> Result<Response<DrivenBody>, Box<SendError>> {
    let mut driver = ConnectionDriver::new(slot.clone());
    poll_fn(|cx| {
        driver.attach(cx);
        Poll::Ready(())
    })
    .await;
    let request = request.map(|body| SentBody { body, _sending: slot.begin_sending() });
    let mut sent = pin!(sender.try_send_request(request));
    let answer = poll_fn(|cx| driver.poll(cx, |cx| sent.as_mut().poll(cx))).await;
    let answer = answer.map_err(|error| Box::new(SendError::new(error, |sent| sent.body)))?;
    driver.end_sending();
    // Otherwise all of the answer has been read, and the connection may serve the next request.
    let driver = is_busy(sender).then_some(driver);
    Ok(answer.map(|incoming| DrivenBody::new(incoming, driver)))
}

fn is_busy(sender: &http1::SendRequest<SentBody>) -> bool {
    !sender.is_ready() && !sender.is_closed()
}

/// Writes the address as HTTP/1.1 does: the path alone, and the rest in the header `host`.
fn to_origin_form(request: &mut Request<WasiBody>, origin: &Origin) {
    let uri = origin.to_string();
    if let Some(host) = uri.split_once("://").and_then(|(_, host)| HeaderValue::from_str(host).ok()) {
        request.headers_mut().insert(HOST, host);
    }
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
}

/// Opens connections over TCP or TLS, under one network policy.
pub(super) struct UpstreamConnector {
    pub(super) https: HttpsConnector<GatedConnector>,
    pub(super) policy: PoolPolicy,
}

impl Connector for UpstreamConnector {
    fn open(&self, origin: &Origin) -> BoxFuture<'static, Result<OpenedConnection, OpenError>> {
        let (mut https, policy, origin) = (self.https.clone(), self.policy, origin.to_string());
        Box::pin(async move {
            let stream = https.call(origin.parse().map_err(OpenError::new)?).await.map_err(OpenError)?;
            let connected = stream.connected();
            let mut extras = http::Extensions::new();
            connected.get_extras(&mut extras);
            let progress = extras.remove::<ReadProgress>().unwrap_or_default();
            if connected.is_negotiated_h2() {
                // hyper has limits for what an HTTP/2 connection may send beside content.
                progress.lift_bound();
                open_http2(stream, &policy).await
            } else {
                open_http1(stream, progress).await
            }
        })
    }
}

/// Opens an HTTP/1.1 connection, which tells its `progress` what it delivers.
pub(super) async fn open_http1<T>(io: T, progress: ReadProgress) -> Result<OpenedConnection, OpenError>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new().handshake(io).await.map_err(OpenError::new)?;
    let slot = ConnectionSlot::spawn(connection, progress);
    // A server that closes what it accepts has opened no connection.
    sender.ready().await.map_err(OpenError::new)?;
    let limit = Arc::new(AtomicUsize::new(1));
    Ok(OpenedConnection { sender: RequestSender::Http1 { sender, slot }, first_limit: None, limit })
}

/// Opens an HTTP/2 connection and waits until the server has said how many streams it allows.
pub(super) async fn open_http2<T>(io: T, policy: &PoolPolicy) -> Result<OpenedConnection, OpenError>
where
    T: Read + Write + Unpin + Send + 'static,
{
    let streams = u32::try_from(policy.http2_streams).unwrap_or(u32::MAX);
    let (io, settings) = FirstSettings::new(io);
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_max_send_streams(policy.http2_streams)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        // Room for all streams, so that an answer that nobody reads stops no other one.
        .initial_connection_window_size(STREAM_WINDOW_BYTES.saturating_mul(streams).min(MAX_WINDOW_BYTES))
        .handshake(io)
        .await
        .map_err(OpenError::new)?;
    let limit = Arc::new(AtomicUsize::new(policy.http2_streams));
    let (mut connection, followed) = (Box::pin(connection), limit.clone());
    tokio::spawn(log_end(poll_fn(move |cx| {
        let polled = connection.as_mut().poll(cx);
        followed.store(connection.current_max_send_streams(), Ordering::Relaxed);
        polled
    })));
    let first = settings.await.map_err(OpenError::new)?;
    Ok(OpenedConnection {
        sender: RequestSender::Http2(sender),
        first_limit: first.map(|max| usize::try_from(max).unwrap_or(usize::MAX)),
        limit,
    })
}

/// The largest window of HTTP/2 (RFC 9113, section 6.9.1).
const MAX_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// Drives a connection to its end. Its requests receive its errors.
async fn log_end(connection: impl Future<Output = hyper::Result<()>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "the connection to an upstream ended");
    }
}
