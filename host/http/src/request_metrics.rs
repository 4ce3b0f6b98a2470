//! What metrics count of every request.
//!
//! The threat: whoever may send a request chooses its method and path, and each new one would be a series. The policy: a
//! method is one of RFC 9110 and RFC 5789 or `other`, and a path is the template of its route or `other`.

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::Method;
use masque_telemetry::metrics::Raised;
use masque_telemetry::metrics::http::{REQUEST_DURATION, REQUESTS, REQUESTS_IN_PROGRESS};
use masque_telemetry::trace::TraceContext;
use tokio::time::Instant;

use crate::access_log::watched_route;
use crate::watched_body::BodyWatcher;

/// The status of a request whose client left before it was answered, as in the log of nginx. No response has it.
const CLIENT_LEFT: u16 = 499;

/// The label of methods and paths that are not known.
const OTHER: &str = "other";

/// Counts a request when it is dropped: after the last byte of the response, or when the client left.
pub(crate) struct RequestMetrics {
    method: &'static str,
    endpoint: Endpoint,
    started: Instant,
    trace: TraceContext,
    status: Option<u16>,
    _in_progress: Raised,
}

enum Endpoint {
    Route(MatchedPath),
    /// A probe or scrape, whether or not the router has it yet.
    Watched(&'static str),
    Other,
}

impl Endpoint {
    fn name(&self) -> &str {
        match self {
            Self::Route(route) => route.as_str(),
            Self::Watched(route) => route,
            Self::Other => OTHER,
        }
    }
}

impl RequestMetrics {
    /// To be called when the request arrives.
    pub(crate) fn start(request: &Request, trace: TraceContext) -> Self {
        let method = method_name(request.method());
        let route = request.extensions().get::<MatchedPath>().cloned();
        let watched = || watched_route(request.uri().path()).map_or(Endpoint::Other, Endpoint::Watched);
        let endpoint = route.map_or_else(watched, Endpoint::Route);
        let in_progress = REQUESTS_IN_PROGRESS.raise(&[method, endpoint.name()]);
        Self { method, endpoint, started: Instant::now(), trace, status: None, _in_progress: in_progress }
    }

    /// Notes the response. This value has to live as long as its body, so that the request is counted at its end.
    pub(crate) fn answer(&mut self, response: &Response) {
        self.status = Some(response.status().as_u16());
    }
}

impl BodyWatcher for RequestMetrics {
    fn complete(&mut self) {}
}

impl Drop for RequestMetrics {
    fn drop(&mut self) {
        let status = self.status.unwrap_or(CLIENT_LEFT).to_string();
        let labels = [self.method, self.endpoint.name(), &status];
        REQUESTS.increment(&labels);
        REQUEST_DURATION.observe_traced(&labels, self.started.elapsed().as_secs_f64(), self.trace);
    }
}

/// The name of a known method, which is also the label.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "PUT" => "PUT",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::routing::any;
    use futures::StreamExt;
    use tokio::sync::oneshot;
    use tower::ServiceExt;

    use super::*;
    use crate::watched_body::watch;

    fn request(method: &str, path: &str) -> Request {
        Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
    }

    async fn measure(request: Request, next: axum::middleware::Next) -> Response {
        let mut metrics = RequestMetrics::start(&request, TraceContext::root());
        let response = next.run(request).await;
        metrics.answer(&response);
        watch(response, metrics)
    }

    #[tokio::test]
    async fn labels_are_routes_and_known_methods_whatever_is_sent() {
        let router = Router::new()
            .route("/measured/{id}", any(|| async { "done" }))
            .fallback(|| async { http::StatusCode::NOT_FOUND })
            .layer(from_fn(measure));
        let counted =
            |method: &str, endpoint: &str, status: &str| REQUESTS.value(&[method, endpoint, status]);
        let unknown_before = counted("GET", OTHER, "404");
        for id in ["1", "2", "3?secret=4"] {
            for method in ["GET", "PROPFIND", "BREW"] {
                drop(router.clone().oneshot(request(method, &format!("/measured/{id}"))).await.unwrap());
            }
            drop(router.clone().oneshot(request("GET", &format!("/unknown/{id}"))).await.unwrap());
        }
        assert_eq!(counted("GET", "/measured/{id}", "200"), 3);
        assert_eq!(counted(OTHER, "/measured/{id}", "200"), 6);
        assert_eq!(counted("GET", OTHER, "404"), unknown_before + 3);
        let page = masque_telemetry::metrics::encode(None).body;
        for sent in ["PROPFIND", "BREW", "/unknown", "secret", "/measured/1"] {
            assert!(!page.contains(sent), "{sent}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_streamed_reply_is_in_progress_to_its_last_byte_and_that_is_its_duration() {
        let (release, released) = oneshot::channel::<()>();
        let stream = futures::stream::iter(["first"]).chain(futures::stream::once(async {
            released.await.unwrap();
            "last"
        }));
        let body = Body::from_stream(stream.map(Ok::<_, std::convert::Infallible>));
        let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
        let router = Router::new()
            .route("/streamed", any(move || std::future::ready(body.lock().unwrap().take().unwrap())))
            .layer(from_fn(measure));
        let labels = ["GET", "/streamed", "200"];
        let in_progress = || REQUESTS_IN_PROGRESS.value(&["GET", "/streamed"]);

        let response = router.oneshot(request("GET", "/streamed")).await.unwrap();
        let mut frames = response.into_body().into_data_stream();
        assert_eq!(frames.next().await.unwrap().unwrap(), "first");
        assert_eq!((in_progress(), REQUESTS.value(&labels)), (1.0, 0));
        tokio::time::advance(std::time::Duration::from_secs(20)).await;
        release.send(()).unwrap();
        assert_eq!(frames.next().await.unwrap().unwrap(), "last");
        drop(frames);
        assert_eq!((in_progress(), REQUESTS.value(&labels)), (0.0, 1));
        let duration = REQUEST_DURATION.with(&labels).unwrap();
        assert_eq!(duration.get_sample_count(), 1);
        assert!((20.0..21.0).contains(&duration.get_sample_sum()), "{}", duration.get_sample_sum());
    }

    #[tokio::test]
    async fn a_probe_is_counted_as_one_before_the_host_has_routes() {
        let router = Router::new()
            .fallback(|| async { http::StatusCode::SERVICE_UNAVAILABLE })
            .layer(from_fn(measure));
        let counted = |endpoint: &str| REQUESTS.value(&["GET", endpoint, "503"]);
        let other_before = counted(OTHER);
        drop(router.oneshot(request("GET", "/readyz")).await.unwrap());
        assert_eq!((counted("/readyz"), counted(OTHER)), (1, other_before));
    }

    #[test]
    fn a_request_whose_client_left_before_the_answer_is_in_progress_no_more_and_counted_as_such() {
        let counted = || REQUESTS.value(&["TRACE", OTHER, "499"]);
        let before = counted();
        let metrics = RequestMetrics::start(&request("TRACE", "/never"), TraceContext::root());
        assert_eq!(REQUESTS_IN_PROGRESS.value(&["TRACE", OTHER]), 1.0);
        drop(metrics);
        assert_eq!(REQUESTS_IN_PROGRESS.value(&["TRACE", OTHER]), 0.0);
        assert_eq!(counted(), before + 1);
    }
}
