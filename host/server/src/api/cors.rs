//! Which web pages may call the host (Fetch, section 3.2): those of the configured origins, and without cookies, which the
//! host knows none of. Stands outside of authentication, since a preflight carries no token.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::trace::{REQUEST_ID, TRACEPARENT};
use crate::config::Cors;

/// How long a browser may keep the answer to a preflight.
const MAX_AGE: Duration = Duration::from_secs(600);

/// `None` where no page of another origin may call.
pub(super) fn layer(cors: &Cors) -> Option<CorsLayer> {
    let origins = match cors {
        Cors::Nobody => return None,
        Cors::Anyone => AllowOrigin::any(),
        // Those that are no header values were refused when they were read.
        Cors::Origins(origins) => {
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
