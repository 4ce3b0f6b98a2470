//! Tests of the router over a real store and an empty active set: everything except the reply of a turn.

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
use http_body_util::{BodyExt, StreamBody};
use masque_auth::limits::{LimitOptions, UsageLimiter};
use masque_auth::{Authenticator, LocalAuthenticator, Principal};
use masque_companions::{Active, ActiveSet};
use masque_http::{BodyLimits, ConnectionInfo, Lifecycle, ListenerKind, Phase, cors};
use masque_problem::{Kind, Problem};
use masque_store::InProcessRateLimits;
use masque_store_sqlite::SqliteStore;
use masque_turns::Turns;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;
use uuid::Uuid;

use super::{App, Options, SandboxSlots, Services, loading, router};

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

fn options() -> Options {
    Options {
        max_url_bytes: 8 * 1024,
        max_message_bytes: 64,
        body: BodyLimits { max_bytes: 1024, timeout: Duration::from_millis(50) },
        keepalive: Duration::from_secs(15),
        has_admin_listener: false,
        cors: cors::Options::Nobody,
        trusted_proxies: Arc::default(),
        issuer: "masque".to_owned(),
    }
}

struct Api {
    router: Router,
    lifecycle: Lifecycle,
    _folder: tempfile::TempDir,
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Returns the fragment of the problem's `type`.
    fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        assert_eq!(body["request_id"], self.headers["x-request-id"].to_str().unwrap());
        body["type"].as_str().unwrap().rsplit('#').next().unwrap().to_owned()
    }
}

/// An authenticator that admits requests from anywhere, as on a host with authentication.
struct Open;

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
    }
}

impl Api {
    async fn new() -> Self {
        Self::with(Arc::new(LocalAuthenticator), |_| {}).await
    }

    async fn with(authenticator: Arc<dyn Authenticator>, change: impl FnOnce(&mut Options)) -> Self {
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
        let services = Services {
            sandbox: Arc::new(IdleSandbox),
            turns: Turns::new(store.clone(), Arc::clone(&active), turn_options(), Uuid::now_v7()),
            limits: UsageLimiter::new(LimitOptions::default(), Arc::new(InProcessRateLimits::default())),
            options,
            store,
            active,
            authenticator,
            identity: None,
            lifecycle: lifecycle.clone(),
            started: Instant::now(),
        };
        Self { router: router(App::new(services)), lifecycle, _folder: folder }
    }

    async fn send(&self, request: Request) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        let request = request(Method::POST, path).header("content-type", "application/json");
        self.send(request.body(body.into()).unwrap()).await
    }
}

fn request(method: Method, path: &str) -> http::request::Builder {
    http::Request::builder().method(method).uri(path).header("host", "localhost:8000")
}

