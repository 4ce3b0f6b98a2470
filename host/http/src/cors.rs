//! Cross-origin resource sharing (Fetch standard, section 3.2): which web pages of other origins may call the host.
//!
//! Credentials mode is never allowed, because the host uses no cookies. The layer must be outside of authentication, since
//! a preflight request carries no token.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::request_id::REQUEST_ID;
use masque_telemetry::trace::TRACEPARENT;

/// How long a browser may cache the response to a preflight request.
const MAX_AGE: Duration = Duration::from_secs(600);

/// The headers that a page may send besides those that every page may. Tracing libraries add theirs to every request (W3C
/// Trace Context and Baggage, Sentry, B3), and `EventSource` replacements ask for no caching; a header that is missing here
/// makes the browser drop the whole request. The host reads none of the last group.
const ALLOWED_HEADERS: [&str; 19] = [
    "authorization",
    "content-type",
    "accept",
    "idempotency-key",
    "last-event-id",
    REQUEST_ID,
    TRACEPARENT,
    "on-behalf-of",
    "on-behalf-of-issuer",
    // Not read by the host.
    "tracestate",
    "baggage",
    "sentry-trace",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "cache-control",
    "pragma",
    "x-requested-with",
];

/// The origins whose pages may call the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Options {
    /// No other origin.
    Nobody,
    /// Every origin.
    Anyone,
    /// These origins, as browsers write them.
    Origins(Vec<String>),
}

/// The layer that answers preflight requests and adds the CORS headers; `None` if no other origin may call.
///
/// Origins that are no header values are ignored: they match no request.
pub fn layer(options: &Options) -> Option<CorsLayer> {
    let origins = match options {
        Options::Nobody => return None,
        Options::Anyone => AllowOrigin::any(),
        Options::Origins(origins) => {
            AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::try_from(origin).ok()))
        }
    };
    let name = HeaderName::from_static;
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
        .allow_headers(ALLOWED_HEADERS.map(name))
        .expose_headers([
            name(REQUEST_ID),
            name(TRACEPARENT),
            header::RETRY_AFTER,
            name("ratelimit"),
            name("ratelimit-policy"),
        ])
        .max_age(MAX_AGE);
    Some(layer)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Request, Response};
    use tower::{Layer, ServiceExt, service_fn};

    use super::*;

    /// The headers that the answer to a preflight request allows.
    async fn allowed_headers(origin: &str) -> Option<String> {
        let options = Options::Origins(vec!["https://app.example".into(), "tauri://localhost".into()]);
        let routes = service_fn(|_: Request<Body>| async {
            Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
        });
        let service = layer(&options).unwrap().layer(routes);
        let request = Request::options("/chat")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "cache-control,tracestate,baggage")
            .body(Body::empty())
            .unwrap();
        let response = service.oneshot(request).await.unwrap();
        let header =
            |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (header("access-control-allow-origin").as_deref() == Some(origin))
            .then(|| header("access-control-allow-headers").unwrap())
    }

    #[tokio::test]
    async fn a_page_or_an_app_may_send_what_tracing_and_event_libraries_add() {
        for origin in ["https://app.example", "tauri://localhost"] {
            let allowed = allowed_headers(origin).await.unwrap();
            let allowed: Vec<&str> = allowed.split(',').map(str::trim).collect();
            for name in
                ["cache-control", "tracestate", "baggage", "traceparent", "authorization", "last-event-id"]
            {
                assert!(allowed.contains(&name), "{name} is not in {allowed:?}");
            }
        }
        assert_eq!(allowed_headers("tauri://other").await, None);
    }
}
