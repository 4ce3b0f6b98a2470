//! What happens around every request: its id and trace, who sent it, its line in the log, headers that every answer has,
//! and an answer even where a handler panicked.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderName, HeaderValue, Method, Version, header};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::arrival::{Arrival, ClientAddress, Via, client};
use super::phase::{Life, Phase};
use super::trace::{REQUEST_ID, RequestId, TRACEPARENT, TraceContext};
use crate::config::Config;
use crate::problem::{Kind, Problem};

/// What every answer tells a browser, whatever it holds.
const SECURITY: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];
/// Of what is no page.
const NO_CONTENT: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// A year, as RFC 6797 has it in its examples.
const ONLY_ENCRYPTED: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// What the layers around every request know.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) life: Life,
    pub(super) config: Arc<Config>,
}

/// The outermost layer of the router.
pub(super) async fn surround(
    State(Surroundings { life, config }): State<Surroundings>,
    mut request: Request,
    next: Next,
) -> Response {
    let arrival = request.extensions().get::<Arrival>().copied();
    let peer = arrival.and_then(|arrival| arrival.peer);
    let address = peer.map(|peer| client(peer.ip(), request.headers(), &config.server.trusted_proxies));
    let id = RequestId::of(request.headers());
    let trace = TraceContext::of(request.headers());
    let span = span(&request, &id, trace);
    if let Some(address) = address {
        span.record("client", tracing::field::display(address));
        request.extensions_mut().insert(ClientAddress(address));
    }
    request.extensions_mut().insert(arrival.map_or(Via::Public, |arrival| arrival.via));
    let mut access = Access { span: span.clone(), begun: Instant::now(), status: None, whole: false };
    let (method, version) = (request.method().clone(), request.version());
    let dubious = request.headers().contains_key(header::TRANSFER_ENCODING) || has_two_hosts(&request);
    request.extensions_mut().insert(id.clone());

    let response = next.run(request).instrument(span.clone()).await;
    let mut response = named(response, &id, &method);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    if let Some(value) = trace.header() {
        headers.insert(TRACEPARENT, value);
    }
    headers.extend(SECURITY);
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NO_CONTENT);
    if arrival.is_some_and(|arrival| arrival.encrypted) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, ONLY_ENCRYPTED);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // HTTP/2 has no such header: its connections are sent a GOAWAY where they are driven. A request that also has a
    // `Content-Length` may be two in the eyes of a proxy, so its connection must end (RFC 9112, section 6.3); hyper drops
    // that header where there is a `Transfer-Encoding`, so all of these end. Of two hosts a proxy may have meant the other.
    if version < Version::HTTP_2 && (dubious || life.now() == Phase::Draining) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    access.status = Some(response.status().as_u16());
    // A body that is never asked for is whole from the start.
    access.whole = method == Method::HEAD || http_body::Body::is_end_stream(response.body());
    response.map(|body| Body::new(Logged { body, access }))
}

/// The innermost layer: refuses what no route here should see, and answers where one panicked.
pub(super) async fn admit(
    State(Surroundings { config, .. }): State<Surroundings>,
    request: Request,
    next: Next,
) -> Response {
    if has_two_hosts(&request) {
        let detail = "Send one `Host` header, not several.";
        return Problem::new(Kind::InvalidRequest, detail).into_response();
    }
    let uri = request.uri();
    let length = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if length > config.server.max_url_bytes {
        return Problem::from(Kind::UriTooLong).into_response();
    }
    let via = request.extensions().get::<Via>().copied().unwrap_or(Via::Public);
    if !via.serves(uri.path(), config.admin.listen.is_some()) {
        return Problem::from(Kind::RouteNotFound).into_response();
    }
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    answer.unwrap_or_else(|_| {
        tracing::error!("a handler panicked");
        Problem::from(Kind::Internal).into_response()
    })
}

/// RFC 9112, section 3.2.
fn has_two_hosts(request: &Request) -> bool {
    request.headers().get_all(header::HOST).iter().nth(1).is_some()
}

fn span(request: &Request, id: &RequestId, trace: TraceContext) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str);
    tracing::info_span!(
        "request",
        request_id = id.as_str(),
        trace_id = format_args!("{:032x}", trace.trace),
        method = %request.method(),
        route,
        client = tracing::field::Empty,
    )
}

/// Writes a problem's body again, with the request's id in it.
fn named(mut response: Response, id: &RequestId, method: &Method) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    response.headers_mut().remove(header::CONTENT_LENGTH);
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        problem.to_value(Some(id.as_str())).to_string().into()
    };
    response.map(|_| body)
}

/// Writes the request's line in the log when it is dropped: after the last byte of the answer, or when the client left.
struct Access {
    span: Span,
    begun: Instant,
    status: Option<u16>,
    whole: bool,
}

impl Drop for Access {
    fn drop(&mut self) {
        let ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.span.in_scope(|| match self.status {
            Some(status) if self.whole => tracing::info!(status, ms, "answered"),
            Some(status) => tracing::info!(status, ms, "answered in part: the client left"),
            None => tracing::info!(ms, "not answered: the client left"),
        });
    }
}

struct Logged {
    body: Body,
    access: Access,
}

impl http_body::Body for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        // A body of known length is dropped after its last frame, without being asked for the end.
        this.access.whole |= matches!(polled, Poll::Ready(None)) || this.body.is_end_stream();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
