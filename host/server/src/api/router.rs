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

use super::request::{self, RequestPolicy};
use super::state::App;
use super::{admin, admission, auth, chat, companions, conversations, docs, health, openapi, turns};
use crate::auth::guard;
use crate::config::Config;
use crate::convert;
use crate::problem::{Kind, Problem};

/// The whole API.
pub(crate) fn router(app: App) -> Router {
    let (config, lifecycle) = (app.config.clone(), app.lifecycle.clone());
    let guarded = app.authenticator.lets_everyone_in();
    let (router, mut document) = OpenApiRouter::with_openapi(openapi::document())
        .routes(routes!(chat::chat))
        .routes(routes!(turns::show))
        .routes(routes!(turns::events))
        .routes(routes!(turns::cancel))
        .routes(routes!(conversations::create, conversations::list))
        .routes(routes!(conversations::show, conversations::rename, conversations::delete))
        .routes(routes!(conversations::messages))
        .routes(routes!(companions::list))
        .routes(routes!(auth::mint))
        .routes(routes!(auth::validate))
        .routes(routes!(admin::keys::list, admin::keys::create))
        .routes(routes!(admin::keys::show, admin::keys::revoke))
        .routes(routes!(admin::keys::rotate))
        .routes(routes!(admin::revocations::revoke))
        .routes(routes!(admin::audit::list))
        .routes(routes!(health::health))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::status))
        .split_for_parts();
    openapi::complete(&mut document);
    let router = router
        .route("/openapi.json", get(openapi::serve(&document)))
        .route("/docs", get(docs::page))
        .route("/docs/errors", get(docs::errors))
        .route("/docs/{file}", get(docs::file))
        .fallback(|| ready(Problem::from(Kind::RouteNotFound)))
        .layer(from_fn_with_state(app.clone(), admission::admit))
        .with_state(app);
    surrounded(router, guarded, &config, lifecycle)
}

/// What is answered before there is anything to answer with.
pub(crate) fn loading(config: &Config, lifecycle: Lifecycle) -> Router {
    let router =
        Router::new().route("/livez", get(health::livez)).fallback(|| ready(Problem::from(Kind::Loading)));
    surrounded(router, !config.auth.required, config, lifecycle)
}

/// What stands around every route, the ones that are none included.
fn surrounded(router: Router, guarded: bool, config: &Config, lifecycle: Lifecycle) -> Router {
    let policy = RequestPolicy {
        max_url_bytes: config.server.max_url_bytes,
        has_admin_listener: config.admin.listen.is_some(),
    };
    let router = router.layer(from_fn_with_state(policy, request::admit));
    let router = if guarded { router.layer(from_fn(guard)) } else { router };
    let router = match cors::layer(&convert::http::cors(&config.cors)) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.layer(from_fn_with_state(convert::http::request_context(&config.server, lifecycle), track_request))
}

async fn guard(request: Request, next: Next) -> Response {
    // Browsers don't speak to Unix sockets.
    if request.extensions().get() == Some(&ListenerKind::Socket) {
        return next.run(request).await;
    }
    let has_body = !request.body().is_end_stream();
    match guard::check(request.uri(), request.headers(), has_body) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
