//! The router: every route, and the layers around all of them.

use std::future::ready;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_body::Body as _;
use masque_http::{Lifecycle, ListenerKind, cors, track_request};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::listeners::{is_served, not_served};
use super::options::Options;
use super::request::{self, RequestPolicy};
use super::state::App;
use super::{
    admin, admission, auth, chat, companions, conversations, docs, explain, health, metrics, nearest_route,
    openapi, probes, turns, user_data,
};
use masque_auth::guard;
use masque_problem::{Kind, Problem};

/// Returns the router of the whole API.
pub fn router(app: App) -> Router {
    let (options, lifecycle) = (app.options.clone(), app.lifecycle.clone());
    let is_local_only = app.authenticator.lets_everyone_in();
    let has_admin_listener = options.has_admin_listener;
    let (router, mut document) = OpenApiRouter::with_openapi(openapi::document())
        .routes(routes!(chat::chat))
        .routes(routes!(turns::show))
        .routes(routes!(turns::events))
        .routes(routes!(turns::cancel))
        .routes(routes!(explain::route::explain))
        .routes(routes!(conversations::create, conversations::list))
        .routes(routes!(conversations::show, conversations::rename, conversations::delete))
        .routes(routes!(conversations::messages))
        .routes(routes!(user_data::export::export, user_data::erasure::erase))
        .routes(routes!(user_data::erasure::receipt))
        .routes(routes!(companions::list))
        .routes(routes!(auth::mint))
        .routes(routes!(auth::validate))
        .routes(routes!(admin::keys::list, admin::keys::create))
        .routes(routes!(admin::keys::show, admin::keys::revoke))
        .routes(routes!(admin::keys::rotate))
        .routes(routes!(admin::revocations::revoke))
        .routes(routes!(admin::audit::list))
        .routes(routes!(admin::log::show, admin::log::change))
        .routes(routes!(probes::health))
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
        .routes(routes!(health::status))
        .routes(routes!(metrics::metrics))
        .split_for_parts();
    openapi::complete(&mut document);
    let router = router
        .route("/openapi.json", get(openapi::serve(&document)))
        .route("/docs", get(docs::page))
        .route("/docs/errors", get(docs::errors))
        .route("/docs/{file}", get(docs::file))
        .fallback(move |request: Request| ready(no_route(&request, has_admin_listener)))
        .layer(from_fn_with_state(app.clone(), admission::admit))
        .with_state(app);
    with_outer_layers(router, &options, is_local_only, lifecycle)
}

/// The answer to a path that is no route. It names the route that the path nearly is.
fn no_route(request: &Request, has_admin_listener: bool) -> Problem {
    let listener = request.extensions().get::<ListenerKind>().copied().unwrap_or(ListenerKind::Public);
    let path = request.uri().path();
    match nearest_route::hint(path, |path| is_served(listener, path, has_admin_listener)) {
        Some(hint) => Problem::new(Kind::RouteNotFound, hint),
        None => not_served(listener, path, has_admin_listener),
    }
}

/// Returns the router of a host that loads: it answers `/livez`, and every other path with a problem that says so. `/metrics` is
/// served where it needs no credential, so that an alert says that a host takes long to load and not that it can't be scraped; on
/// the public listener of a host with authentication, credentials can't be checked before it has loaded.
///
/// `is_local_only` says whether authentication is off.
pub fn loading(options: &Options, is_local_only: bool, lifecycle: Lifecycle) -> Router {
    let router = Router::new()
        .route("/livez", get(probes::livez_while_loading))
        .route("/metrics", get(move |request: Request| metrics_while_loading(is_local_only, request)))
        .fallback(|| ready(Problem::from(Kind::Loading)));
    with_outer_layers(router, options, is_local_only, lifecycle)
}

/// The metrics of a host that loads. Which listener has the route is decided before.
async fn metrics_while_loading(is_local_only: bool, request: Request) -> Result<Response, Problem> {
    let listener = request.extensions().get::<ListenerKind>().copied().unwrap_or(ListenerKind::Public);
    if listener == ListenerKind::Public && !is_local_only {
        return Err(Kind::Loading.into());
    }
    metrics::metrics(request.headers().clone()).await
}

/// Adds the layers that surround every path, unknown ones included.
fn with_outer_layers(router: Router, options: &Options, is_local_only: bool, lifecycle: Lifecycle) -> Router {
    let policy = RequestPolicy {
        max_url_bytes: options.max_url_bytes,
        has_admin_listener: options.has_admin_listener,
    };
    let router = router.layer(from_fn_with_state(policy, request::admit));
    let router = if is_local_only { router.layer(from_fn(refuse_foreign_pages)) } else { router };
    let router = match cors::layer(&options.cors) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.layer(from_fn_with_state(options.request_context(lifecycle), track_request))
}

/// Without authentication, keeps web pages of other origins from using the host (see [`guard`]).
async fn refuse_foreign_pages(request: Request, next: Next) -> Response {
    // A web page can't reach a Unix socket.
    if request.extensions().get() == Some(&ListenerKind::Socket) {
        return next.run(request).await;
    }
    let has_body = !request.body().is_end_stream();
    match guard::check(request.uri(), request.headers(), has_body) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
