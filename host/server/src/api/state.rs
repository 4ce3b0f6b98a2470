//! What handlers work with, and who is asking.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use masque_http::{BodyLimits, Lifecycle};
use masque_runtime::Sandbox;
use masque_store::Store;
use tokio::time::Instant;

use crate::active::Active;
use crate::auth::{Authenticator, Identity, Principal};
use crate::config::Config;
use crate::convert;
use crate::limits::Limits;
use crate::problem::{Kind, Problem};
use crate::turn::Turns;

/// The state of the router: a shared handle to [`Services`].
#[derive(Clone)]
pub(crate) struct App(Arc<Services>);

/// The parts of the host that handlers call.
pub(crate) struct Services {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) active: Arc<Active>,
    pub(crate) turns: Turns,
    pub(crate) authenticator: Arc<dyn Authenticator>,
    /// Verifies tokens and API keys; `None` where authentication is off.
    pub(crate) identity: Option<Arc<Identity>>,
    pub(crate) limits: Limits,
    pub(crate) lifecycle: Lifecycle,
    /// When the host was started, for the uptime in `/health`.
    pub(crate) started: Instant,
}

impl App {
    /// Wraps the services for the router.
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

/// The principal that admission found. A handler has no other way to learn who is asking.
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
