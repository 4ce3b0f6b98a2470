//! An API over a real store and an empty active set, and requests to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use masque_auth::limits::{LimitOptions, UsageLimiter};
use masque_auth::{Actor, Authenticator, LocalAuthenticator, Principal, Scopes};
use masque_companions::{Active, ActiveSet};
use masque_http::{BodyLimits, ConnectionInfo, Lifecycle, cors};
use masque_problem::{Kind, Problem};
use masque_store::{AuditEntry, AuditLog as _, InProcessRateLimits, Page, Shared};
use masque_store_sqlite::SqliteStore;
use masque_telemetry::trace::Tracer;
use masque_turns::{RecordOptions, Turns};
use serde_json::Value;
use tokio::time::Instant;
use tower::ServiceExt;
use uuid::Uuid;

use crate::{App, Options, SandboxSlots, Services, router};

/// The slots of a sandbox that runs nothing.
struct IdleSandbox;

impl SandboxSlots for IdleSandbox {
    fn free(&self) -> usize {
        4
    }

    fn size(&self) -> u32 {
        4
    }
}

pub(super) fn options() -> Options {
    Options {
        max_url_bytes: 8 * 1024,
        max_message_bytes: 64,
        body: BodyLimits { max_bytes: 1024, timeout: Duration::from_millis(50) },
        keepalive: Duration::from_secs(15),
        has_admin_listener: false,
        cors: cors::Options::Nobody,
        trusted_proxies: Arc::default(),
        issuer: "masque".to_owned(),
        record_content: "digests",
        record_share: 1.0,
        record_max_age: Duration::from_secs(7 * 24 * 60 * 60),
    }
}

pub(super) struct Api {
    router: Router,
    pub(super) lifecycle: Lifecycle,
    pub(super) store: Arc<SqliteStore>,
    pub(super) active: Arc<Active>,
    _folder: tempfile::TempDir,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: http::HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the fragment of the problem's `type`.
    pub(super) fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        assert_eq!(body["request_id"], self.headers["x-request-id"].to_str().unwrap());
        body["type"].as_str().unwrap().rsplit('#').next().unwrap().to_owned()
    }
}

/// An authenticator that admits requests from anywhere, as on a host with authentication.
pub(super) struct Open;

#[async_trait::async_trait]
impl Authenticator for Open {
    async fn authenticate(&self, request: &Parts) -> Result<Principal, Problem> {
        if request.headers.contains_key("authorization") {
            return LocalAuthenticator.authenticate(request).await;
        }
        Err(Kind::CompanionNotFound.into())
    }

    fn lets_everyone_in(&self) -> bool {
        false
    }
}

/// An authenticator for which a credential is a list of scopes.
pub(super) struct ByScopes;

#[async_trait::async_trait]
impl Authenticator for ByScopes {
    async fn authenticate(&self, request: &Parts) -> Result<Principal, Problem> {
        let Some(words) = masque_auth::bearer_credential(&request.headers)? else {
            return Err(Kind::Unauthenticated.into());
        };
        let principal = LocalAuthenticator.authenticate(request).await?;
        Ok(Principal { actor: Actor::Key, scopes: Scopes::from_words(words.split(' ')), ..principal })
    }

    fn lets_everyone_in(&self) -> bool {
        false
    }
}

fn turn_options() -> masque_turns::Options {
    masque_turns::Options {
        timeout: Duration::from_secs(60),
        max_concurrent: 8,
        max_concurrent_per_user: None,
        max_waiting: 4,
        max_wait: Duration::from_secs(1),
        linger: Duration::from_secs(1),
        linger_keyed: Duration::from_secs(1),
        log_ttl: Duration::from_secs(60),
        max_reply_bytes: 1 << 20,
        stream_hold: Duration::from_secs(10),
        heartbeat: Duration::from_secs(10),
        tracer: Tracer::off(),
        records: RecordOptions::OFF,
        record_sink: None,
    }
}

impl Api {
    pub(super) async fn new() -> Self {
        Self::with(Arc::new(LocalAuthenticator), |_| {}).await
    }

    pub(super) async fn with(
        authenticator: Arc<dyn Authenticator>,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        Self::with_services(authenticator, change, |_| {}).await
    }

    pub(super) async fn with_services(
        authenticator: Arc<dyn Authenticator>,
        change: impl FnOnce(&mut Options),
        replace: impl FnOnce(&mut Services),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = options();
        change(&mut options);
        let store = SqliteStore::open(Path::new(folder.path())).await.unwrap();
        let active = Active::new(ActiveSet {
            generation: 1,
            configuration: "sha256:0".to_owned(),
            companions: BTreeMap::new(),
            names: Arc::default(),
            plugins: BTreeMap::new(),
            redactor: Arc::default(),
        });
        let active = Arc::new(active);
        let lifecycle = Lifecycle::new();
        let host = Uuid::now_v7();
        let shared = Shared::in_process(host);
        let mut services = Services {
            shared: Shared::in_process(Uuid::now_v7()).health,
            sandbox: Arc::new(IdleSandbox),
            turns: Turns::new(store.clone(), Arc::clone(&active), turn_options(), shared, host),
            limits: UsageLimiter::new(LimitOptions::default(), Arc::new(InProcessRateLimits::default())),
            options,
            store: store.clone(),
            active: Arc::clone(&active),
            authenticator,
            identity: None,
            erasures: Arc::default(),
            lifecycle: lifecycle.clone(),
            started: Instant::now(),
        };
        replace(&mut services);
        Self { router: router(App::new(services)), lifecycle, store, active, _folder: folder }
    }

    pub(super) async fn send(&self, request: Request) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Returns the audit log, the newest entry first.
    pub(super) async fn recorded(&self) -> Vec<AuditEntry> {
        let page = self.store.audit(Page { limit: 100, after: None }).await.unwrap();
        page.items.into_iter().map(|record| record.entry).collect()
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        let request = request(Method::POST, path).header("content-type", "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }
}

pub(super) fn request(method: Method, path: &str) -> http::request::Builder {
    http::Request::builder().method(method).uri(path).header("host", "localhost:8000")
}

pub(super) fn request_over(connection: ConnectionInfo, path: &str) -> Request {
    let request = http::Request::get(path).header("host", "localhost").extension(connection);
    request.body(Body::empty()).unwrap()
}
