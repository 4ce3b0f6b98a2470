//! The lines that every request has in the log: one when it starts, one when it is completed or its client left.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tracing::Span;

/// Routes that are asked all the time, by whoever watches the host. Their lines have the level `debug`.
const WATCHED_ROUTES: [&str; 4] = ["/livez", "/readyz", "/health", "/metrics"];
const COMPLETED: &str = "request completed";
/// The client left before the response was complete.
const ABORTED: &str = "request aborted";

/// Writes the last line of a request when it is dropped: after the last byte of the response, or when the client left.
pub(crate) struct AccessLog {
    span: Span,
    method: Method,
    route: String,
    started: Instant,
    status: Option<u16>,
    /// Whether the whole response was sent.
    is_complete: bool,
}

/// A duration in seconds, such as `1.234s`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.3}s", self.0.as_secs_f64())
    }
}

impl AccessLog {
    /// To be called when the request arrives. `route` is the template of its path, `-` if it has none. The lines are written
    /// within `span`.
    pub(crate) fn start(span: Span, method: Method, route: String) -> Self {
        span.in_scope(|| {
            if is_watched(&route) {
                tracing::debug!(%method, %route, "request started");
            } else {
                tracing::info!(%method, %route, "request started");
            }
        });
        Self { span, method, route, started: Instant::now(), status: None, is_complete: false }
    }

    /// Moves this log into the response's body, so that the last line is written at its end.
    pub(crate) fn attach(mut self, response: Response) -> Response {
        self.status = Some(response.status().as_u16());
        // hyper does not poll such a body.
        self.is_complete = self.method == Method::HEAD || http_body::Body::is_end_stream(response.body());
        response.map(|body| Body::new(LoggedBody { body, log: self }))
    }
}

/// The route of a path that is asked all the time. Its name is known also while the host starts and has no routes yet.
pub(crate) fn watched_route(path: &str) -> Option<&'static str> {
    WATCHED_ROUTES.into_iter().find(|route| *route == path)
}

fn is_watched(route: &str) -> bool {
    WATCHED_ROUTES.contains(&route)
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        let Self { span, method, route, started, status, is_complete } = self;
        let duration = Seconds(started.elapsed());
        let message = if *is_complete { COMPLETED } else { ABORTED };
        span.in_scope(|| {
            if is_watched(route) {
                tracing::debug!(%method, %route, status = *status, %duration, "{message}");
            } else {
                tracing::info!(%method, %route, status = *status, %duration, "{message}");
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_in_seconds() {
        for (milliseconds, text) in [(0, "0.000s"), (1234, "1.234s"), (65_000, "65.000s")] {
            assert_eq!(Seconds(Duration::from_millis(milliseconds)).to_string(), text);
        }
    }
}
