//! The HTTP API: routes, what their requests may look like, and how answers are written down. What a turn is, what is
//! kept and who is asking is decided elsewhere; sockets are the business of `serve`.

use std::future::ready;
use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, FromRequestParts, Request};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::request::Parts;
use http_body::Body as _;
use masque_http::{BodyLimits, Lifecycle, ListenerKind, cors, track_request};
use masque_runtime::Sandbox;
use masque_store::Store;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::active::Active;
use crate::auth::{Authenticator, Identity, Principal, guard};
use crate::config::Config;
use crate::convert;
use crate::limits::Limits;
use crate::problem::{Kind, Problem};
use crate::turn::Turns;

mod access;
mod admin;
mod admission;
mod auth;
mod chat;
mod companions;
mod conversations;
mod docs;
mod health;
mod id;
mod idempotency;
mod listeners;
mod openapi;
mod query;
mod request;
mod sse;
mod turns;
mod view;

use request::RequestPolicy;

/// The names by which authentication still knows listeners.
pub(crate) mod arrival {
    pub(crate) use masque_http::ListenerKind as Via;
}

/// What handlers work with.
#[derive(Clone)]
pub(crate) struct App(Arc<Services>);

pub(crate) struct Services {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) active: Arc<Active>,
    pub(crate) turns: Turns,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    /// What knows tokens and keys; `None` where authentication is off.
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) limits: Limits,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) started: Instant,
}

impl App {
    pub(crate) fn new(services: Services) -> Self {
        Self(Arc::new(services))
    }
}

impl Deref for App {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

impl FromRef<App> for BodyLimits {
    fn from_ref(app: &App) -> Self {
        convert::http::body_limits(&app.config.server)
    }
}

/// Who is asking, as admission found: the only way a handler learns it.
pub(crate) struct Caller(pub(crate) Principal);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let admitted = parts.extensions.get::<Principal>().cloned();
        admitted.map(Self).ok_or_else(|| {
            tracing::error!("a route that asks for no principal has a handler that does");
            Kind::Internal.into()
        })
    }
}

/// The whole API.
pub(crate) fn router(app: App) -> Router {
    let (config, lifecycle) = (Arc::clone(&app.config), app.lifecycle.clone());
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

#[cfg(test)]
mod tests;
