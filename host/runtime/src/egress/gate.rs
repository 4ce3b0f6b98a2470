//! The gate that every outgoing request passes, for `wasi:http` 0.2 and 0.3 alike.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body::Body;
use http_body_util::BodyExt;
use masque_grants::{Grants, Limits, Origin};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::body::{GuardedBody, OccupiedRequest};
use super::client::{Answer, UpstreamClient};
use super::header_limit::HeaderLimit;
use super::origin_credentials::OriginCredentials;
use super::redact::EchoRedactor;
use crate::diagnostics::CallDiagnostics;
use crate::missing_grant::MissingGrant;
use crate::observe::{BodyDirection, ObservedBody, RequestGuard, RequestObserver};

/// The connect timeout where the guest sets none. A timeout of its own counts if it ends before the call's deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes that are taken of a body at once. wasmtime's default of 1 MiB would be held for each request.
pub(crate) const BODY_CHUNK_BYTES: usize = 64 << 10;
/// The pieces of a body of WASI 0.2 that wait to be sent, beside the one that is being written.
pub(crate) const BODY_CHUNKS: usize = 1;
/// The longest method. The longest registered one has 17 bytes.
const MAX_METHOD_BYTES: usize = 64;

/// The content coding of an answer that is not compressed (RFC 9110, section 12.5.3).
const IDENTITY: &str = "identity";

/// Resolves when the request's body has been sent.
type RequestSent = Box<dyn Future<Output = Result<(), Error>> + Send>;
type ResponseResult = Result<(Response<WasiBody>, RequestSent), Error>;

/// The gate of one call.
pub(crate) struct EgressGate {
    grants: Arc<Grants>,
    credentials: Arc<OriginCredentials>,
    upstream: UpstreamClient,
    deadline: Instant,
    /// The most requests that may be under way at once.
    max_requests: usize,
    /// The most bytes in the headers of a response, and in its trailers.
    max_header_bytes: usize,
    /// One permit for each request that may be under way.
    permits: Arc<Semaphore>,
    diagnostics: CallDiagnostics,
    /// Absent between calls.
    requests: Option<RequestObserver>,
}

impl EgressGate {
    /// `credentials` must be those of `grants`, and `upstream` the client for its networks.
    pub(crate) fn new(
        grants: Arc<Grants>,
        credentials: Arc<OriginCredentials>,
        upstream: UpstreamClient,
        deadline: Instant,
        limits: &Limits,
        diagnostics: CallDiagnostics,
        requests: RequestObserver,
    ) -> Self {
        Self {
            grants,
            credentials,
            upstream,
            deadline,
            max_requests: limits.requests,
            max_header_bytes: limits.header_bytes,
            permits: Arc::new(Semaphore::new(limits.requests)),
            diagnostics,
            requests: Some(requests),
        }
    }

    /// Drops what belongs to the call, before the store is kept for a later one.
    pub(crate) fn end_call(&mut self) {
        self.requests = None;
    }

    /// Requests whose response is not there yet, or whose body is still held.
    pub(crate) fn requests_under_way(&self) -> usize {
        self.max_requests.saturating_sub(self.permits.available_permits())
    }

    /// Returns the request's origin if a grant allows the request. Credentials are chosen by the origin.
    fn check(&self, method: &Method, uri: &Uri) -> Result<Origin, Error> {
        // A user name is never sent: on HTTP/2 it would be part of the authority.
        if uri.authority().is_none_or(|authority| authority.as_str().contains('@')) {
            return Err(Error::HttpRequestUriInvalid);
        }
        if method.as_str().len() > MAX_METHOD_BYTES {
            return Err(Error::HttpRequestMethodInvalid);
        }
        let origin = Origin::of(uri).ok_or(Error::HttpRequestUriInvalid)?;
        if self.grants.http.iter().any(|grant| grant.allows(method, &origin, uri.path())) {
            return Ok(origin);
        }
        let (method, path) = (method.clone(), uri.path().to_owned());
        self.diagnostics.record_missing_grant(MissingGrant::Http { method, origin, path });
        Err(Error::HttpRequestDenied)
    }

