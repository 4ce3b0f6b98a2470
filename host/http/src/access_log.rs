//! The line that every request has in the log.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tracing::Span;

/// Writes the request's line in the log when it is dropped: after the last byte of the response, or when the client
/// left.
pub(crate) struct AccessLog {
    span: Span,
    started: Instant,
    status: Option<u16>,
    /// Whether the whole response was sent.
    is_complete: bool,
}

impl AccessLog {
    /// To be called when the request arrives. The line is written within `span`.
    pub(crate) fn start(span: Span) -> Self {
        Self { span, started: Instant::now(), status: None, is_complete: false }
    }

    /// Moves this log into the response's body, so that the line is written at its end.
    pub(crate) fn attach(mut self, response: Response, method: &Method) -> Response {
        self.status = Some(response.status().as_u16());
        // hyper does not poll such a body.
        self.is_complete = method == Method::HEAD || http_body::Body::is_end_stream(response.body());
        response.map(|body| Body::new(LoggedBody { body, log: self }))
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.span.in_scope(|| match self.status {
            Some(status) if self.is_complete => tracing::info!(status, ms, "answered"),
            Some(status) => tracing::info!(status, ms, "answered in part: the client left"),
            None => tracing::info!(ms, "not answered: the client left"),
        });
    }
}

struct LoggedBody {
    body: Body,
    log: AccessLog,
}

impl http_body::Body for LoggedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        // hyper drops a body of known length after its last frame, without polling it for the end.
        this.log.is_complete |= matches!(polled, Poll::Ready(None)) || this.body.is_end_stream();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
