//! The one way out of the sandbox, for `wasi:http` 0.2 and 0.3 alike.
//!
//! The threat: a plugin that sends what it saw to a place of its own, that reaches the operator's network, or that learns
//! a key. The policy: a request leaves only where a grant names its origin (and method and path); its address is checked
//! after resolving; credentials are put on here, behind the guest's back, and struck out of what comes back; redirects are
//! handed to the guest, which needs a grant to follow one. What is accepted: whatever a granted origin does with what it
//! is sent.

mod address;
mod body;
mod client;
mod connector;
mod redact;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::BodyExt;
use hyper_util::client::legacy::connect::capture_connection;
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use self::body::GuardedBody;
pub(crate) use self::client::{Upstream, Upstreams};
use self::connector::Prohibited;
use self::redact::Redactor;
use crate::grants::{Credential, Grants, Origin};
use crate::guest::Notes;

/// Time to connect, where the guest asks for none; its own wish counts where it is shorter than the call's deadline.
const CONNECT: Duration = Duration::from_secs(10);

type Sent = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answer = Result<(Response<WasiBody>, Sent), Error>;

/// The gate of one call.
pub(crate) struct Gate {
    grants: Arc<Grants>,
    upstream: Upstream,
    deadline: Instant,
    places: Arc<Semaphore>,
    notes: Notes,
}

impl Gate {
    pub(crate) fn new(
        grants: Arc<Grants>,
        upstream: Upstream,
        deadline: Instant,
        requests: usize,
        notes: Notes,
    ) -> Self {
        Self { grants, upstream, deadline, places: Arc::new(Semaphore::new(requests)), notes }
    }

    /// Whether a grant allows it. The answer is the origin, by which credentials are chosen.
    fn admit(&self, method: &Method, uri: &Uri) -> Result<Origin, Error> {
        let origin = Origin::of(uri).ok_or(Error::HttpRequestUriInvalid)?;
        if self.grants.http.iter().any(|grant| grant.allows(method, &origin, uri.path())) {
            return Ok(origin);
        }
        self.notes.denied(format!("{method} {origin}{} needs an `http` grant", uri.path()));
        Err(Error::HttpRequestDenied)
    }

    fn credentials(&self, origin: &Origin) -> Vec<Arc<Credential>> {
        self.grants.credentials.iter().filter(|credential| credential.origin() == origin).cloned().collect()
    }
}

impl WasiHttpHooks for Gate {
    /// hyper sets it from the address; a second one would contradict it on HTTP/2.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_done: Sent,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let origin = match self.admit(request.method(), request.uri()) {
            Ok(origin) => origin,
            Err(error) => return Box::new(std::future::ready(Err(error))),
        };
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return Box::new(std::future::ready(Err(Error::ConnectionLimitReached)));
        };
        let credentials = self.credentials(&origin);
        for credential in &credentials {
            request.headers_mut().insert(credential.header().clone(), credential.value().clone());
        }
        let redactor = Redactor::new(credentials.iter().map(|credential| credential.secret().clone()));
        let timeouts = Timeouts::new(options, self.deadline);
        let (upstream, notes) = (self.upstream.clone(), self.notes.clone());
        Box::new(async move {
            let response = exchange(upstream, request, &timeouts).await.inspect_err(|error| {
                if let Error::DestinationIpProhibited = error {
                    notes.denied(format!("the address behind {origin} needs a `networks` grant"));
                }
            })?;
            let (mut parts, body) = response.into_parts();
            strike_headers(&mut parts.headers, &redactor);
            let body = GuardedBody::new(body, redactor, timeouts.between, place).boxed_unsync();
            Ok((Response::from_parts(parts, body), Box::new(async { Ok(()) }) as Sent))
        })
    }
}

/// What the guest asked for, capped by what is left of the call.
struct Timeouts {
    connect: Duration,
    first_byte: Duration,
    between: Duration,
}

impl Timeouts {
    fn new(options: Option<RequestOptions>, deadline: Instant) -> Self {
        let left = deadline.saturating_duration_since(Instant::now());
        let options = options.unwrap_or_default();
        Self {
            connect: options.connect_timeout.unwrap_or(CONNECT).min(left),
            first_byte: options.first_byte_timeout.unwrap_or(left).min(left),
            between: options.between_bytes_timeout.unwrap_or(left).min(left),
        }
    }
}

/// Sends, and waits for the head of the response. Connecting and answering are timed apart.
async fn exchange(
    upstream: Upstream,
    mut request: Request<WasiBody>,
    timeouts: &Timeouts,
) -> Result<Response<hyper::body::Incoming>, Error> {
    let mut connection = capture_connection(&mut request);
    let response = upstream.request(request);
    tokio::pin!(response);
    let connected = async { drop(connection.wait_for_connection_metadata().await) };
    tokio::select! {
        biased;
        done = &mut response => return done.map_err(|error| translate(&error)),
        () = connected => {}
        () = tokio::time::sleep(timeouts.connect) => return Err(Error::ConnectionTimeout),
    }
    match tokio::time::timeout(timeouts.first_byte, response).await {
        Ok(done) => done.map_err(|error| translate(&error)),
        Err(_) => Err(Error::HttpResponseTimeout),
    }
}

fn strike_headers(headers: &mut HeaderMap, redactor: &Redactor) {
    for value in headers.values_mut() {
        if redactor.betrays(value.as_bytes()) {
            *value = HeaderValue::from_static("[redacted]");
        }
    }
}

/// hyper's error in the words of `wasi:http`, by the causes it carries.
fn translate(error: &hyper_util::client::legacy::Error) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            if io.get_ref().is_some_and(|inner| inner.is::<Prohibited>()) {
                return Error::DestinationIpProhibited;
            }
            if let Some(tls) = io.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                return match tls {
                    rustls::Error::InvalidCertificate(_) => Error::TlsCertificateError,
                    _ => Error::TlsProtocolError,
                };
            }
            match io.kind() {
                std::io::ErrorKind::ConnectionRefused => return Error::ConnectionRefused,
                std::io::ErrorKind::TimedOut => return Error::ConnectionTimeout,
                std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => {
                    return Error::DestinationUnavailable;
                }
                _ => {}
            }
        }
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>() {
            if hyper.is_incomplete_message() {
                return Error::ConnectionTerminated;
            }
            if hyper.is_parse() {
                return Error::HttpProtocolError;
            }
        }
        source = cause.source();
    }
    if error.is_connect() {
        return Error::DnsError { rcode: None, info_code: None };
    }
    Error::ConnectionTerminated
}