    /// Lets a request pass: writes its address in canonical form, and returns its origin and its place among the requests under
    /// way.
    fn admit(&self, request: &mut Request<WasiBody>) -> Result<(Origin, OwnedSemaphorePermit), Error> {
        let origin = self.check(request.method(), request.uri())?;
        *request.uri_mut() = normalize_uri(&origin, request.uri()).ok_or(Error::HttpRequestUriInvalid)?;
        let permit = self.permits.clone().try_acquire_owned().map_err(|_full| {
            self.diagnostics.record_refusal(format!(
                "more than {} requests at once (limit `requests`)",
                self.max_requests
            ));
            Error::ConnectionLimitReached
        })?;
        Ok((origin, permit))
    }
}

impl WasiHttpHooks for EgressGate {
    /// hyper sets the header from the address. A second one would contradict it on HTTP/2.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        BODY_CHUNKS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_done: RequestSent,
    ) -> Box<dyn Future<Output = ResponseResult> + Send> {
        let Some(observed) =
            self.requests.as_ref().map(|requests| requests.begin(request.method(), request.uri()))
        else {
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        };
        let (origin, permit) = match self.admit(&mut request) {
            Ok(admitted) => admitted,
            Err(error) => {
                observed.record_failure(&error);
                return Box::new(std::future::ready(Err(error)));
            }
        };
        observed.context().inject(request.headers_mut());
        let redactor = EchoRedactor::new(self.credentials.add_to(request.headers_mut(), &origin));
        if redactor.is_active() {
            request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static(IDENTITY));
        }
        let timeouts = Timeouts::new(options, self.deadline);
        let (upstream, diagnostics) = (self.upstream.clone(), self.diagnostics.clone());
        let headers = HeaderLimit { bytes: self.max_header_bytes, diagnostics: diagnostics.clone() };
        let guard = RequestGuard(observed.clone());
        Box::new(async move {
            let _guard = guard;
            let request = if observed.is_detailed() {
                let direction = BodyDirection::Sent;
                request.map(|body| ObservedBody::new(body, observed.clone(), direction).boxed_unsync())
            } else {
                request
            };
            let waiting = observed.wait();
            let sent = upstream.send(request, &origin, timeouts.connect, timeouts.first_byte).await;
            drop(waiting);
            let Answer { response, lease } = sent.map_err(|failure| {
                observed.record_failure(&failure.code);
                if let Error::DestinationIpProhibited = failure.code {
                    diagnostics.record_denial("networks");
                    diagnostics
                        .record_refusal(format!("the address behind {origin} needs a `networks` grant"));
                }
                if let Some(limit) = failure.limit {
                    diagnostics.record_refusal(limit);
                }
                failure.code
            })?;
            let (mut parts, body) = response.into_parts();
            observed.record_head(parts.status.as_u16());
            if redactor.is_active() && !body.is_end_stream() && !is_readable(&parts.headers) {
                diagnostics.record_refusal(format!(
                    "{origin} compressed its answer unasked, and an answer to a request with a credential must be readable"
                ));
                let error = Error::HttpResponseContentCoding(None);
                observed.end(Some(&error));
                return Err(error);
            }
            headers.check(&parts.headers).map_err(|size| {
                let error = Error::HttpResponseHeaderSectionSize(Some(size));
                observed.end(Some(&error));
                error
            })?;
            redactor.redact_headers(&mut parts.headers);
            let occupied = OccupiedRequest { _permit: permit, _lease: lease };
            let body = GuardedBody::new(body, redactor, headers, timeouts.between_bytes, occupied);
            let body = ObservedBody::new(body, observed.clone(), BodyDirection::Received).boxed_unsync();
            Ok((Response::from_parts(parts, body), Box::new(async { Ok(()) }) as RequestSent))
        })
    }
}

