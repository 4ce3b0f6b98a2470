//! The outermost layer around every request: request id, trace context, client address, access log, security headers,
//! and the end of connections that must not be reused.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use ipnet::IpNet;
use masque_problem::Problem;
use tracing::{Instrument, Span};

use crate::access_log::{AccessLog, watched_route};
use crate::client_address::{ClientAddress, client_address};
use crate::connection_info::{ConnectionInfo, ListenerKind};
use crate::lifecycle::{Lifecycle, Phase};
use crate::request_id::{REQUEST_ID, RequestId};
use crate::request_metrics::RequestMetrics;
use crate::watched_body::{BodyWatcher, watch};
use masque_telemetry::trace::{TRACEPARENT, TraceContext};

/// The security headers of every response.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];
/// The content security policy of a response that sets none, which is no web page.
const DEFAULT_CONTENT_SECURITY_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// One year, as in the examples of RFC 6797.
const STRICT_TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// What [`track_request`] needs to know of the host.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// While it is draining, HTTP/1.1 connections are closed after their response.
    pub lifecycle: Lifecycle,
    /// The proxies whose `X-Forwarded-For` is trusted, and whose word that a trace is to be recorded.
    pub trusted_proxies: Arc<[IpNet]>,
}

/// The outermost layer of a router, for `axum::middleware::from_fn_with_state`.
///
/// It expects [`ConnectionInfo`] in the request's extensions, as a [`ConnectionHandler`](crate::ConnectionHandler) adds
/// it, and adds [`RequestId`], [`ListenerKind`], [`TraceContext`] and, for TCP, [`ClientAddress`]. It replaces the body of a response that
/// has a [`Problem`] in its extensions by one with the request id.
pub async fn track_request(
    State(RequestContext { lifecycle, trusted_proxies }): State<RequestContext>,
    mut request: Request,
    next: Next,
) -> Response {
    let connection = request.extensions().get::<ConnectionInfo>().copied();
    let peer = connection.and_then(|connection| connection.peer);
    let address = peer.map(|peer| client_address(peer.ip(), request.headers(), &trusted_proxies));
    let id = RequestId::from_headers(request.headers());
    let trace = request_trace(request.headers(), peer.map(|peer| peer.ip()), &trusted_proxies);
    let mut metrics = RequestMetrics::start(&request, trace);
    let span = request_span(&id, trace);
    if let Some(address) = address {
        span.record("client", tracing::field::display(address));
        request.extensions_mut().insert(ClientAddress(address));
    }
    request
        .extensions_mut()
        .insert(connection.map_or(ListenerKind::Public, |connection| connection.listener));
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route = matched.or_else(|| watched_route(request.uri().path())).unwrap_or("-").to_owned();
    let mut log = AccessLog::start(span.clone(), request.method().clone(), route);
    let (method, version) = (request.method().clone(), request.version());
    let is_ambiguous =
        request.headers().contains_key(header::TRANSFER_ENCODING) || has_several_hosts(request.headers());
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(trace);

    let response = next.run(request).instrument(span).await;
    let mut response = add_request_id(response, &id, &method);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    if let Some(value) = trace.to_header() {
        headers.insert(TRACEPARENT, value);
    }
    headers.extend(SECURITY_HEADERS);
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(DEFAULT_CONTENT_SECURITY_POLICY);
    if connection.is_some_and(|connection| connection.is_encrypted) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT_SECURITY);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // Request smuggling: a proxy may see two requests in one that has both `Transfer-Encoding` and `Content-Length`, so
    // its connection must end (RFC 9112, section 6.3). hyper drops `Content-Length` in that case, so every connection
    // with a `Transfer-Encoding` ends. With several hosts, a proxy may have routed the request by another one. HTTP/2
    // has no `Connection` header; its connections are sent GOAWAY by the connection handler.
    if version < Version::HTTP_2 && (is_ambiguous || lifecycle.now() == Phase::Draining) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    log.answer(&response);
    metrics.answer(&response);
    watch(response, RequestWatcher { log, _metrics: metrics })
}

/// What ends with a request's response.
struct RequestWatcher {
    log: AccessLog,
    _metrics: RequestMetrics,
}

impl BodyWatcher for RequestWatcher {
    fn complete(&mut self) {
        self.log.complete();
    }
}

/// Whether a request has more than one `Host` header, which RFC 9112, section 3.2 forbids.
pub fn has_several_hosts(headers: &HeaderMap) -> bool {
    headers.get_all(header::HOST).iter().nth(1).is_some()
}

/// The request's position in its trace.
///
/// The threat: a client has every one of its traces recorded. The policy: its ids are used, and its word that the trace is to
/// be recorded only if a trusted proxy passes it on, which may have decided itself. `tracestate` is neither read nor passed
/// on, as the specification allows (W3C Trace Context, section 6): it would carry text of clients to the upstreams. `baggage`
/// is never used.
fn request_trace(headers: &HeaderMap, peer: Option<IpAddr>, trusted: &[IpNet]) -> TraceContext {
    let trace = TraceContext::from_headers(headers);
    let is_trusted =
        peer.is_some_and(|peer| trusted.iter().any(|network| network.contains(&peer.to_canonical())));
    if is_trusted { trace } else { trace.unsampled() }
}

/// The span around everything that a request causes: each of its lines has these fields.
fn request_span(id: &RequestId, trace: TraceContext) -> Span {
    tracing::error_span!(
        "request",
        request_id = id.as_str(),
        trace_id = format_args!("{:032x}", trace.trace_id()),
        client = tracing::field::Empty,
    )
}

/// Replaces the body of a problem by one with the request id.
fn add_request_id(mut response: Response, id: &RequestId, method: &Method) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    response.headers_mut().remove(header::CONTENT_LENGTH);
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        problem.to_value(Some(id.as_str())).to_string().into()
    };
    response.map(|_| body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_proxy_decides_that_a_trace_is_recorded_and_everyone_names_it() {
        let trusted: [IpNet; 1] = ["10.0.0.0/8".parse().unwrap()];
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (peer, flags, is_sampled) in [
            (Some("10.0.0.1"), "01", true),
            (Some("::ffff:10.0.0.1"), "01", true),
            (Some("10.0.0.1"), "00", false),
            (Some("203.0.113.7"), "01", false),
            // A Unix socket.
            (None, "01", false),
        ] {
            let mut headers = HeaderMap::new();
            let given = format!("00-{id}-00f067aa0ba902b7-{flags}");
            headers.insert(TRACEPARENT, given.parse().unwrap());
            // An address that a client claims is no proof.
            headers.insert("x-forwarded-for", HeaderValue::from_static("10.0.0.1"));
            let trace = request_trace(&headers, peer.map(|peer| peer.parse().unwrap()), &trusted);
            assert_eq!(trace.is_sampled(), is_sampled, "{peer:?} {flags}");
            assert_eq!(format!("{:032x}", trace.trace_id()), id);
            assert_eq!(trace.parent_span_id(), 0x00f0_67aa_0ba9_02b7);
        }
    }
}
