//! The innermost layer around every route: refuses requests that no route should see, and answers if a handler panics.

use std::panic::AssertUnwindSafe;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use masque_http::{ListenerKind, has_several_hosts};

use super::listeners::{is_served, not_served};
use masque_problem::{Kind, Problem};

/// Which requests reach a route.
#[derive(Clone, Copy)]
pub(super) struct RequestPolicy {
    /// The longest path with its query, in bytes.
    pub(super) max_url_bytes: usize,
    /// Whether operators have an address of their own.
    pub(super) has_admin_listener: bool,
}

/// For `axum::middleware::from_fn_with_state`, inside of `masque_http::track_request`.
pub(super) async fn admit(State(policy): State<RequestPolicy>, request: Request, next: Next) -> Response {
    if has_several_hosts(request.headers()) {
        let detail = "Send one `Host` header, not several.";
        return Problem::new(Kind::InvalidRequest, detail).into_response();
    }
    let uri = request.uri();
    let length = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if length > policy.max_url_bytes {
        return Problem::from(Kind::UriTooLong).into_response();
    }
    let listener = request.extensions().get::<ListenerKind>().copied().unwrap_or(ListenerKind::Public);
    if !is_served(listener, uri.path(), policy.has_admin_listener) {
        return not_served(listener, uri.path(), policy.has_admin_listener).into_response();
    }
    let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    response.unwrap_or_else(|_| {
        tracing::error!("a handler panicked");
        Problem::from(Kind::Internal).into_response()
    })
}