/// Writes the address with the origin's canonical spelling, so that the server sees one name for `host.`, `host:443` and
/// `host:0443`.
fn normalize_uri(origin: &Origin, uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("{origin}{}{path}", if path.starts_with('/') { "" } else { "/" }).parse().ok()
}

/// How much longer than the call a request may take. A request that is as late as the call is ended with the call, whose
/// error names the limit; with the same time for both, either could come first.
const GRACE: Duration = Duration::from_secs(1);

/// The timeouts that the guest asked for, capped by what is left of the call and [`GRACE`].
struct Timeouts {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Timeouts {
    fn new(options: Option<RequestOptions>, deadline: Instant) -> Self {
        let left = deadline.saturating_duration_since(Instant::now()) + GRACE;
        let options = options.unwrap_or_default();
        Self {
            connect: options.connect_timeout.unwrap_or(CONNECT_TIMEOUT).min(left),
            first_byte: options.first_byte_timeout.unwrap_or(left).min(left),
            between_bytes: options.between_bytes_timeout.unwrap_or(left).min(left),
        }
    }
}

/// Whether a secret can be found in the body. A guest could otherwise ask for a compressed echo.
fn is_readable(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .all(|coding| coding.as_bytes().eq_ignore_ascii_case(IDENTITY.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Call;
    use crate::egress::UpstreamClients;
    use crate::observe::CallUsage;
    use crate::secret_matcher::SecretMatcher;

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
            assert_eq!(normalize_uri(&origin, &uri).unwrap().to_string(), sent, "{asked}");
        }
    }

    fn gate(grant: &str) -> EgressGate {
        let grants = Grants { http: vec![grant.parse().unwrap()], ..Grants::default() };
        let upstream = UpstreamClients::new().unwrap().client("plugin", &[]);
        EgressGate::new(
            Arc::new(grants),
            Arc::default(),
            upstream,
            Instant::now(),
            &Limits::default(),
            CallDiagnostics::default(),
            RequestObserver::new(
                &Call::until(Instant::now()),
                CallUsage::new(Instant::now()),
                None,
                SecretMatcher::default(),
            ),
        )
    }

    #[tokio::test]
    async fn a_user_name_in_the_address_is_refused_though_its_origin_is_granted() {
        let gate = gate("http://127.0.0.1:9");
        let check = |uri: &str| gate.check(&Method::GET, &uri.parse().unwrap());
        assert!(check("http://127.0.0.1:9/").is_ok());
        for uri in ["http://1@127.0.0.1:9/", "http://a:b@127.0.0.1:9/", "http://@127.0.0.1:9/"] {
            assert!(matches!(check(uri), Err(Error::HttpRequestUriInvalid)), "{uri}");
        }
    }

    #[tokio::test]
    async fn an_address_with_a_port_that_is_no_number_is_refused_though_the_default_port_is_granted() {
        let gate = gate("http://127.0.0.1");
        let check = |uri: &str| gate.check(&Method::GET, &uri.parse().unwrap());
        assert!(check("http://127.0.0.1/").is_ok());
        for uri in ["http://127.0.0.1:99999/", "http://127.0.0.1:0/", "http://127.0.0.1:/"] {
            assert!(matches!(check(uri), Err(Error::HttpRequestUriInvalid)), "{uri}");
        }
    }

    #[test]
    fn an_answer_is_readable_unless_it_is_compressed() {
        let headers = |codings: &[&'static str]| -> HeaderMap {
            codings.iter().map(|coding| (CONTENT_ENCODING, HeaderValue::from_static(coding))).collect()
        };
        for (codings, readable) in [
            (&[][..], true),
            (&["identity"], true),
            (&["Identity"], true),
            (&["gzip"], false),
            (&["identity", "br"], false),
            (&["identity, gzip"], false),
        ] {
            assert_eq!(is_readable(&headers(codings)), readable, "{codings:?}");
        }
    }
}
