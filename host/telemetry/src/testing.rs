//! A collector for tests: receives traces over OTLP/HTTP and OTLP/gRPC on one port, and shows what came.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The bytes before a message of gRPC: whether it is compressed, and its length.
const GRPC_PREFIX: usize = 5;

/// A span as the collector received it.
#[derive(Clone, Debug)]
pub struct ReceivedSpan {
    /// Its name.
    pub name: String,
    /// The trace id, in hexadecimal digits.
    pub trace_id: String,
    /// The id of the span, in hexadecimal digits.
    pub span_id: String,
    /// The id of the span above it; empty if it is the first.
    pub parent_span_id: String,
    /// Whether it failed.
    pub has_failed: bool,
    /// Its attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// The attributes of the service that sent it.
    pub resource: BTreeMap<String, String>,
    /// The schema URL of the service's attributes.
    pub schema_url: String,
}

/// A request as the collector received it.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// The path.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Bytes,
    /// The spans, none if the request was refused.
    pub spans: Vec<ReceivedSpan>,
}

/// A running collector. Dropping it ends it.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    is_encrypted: bool,
    state: Arc<State>,
    changes: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    requests: Mutex<Vec<ReceivedRequest>>,
    count: watch::Sender<usize>,
    status: Mutex<StatusCode>,
}

impl Collector {
    /// Starts a collector on a free port of this machine.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> io::Result<Self> {
        Self::begin(None).await
    }

    async fn begin(tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let is_encrypted = tls.is_some();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (count, changes) = watch::channel(0);
        let state = Arc::new(State { requests: Mutex::default(), count, status: Mutex::new(StatusCode::OK) });
        let task = tokio::spawn(accept(listener, tls, Arc::clone(&state)));
        Ok(Self { address, is_encrypted, state, changes, task })
    }

    /// The same over TLS, with this certificate and its key as PEM.
    ///
    /// # Errors
    /// No port is free, or the certificate can't be used.
    pub async fn start_encrypted(certificate: &str, key: &str) -> io::Result<Self> {
        Self::begin(Some(acceptor(certificate, key).map_err(io::Error::other)?)).await
    }

    /// The URL for `OTEL_EXPORTER_OTLP_ENDPOINT`, with either protocol.
    pub fn url(&self) -> String {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Answers with this status from now on; anything but 200 refuses the spans. Over gRPC, a refusal is `UNAVAILABLE`.
    pub fn answer_with(&self, status: StatusCode) {
        *lock(&self.state.status) = status;
    }

    /// What has come so far.
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        lock(&self.state.requests).clone()
    }

    /// The spans that have come so far.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.requests().into_iter().flat_map(|request| request.spans).collect()
    }

    /// Waits until as many requests have come, refused ones included.
    pub async fn wait_for_requests(&self, requests: usize) {
        // The state lives as long as this collector, so the sender is there.
        let _ = self.changes.clone().wait_for(|count| *count >= requests).await;
    }

    /// Waits until the spans that have come are what `found` looks for.
    pub async fn wait_for_spans<T>(&self, mut found: impl FnMut(&[ReceivedSpan]) -> Option<T>) -> Option<T> {
        let mut changes = self.changes.clone();
        loop {
            changes.mark_unchanged();
            if let Some(found) = found(&self.spans()) {
                return Some(found);
            }
            changes.changed().await.ok()?;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>) {
    while let Ok((connection, _)) = listener.accept().await {
        let (state, tls) = (Arc::clone(&state), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(connection, state).await,
                // A client that does not trust the certificate ends the handshake.
                Some(tls) => {
                    if let Ok(connection) = tls.accept(connection).await {
                        serve(connection, state).await;
                    }
                }
            }
        });
    }
}

async fn serve(connection: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, state: Arc<State>) {
    let service = service_fn(|request| receive(request, Arc::clone(&state)));
    let server = auto::Builder::new(TokioExecutor::new());
    // A client that leaves is no matter of the collector.
    let _ = server.serve_connection(TokioIo::new(connection), service).await;
}

fn acceptor(certificate: &str, key: &str) -> Result<TlsAcceptor, Box<dyn Error + Send + Sync>> {
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn receive(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let (head, body) = request.into_parts();
    let is_grpc = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"));
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let status = *lock(&state.status);
    let message = body.slice(if is_grpc { GRPC_PREFIX.min(body.len()) } else { 0 }..);
    let spans = match ExportTraceServiceRequest::decode(message) {
        Ok(message) if status == StatusCode::OK => received(message),
        _ => Vec::new(),
    };
    let (path, headers) = (head.uri.path().to_owned(), head.headers);
    lock(&state.requests).push(ReceivedRequest { path, headers, body, spans });
    state.count.send_modify(|count| *count += 1);
    Ok(if is_grpc { grpc_answer(status) } else { http_answer(status) })
}

fn http_answer(status: StatusCode) -> Response<BoxBody<Bytes, Infallible>> {
    let mut answer = Response::new(Full::default().boxed());
    *answer.status_mut() = status;
    answer
}

fn grpc_answer(status: StatusCode) -> Response<BoxBody<Bytes, Infallible>> {
    /// gRPC's `UNAVAILABLE`.
    const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");
    let code = if status == StatusCode::OK { HeaderValue::from_static("0") } else { UNAVAILABLE };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code);
    // An empty message.
    let mut message = BytesMut::with_capacity(GRPC_PREFIX);
    message.put_bytes(0, GRPC_PREFIX);
    let body = Full::new(message.freeze()).with_trailers(async move { Some(Ok(trailers)) });
    let mut answer = Response::new(body.boxed());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    answer
}

fn received(message: ExportTraceServiceRequest) -> Vec<ReceivedSpan> {
    let mut spans = Vec::new();
    for of_resource in message.resource_spans {
        let resource = of_resource.resource.map(|resource| texts(resource.attributes)).unwrap_or_default();
        for span in of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans) {
            spans.push(ReceivedSpan {
                name: span.name,
                trace_id: hex(&span.trace_id),
                span_id: hex(&span.span_id),
                parent_span_id: hex(&span.parent_span_id),
                // The code 2 is `STATUS_CODE_ERROR`.
                has_failed: span.status.is_some_and(|status| status.code == 2),
                attributes: texts(span.attributes),
                resource: resource.clone(),
                schema_url: of_resource.schema_url.clone(),
            });
        }
    }
    spans
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|KeyValue { key, value, .. }| (key, text(value))).collect()
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