#[tokio::test]
async fn what_is_no_route_is_a_problem_like_any_other() {
    let api = Api::new().await;
    for path in
        ["/nothing", "/chat/", "/turns/x/explain", "/memories", "/metrics", "/admin/jobs", "/auth/tokens"]
    {
        let answer = api.get(path).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (StatusCode::NOT_FOUND, "route-not-found"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_method_that_is_not_there_is_told_which_are() {
    let answer = Api::new().await.get("/chat").await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed")
    );
    assert_eq!(answer.headers["allow"], "POST");
}

#[tokio::test]
async fn the_guard_stands_before_every_route() {
    let api = Api::new().await;
    for path in ["/livez", "/openapi.json", "/docs", "/nothing", "/companions"] {
        let foreign = http::Request::get(path).header("host", "example.com").body(Body::empty()).unwrap();
        let answer = api.send(foreign).await;
        assert_eq!(answer.problem(), "host-not-allowed", "{path}");
        let page =
            request(Method::GET, path).header("origin", "https://example.com").body(Body::empty()).unwrap();
        assert_eq!(api.send(page).await.problem(), "origin-not-allowed", "{path}");
    }
    let form = request(Method::POST, "/chat").header("content-type", "text/plain").body("{}".into()).unwrap();
    assert_eq!(api.send(form).await.problem(), "unsupported-media-type");
}

#[tokio::test]
async fn every_kind_of_wrong_body_has_its_own_answer() {
    let api = Api::new().await;
    let large = format!("{{\"message\":\"{}\"}}", "x".repeat(2000));
    let endless = "x".repeat(20_000);
    for (body, problem) in [
        ("{", "malformed-json"),
        (" ", "malformed-json"),
        (r#"{"message":"hi","compannion":"elara"}"#, "unknown-field"),
        (r#"{"message":5}"#, "invalid-request"),
        (r#"{"message":[{"type":"image"}]}"#, "invalid-request"),
        (r#"{"message":"hi","conversation_id":"x"}"#, "invalid-request"),
        (r#"{"companion":"elara"}"#, "invalid-request"),
        (r#"{"message":" \n"}"#, "message-empty"),
        (r#"{"message":[]}"#, "message-empty"),
        (&format!("{{\"message\":\"{}\"}}", "x".repeat(65)), "message-too-large"),
        (&large, "body-too-large"),
        (&endless, "body-too-large"),
        (r#"{"message":"hi","companion":"nobody"}"#, "companion-not-found"),
    ] {
        let answer = api.post("/chat", body.to_owned()).await;
        assert_eq!(answer.problem(), problem, "{}", &body[..body.len().min(80)]);
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_not_waited_for() {
    let api = Api::new().await;
    let silent =
        StreamBody::new(futures::stream::pending::<Result<http_body::Frame<Bytes>, std::io::Error>>());
    let answer = api.post("/chat", Body::new(silent)).await;
    assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::REQUEST_TIMEOUT, "body-timeout"));
}

#[tokio::test]
async fn the_requests_own_id_comes_back_and_a_forged_one_does_not() {
    let api = Api::new().await;
    for (id, kept) in [("mine-1", true), ("mine 1", false)] {
        let asked = request(Method::GET, "/nothing").header("x-request-id", id).body(Body::empty()).unwrap();
        let answer = api.send(asked).await;
        assert_eq!(answer.headers["x-request-id"] == id, kept);
        assert_eq!(answer.json()["request_id"] == id, kept);
    }
}

#[tokio::test]
async fn an_idempotency_key_out_of_bounds_is_refused_before_anything_happens() {
    let api = Api::new().await;
    let asked = request(Method::POST, "/chat")
        .header("content-type", "application/json")
        .header("idempotency-key", "two words")
        .body(r#"{"message":"hi"}"#.into())
        .unwrap();
    let answer = api.send(asked).await;
    assert_eq!(answer.problem(), "invalid-request");
    assert_eq!(answer.json()["field"], "Idempotency-Key");
}

#[tokio::test]
async fn ids_that_are_unknown_or_none_are_not_found() {
    let api = Api::new().await;
    for id in ["x", "%ff", "018f0000-0000-7000-8000-000000000000"] {
        assert_eq!(api.get(&format!("/conversations/{id}")).await.problem(), "conversation-not-found");
        assert_eq!(
            api.get(&format!("/conversations/{id}/messages")).await.problem(),
            "conversation-not-found"
        );
        assert_eq!(api.get(&format!("/turns/{id}")).await.problem(), "turn-not-found");
        assert_eq!(api.get(&format!("/turns/{id}/events")).await.problem(), "turn-not-found");
        assert_eq!(api.post(&format!("/turns/{id}/cancel"), Body::empty()).await.problem(), "turn-not-found");
        let delete = request(Method::DELETE, &format!("/conversations/{id}")).body(Body::empty()).unwrap();
        assert_eq!(api.send(delete).await.problem(), "conversation-not-found");
    }
    assert_eq!(api.get("/docs/%ff").await.problem(), "route-not-found");
}

#[tokio::test]
async fn a_list_is_a_page_and_knows_its_own_cursors_only() {
    let api = Api::new().await;
    assert_eq!(api.get("/conversations?limit=1").await.json(), json!({ "items": [], "next": null }));
    assert_eq!(api.get("/companions").await.json(), json!({ "items": [], "next": null }));
    assert_eq!(api.get("/conversations?after=nonsense").await.problem(), "invalid-request");
    assert_eq!(api.get("/conversations?limt=1").await.problem(), "unknown-field");
}

#[tokio::test]
async fn ready_follows_the_life_of_the_host_and_alive_does_not() {
    let api = Api::new().await;
    assert_eq!(api.get("/readyz").await.problem(), "loading");
    api.lifecycle.enter(Phase::Ready);
    let answer = api.get("/readyz").await;
    assert_eq!((answer.status, answer.headers.get("connection")), (StatusCode::OK, None));
    api.lifecycle.enter(Phase::Draining);
    let answer = api.get("/readyz").await;
    assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "draining"));
    assert!(answer.headers.contains_key("retry-after"));
    let answer = api.get("/livez").await;
    assert_eq!((answer.status, answer.headers["connection"].to_str().unwrap()), (StatusCode::OK, "close"));
}

#[tokio::test]
async fn health_and_status_say_what_the_host_stands_on() {
    let api = Api::new().await;
    let health = api.get("/health").await.json();
    assert_eq!((&health["status"], &health["checks"]["store"]), (&json!("ok"), &json!("ok")));
    let status = api.get("/status").await.json();
    assert_eq!(status["generation"], 1);
    assert_eq!(status["jobs"], json!({ "queued": 0, "running": 0, "parked": 0 }));
    assert!(status["configuration"].as_str().unwrap().starts_with("sha256:"));
}

#[tokio::test]
async fn a_head_request_has_the_head_of_the_answer_alone() {
    let api = Api::new().await;
    let answer = api.send(request(Method::HEAD, "/nothing").body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::NOT_FOUND, 0));
}

#[tokio::test]
async fn no_answer_can_be_taken_for_another_type_or_kept() {
    let api = Api::new().await;
    for path in ["/companions", "/nothing", "/openapi.json", "/docs"] {
        let headers = api.get(path).await.headers;
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert!(!headers.contains_key("server"), "{path}");
    }
}

#[tokio::test]
async fn the_description_names_every_route_and_how_it_fails() {
    let document = Api::new().await.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    let mut routes: Vec<String> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            routes.push(format!("{} {path}", method.to_uppercase()));
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{status} {path}"
                );
            }
            let failure = &operation["responses"]["default"]["content"]["application/problem+json"]["schema"];
            assert_eq!(failure["$ref"], "#/components/schemas/ProblemDetails", "{method} {path}");
        }
    }
    routes.sort();
    let expected = [
        "DELETE /admin/keys/{id}",
        "DELETE /conversations/{id}",
        "GET /admin/audit",
        "GET /admin/keys",
        "GET /admin/keys/{id}",
        "GET /companions",
        "GET /conversations",
        "GET /conversations/{id}",
        "GET /conversations/{id}/messages",
        "GET /health",
        "GET /livez",
        "GET /readyz",
        "GET /status",
        "GET /turns/{id}",
        "GET /turns/{id}/events",
        "PATCH /conversations/{id}",
        "POST /admin/keys",
        "POST /admin/keys/{id}/rotate",
        "POST /admin/revocations",
        "POST /auth/token",
        "POST /auth/validate",
        "POST /chat",
        "POST /conversations",
        "POST /turns/{id}/cancel",
    ];
    assert_eq!(routes, expected);
}

#[tokio::test]
async fn every_shape_that_the_description_refers_to_is_in_it() {
    let document = Api::new().await.get("/openapi.json").await.json();
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in text.split("\"#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(schemas.contains_key(name), "{name}");
    }
    // Two schemas with the same name would overwrite each other.
    assert!(
        schemas["Message"]["properties"]["sequence"].is_object()
            && schemas["UserMessage"]["oneOf"].is_array()
    );
    let chat = &document["paths"]["/chat"]["post"]["responses"]["200"]["content"];
    assert!(
        chat["text/event-stream"]["schema"].is_object() && chat["application/json"]["schema"].is_object()
    );
}

#[tokio::test]
async fn a_host_that_loads_is_alive_and_not_ready() {
    let router = loading(&options(), true, Lifecycle::new());
    for (path, status) in [("/livez", 200), ("/readyz", 503), ("/chat", 503)] {
        let response =
            router.clone().oneshot(request(Method::GET, path).body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
    }
}

fn request_over(connection: ConnectionInfo, path: &str) -> Request {
    let request = http::Request::get(path).header("host", "localhost").extension(connection);
    request.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn every_answer_tells_browsers_to_make_nothing_of_it() {
    let api = Api::new().await;
    for path in ["/livez", "/nothing", "/docs", "/openapi.json"] {
        let headers = api.get(path).await.headers;
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["referrer-policy"], "no-referrer", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
        assert!(
            !headers.contains_key("server") && !headers.contains_key("strict-transport-security"),
            "{path}"
        );
        let policy = headers["content-security-policy"].to_str().unwrap();
        let own = path == "/docs";
        assert_eq!(policy == "default-src 'none'; frame-ancestors 'none'", !own, "{path}: {policy}");
    }
    let encrypted = ConnectionInfo { listener: ListenerKind::Public, peer: None, is_encrypted: true };
    let headers = api.send(request_over(encrypted, "/livez")).await.headers;
    assert_eq!(headers["strict-transport-security"], "max-age=31536000");
}

#[tokio::test]
async fn a_request_for_two_hosts_is_refused_whoever_asks() {
    for (authenticator, problem) in [
        (Arc::new(LocalAuthenticator) as Arc<dyn Authenticator>, "host-not-allowed"),
        (Arc::new(Open), "invalid-request"),
    ] {
        let api = Api::with(authenticator, |_| {}).await;
        let two = request(Method::GET, "/livez").header("host", "localhost").body(Body::empty()).unwrap();
        let answer = api.send(two).await;
        assert_eq!(answer.problem(), problem);
        assert_eq!(answer.headers["connection"], "close");
    }
}

#[tokio::test]
async fn a_url_over_the_limit_is_refused_as_such() {
    let api = Api::with(Arc::new(LocalAuthenticator), |options| options.max_url_bytes = 300).await;
    let path = |length: usize| format!("/companions?{}", "x".repeat(length - "/companions?".len()));
    assert_ne!(api.get(&path(300)).await.status, StatusCode::URI_TOO_LONG);
    let answer = api.get(&path(301)).await;
    assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::URI_TOO_LONG, "uri-too-long"));
}

#[tokio::test]
async fn where_operators_have_a_listener_their_routes_are_there_alone() {
    let api = Api::with(Arc::new(LocalAuthenticator), |options| options.has_admin_listener = true).await;
    let status = async |path: &str, listener| {
        let connection = ConnectionInfo { listener, peer: None, is_encrypted: false };
        api.send(request_over(connection, path)).await.status.as_u16()
    };
    for (path, public, admin) in [
        ("/status", 404, 200),
        ("/openapi.json", 404, 200),
        ("/docs", 404, 200),
        ("/docs/errors", 404, 200),
        ("/livez", 200, 200),
        ("/health", 200, 200),
        ("/companions", 200, 404),
        ("/conversations", 200, 404),
    ] {
        assert_eq!(status(path, ListenerKind::Public).await, public, "{path}");
        assert_eq!(status(path, ListenerKind::Admin).await, admin, "{path}");
        assert_eq!(status(path, ListenerKind::Socket).await, admin, "{path}");
    }
}

#[tokio::test]
async fn the_guard_is_for_what_a_browser_can_reach() {
    let api = Api::new().await;
    for (listener, status) in
        [(ListenerKind::Public, 421), (ListenerKind::Admin, 421), (ListenerKind::Socket, 200)]
    {
        let connection = ConnectionInfo { listener, peer: None, is_encrypted: false };
        let request = http::Request::get("/status").header("host", "example.com").extension(connection);
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{listener:?}");
    }
}

#[tokio::test]
async fn a_page_of_a_named_origin_may_call_and_no_other() {
    let page = "https://app.example.com";
    let api =
        Api::with(Arc::new(Open), |options| options.cors = cors::Options::Origins(vec![page.to_owned()]))
            .await;
    let preflight = |origin| {
        let request = request(Method::OPTIONS, "/chat").header("origin", origin);
        let request = request.header("access-control-request-method", "POST");
        request
            .header("access-control-request-headers", "authorization,content-type")
            .body(Body::empty())
            .unwrap()
    };

    let allowed = api.send(preflight(page)).await;
    assert_eq!(allowed.status, StatusCode::OK);
    assert_eq!(allowed.headers["access-control-allow-origin"], page);
    assert_eq!(allowed.headers["access-control-max-age"], "600");
    assert!(allowed.headers.contains_key("x-request-id"));
    assert!(!allowed.headers.contains_key("access-control-allow-credentials"));
    let list = |name: &str| allowed.headers[name].to_str().unwrap().to_lowercase();
    let (methods, headers) = (list("access-control-allow-methods"), list("access-control-allow-headers"));
    for method in ["get", "post", "patch", "delete"] {
        assert!(methods.split(',').any(|allowed| allowed == method), "{methods}");
    }
    for header in [
        "authorization",
        "content-type",
        "accept",
        "idempotency-key",
        "last-event-id",
        "x-request-id",
        "traceparent",
        "on-behalf-of",
        "on-behalf-of-issuer",
    ] {
        assert!(headers.split(',').any(|allowed| allowed == header), "{headers}");
    }
    for origin in
        ["https://example.com", "https://app.example.com.evil.test", "http://app.example.com", "null"]
    {
        let refused = api.send(preflight(origin)).await;
        assert!(!refused.headers.contains_key("access-control-allow-origin"), "{origin}");
    }

    // A web page may read the reason of the refusal.
    for path in ["/companions", "/nothing", "/chat"] {
        let answer =
            api.send(request(Method::GET, path).header("origin", page).body(Body::empty()).unwrap()).await;
        assert_ne!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.headers["access-control-allow-origin"], page, "{path}");
        let exposed = answer.headers["access-control-expose-headers"].to_str().unwrap();
        assert_eq!(exposed, "x-request-id,traceparent,retry-after,ratelimit,ratelimit-policy", "{path}");
    }
}

#[tokio::test]
async fn every_page_may_call_where_that_is_said() {
    let api = Api::with(Arc::new(Open), |options| options.cors = cors::Options::Anyone).await;
    let page = request(Method::GET, "/livez").header("origin", "https://anyone.example");
    let answer = api.send(page.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
}
