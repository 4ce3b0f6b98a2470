//! What happens around every request: its id and trace, its line in the log, headers that every answer has, and an
//! answer even where a handler panicked.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
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

use super::phase::{Life, Phase};
use super::trace::{REQUEST_ID, RequestId, TRACEPARENT, TraceContext};
use crate::problem::{Kind, Problem};

const NOSNIFF: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));

/// The outermost layer of the router.
pub(super) async fn surround(State(life): State<Life>, mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let trace = TraceContext::of(request.headers());
    let span = span(&request, &id, trace);
    let mut access = Access { span: span.clone(), begun: Instant::now(), status: None, whole: false };
    let (method, version) = (request.method().clone(), request.version());
    request.extensions_mut().insert(id.clone());

    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let response = answer.unwrap_or_else(|_| {
        span.in_scope(|| tracing::error!("a handler panicked"));
        Problem::from(Kind::Internal).into_response()
    });

    let mut response = named(response, &id, &method);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    if let Some(value) = trace.header() {
        headers.insert(TRACEPARENT, value);
    }
    headers.insert(NOSNIFF.0, NOSNIFF.1);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // HTTP/2 has no such header: its connections are sent a GOAWAY where they are driven.
    if version < Version::HTTP_2 && life.now() == Phase::Draining {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    access.status = Some(response.status().as_u16());
    // A body that is never asked for is whole from the start.
    access.whole = method == Method::HEAD || http_body::Body::is_end_stream(response.body());
    response.map(|body| Body::new(Logged { body, access }))
}

fn span(request: &Request, id: &RequestId, trace: TraceContext) -> Span {
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str);
    tracing::info_span!(
        "request",
        request_id = id.as_str(),
        trace_id = format_args!("{:032x}", trace.trace),
        method = %request.method(),
        route,
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
