//! The lines that every request has in the log: one when it starts, one when it is completed or its client left.

use std::fmt;
use std::time::Duration;

use axum::response::Response;
use http::Method;
use tokio::time::Instant;
use tracing::Span;

use crate::watched_body::BodyWatcher;

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

    /// Notes the response. This log has to live as long as its body.
    pub(crate) fn answer(&mut self, response: &Response) {
        self.status = Some(response.status().as_u16());
        // hyper does not poll such a body.
        self.is_complete = self.method == Method::HEAD || http_body::Body::is_end_stream(response.body());
    }
}

/// The route of a path that is asked all the time. Its name is known also while the host starts and has no routes yet.
pub(crate) fn watched_route(path: &str) -> Option<&'static str> {
    WATCHED_ROUTES.into_iter().find(|route| *route == path)
}

impl BodyWatcher for AccessLog {
    fn complete(&mut self) {
        self.is_complete = true;
    }
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
