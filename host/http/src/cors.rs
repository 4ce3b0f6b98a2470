//! Cross-origin resource sharing (Fetch standard, section 3.2): which web pages of other origins may call the host.
//!
//! Credentials mode is never allowed, because the host uses no cookies. The layer must be outside of authentication, since
//! a preflight request carries no token.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::request_id::REQUEST_ID;
use crate::trace_context::TRACEPARENT;

/// How long a browser may cache the response to a preflight request.
const MAX_AGE: Duration = Duration::from_secs(600);

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
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            name("idempotency-key"),
            name("last-event-id"),
            name(REQUEST_ID),
            name(TRACEPARENT),
            name("on-behalf-of"),
            name("on-behalf-of-issuer"),
        ])
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
