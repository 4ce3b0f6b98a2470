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
mod fault;
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
use self::fault::translate;
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
    requests: usize,
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
        Self { grants, upstream, deadline, requests, places: Arc::new(Semaphore::new(requests)), notes }
    }

    /// Whether a grant allows it. The answer is the origin, by which credentials are chosen.
    fn admit(&self, method: &Method, uri: &Uri) -> Result<Origin, Error> {
        // A user name is sent nowhere, but it would make a pool of connections of its own for each spelling.
        if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err(Error::HttpRequestUriInvalid);
        }
        let origin = Origin::of(uri).ok_or(Error::HttpRequestUriInvalid)?;
        if self.grants.http.iter().any(|grant| grant.allows(method, &origin, uri.path())) {
            return Ok(origin);
        }
        self.notes.refused(format!("{method} {origin}{} needs an `http` grant", uri.path()));
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
        let Some(uri) = in_one_spelling(&origin, request.uri()) else {
            return Box::new(std::future::ready(Err(Error::HttpRequestUriInvalid)));
        };
        *request.uri_mut() = uri;
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            self.notes.refused(format!("more than {} requests at once (limit `requests`)", self.requests));
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
                    notes.refused(format!("the address behind {origin} needs a `networks` grant"));
                }
            })?;
            let (mut parts, body) = response.into_parts();
            strike_headers(&mut parts.headers, &redactor);
            let body = GuardedBody::new(body, redactor, timeouts.between, place).boxed_unsync();
            Ok((Response::from_parts(parts, body), Box::new(async { Ok(()) }) as Sent))
        })
    }
}

/// The same address under the origin's own spelling: hyper's pool is keyed by the authority's text, so `host.`, `host:443`
/// and `host:0443` would each keep connections of their own.
fn in_one_spelling(origin: &Origin, uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("{origin}{}{path}", if path.starts_with('/') { "" } else { "/" }).parse().ok()
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

pub(crate) fn strike_headers(headers: &mut HeaderMap, redactor: &Redactor) {
    for value in headers.values_mut() {
        if redactor.betrays(value.as_bytes()) {
            *value = HeaderValue::from_static("[redacted]");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_origin_shares_one_pool() {
        for (asked, sent) in [
            ("https://API.Example.com./v1?q=1", "https://api.example.com/v1?q=1"),
            ("https://api.example.com:443", "https://api.example.com/"),
            ("https://api.example.com:00443/", "https://api.example.com/"),
            ("http://[::1]:0080/", "http://[::1]/"),
            ("http://127.0.0.1:11434/api", "http://127.0.0.1:11434/api"),
        ] {
            let uri: Uri = asked.parse().unwrap();
            let origin = Origin::of(&uri).unwrap();
            assert_eq!(in_one_spelling(&origin, &uri).unwrap().to_string(), sent, "{asked}");
        }
    }

    #[tokio::test]
    async fn a_user_name_in_the_address_is_refused_though_its_origin_is_granted() {
        let grants = Grants { http: vec!["http://127.0.0.1:9".parse().unwrap()], ..Grants::default() };
        let upstream = Upstreams::new().unwrap().client(&[]);
        let gate = Gate::new(Arc::new(grants), upstream, Instant::now(), 1, Notes::default());
        let admit = |uri: &str| gate.admit(&Method::GET, &uri.parse().unwrap());
        assert!(admit("http://127.0.0.1:9/").is_ok());
        for uri in ["http://1@127.0.0.1:9/", "http://a:b@127.0.0.1:9/", "http://@127.0.0.1:9/"] {
            assert!(matches!(admit(uri), Err(Error::HttpRequestUriInvalid)), "{uri}");
        }
    }
}
