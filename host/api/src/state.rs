//! What handlers work with, and who is asking.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use masque_http::{BodyLimits, Lifecycle};
use masque_store::{SharedHealth, Store};
use tokio::sync::Notify;
use tokio::time::Instant;

use masque_auth::limits::UsageLimiter;
use masque_auth::{Authenticator, Identity, Principal};
use masque_companions::Active;
use masque_problem::{Kind, Problem};
use masque_turns::Turns;

use super::options::Options;
use super::store_probe::StoreProbe;

/// The state of the router: a shared handle to [`Services`]. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    services: Services,
    store_probe: StoreProbe,
}

/// The parts of the host that handlers call.
pub struct Services {
    /// What the operator set.
    pub options: Options,
    /// Conversations, turns, keys and the audit log.
    pub store: Arc<dyn Store>,
    /// The state of the memory that hosts share, for `/health`.
    pub shared: Arc<dyn SharedHealth>,
    /// The slots of the sandbox, for `/health` and `/status`.
    pub sandbox: Arc<dyn SandboxSlots>,
    /// The companions and plugins in use.
    pub active: Arc<Active>,
    /// Runs turns.
    pub turns: Turns,
    /// Finds the principal of each request.
    pub authenticator: Arc<dyn Authenticator>,
    /// Verifies tokens and API keys; `None` where authentication is off.
    pub identity: Option<Arc<Identity>>,
    /// Counts requests and tokens.
    pub limits: UsageLimiter,
    /// Told when an erasure has begun, so that its rows are removed at once.
    pub erasures: Arc<Notify>,
    /// Whether the host loads, serves or drains.
    pub lifecycle: Lifecycle,
    /// When the host was started, for the uptime in `/health`.
    pub started: Instant,
}

/// The number of plugin instances that the host can run at the same time.
///
/// `/health` and `/status` call it once per request; it must not block.
pub trait SandboxSlots: Send + Sync {
    /// Returns the slots that are free at this moment.
    fn free(&self) -> usize;

    /// Returns the number of all slots.
    fn size(&self) -> u32;
}

impl App {
    /// Wraps the services for the router.
    pub fn new(services: Services) -> Self {
        Self(Arc::new(Shared { services, store_probe: StoreProbe::default() }))
    }

    /// Whether the store works. Costs the same however often it is asked, and takes a bounded time.
    pub(crate) async fn is_store_ok(&self) -> bool {
        let store = Arc::clone(&self.store);
        self.0.store_probe.is_ok(|| async move { store.check().await }).await
    }
}

impl Deref for App {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0.services
    }
}

impl FromRef<App> for BodyLimits {
    fn from_ref(app: &App) -> Self {
        app.options.body
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
