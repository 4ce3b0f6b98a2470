//! Each cause for which a host is not healthy, and who is told more.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use http::Method;
use masque_auth::LocalAuthenticator;
use masque_companions::{ReloadOutcome, ReloadReport};
use masque_http::{ConnectionInfo, ListenerKind, Phase};
use masque_store::{SharedHealth, SharedStatus, StoreConnection as _};
use serde_json::{Value, json};

use super::setup::{Api, ByScopes, request, request_over};
use crate::{SandboxSlots, Services};

/// What no answer of a probe may contain.
const SECRET: &str = "redis://10.9.8.7:6379";

struct FullSandbox;

impl SandboxSlots for FullSandbox {
    fn free(&self) -> usize {
        0
    }

    fn size(&self) -> u32 {
        4
    }
}

struct Redis(SharedStatus);

impl SharedHealth for Redis {
    fn status(&self) -> SharedStatus {
        self.0.clone()
    }
}

async fn ready(replace: impl FnOnce(&mut Services)) -> Api {
    let api = Api::with_services(Arc::new(LocalAuthenticator), |_| {}, replace).await;
    api.lifecycle.enter(Phase::Ready);
    api
}

/// Asserts what all probes say: the one check that is not as it should be, and whether the host is ready.
async fn expect(api: &Api, check: &str, state: &str, is_ready: bool) {
    let answer = api.get("/health").await;
    let health = answer.json();
    assert_eq!(answer.status, 200, "{check}");
    let checks = health["checks"].as_object().unwrap();
    let wrong: Vec<_> =
        checks.iter().filter(|(_, state)| !["ok", "ready"].contains(&state.as_str().unwrap())).collect();
    assert_eq!(wrong, [(&check.to_owned(), &json!(state))]);
    assert_eq!(health["status"], "degraded", "{check}");
    assert_eq!(health.as_object().unwrap().len(), 2, "states alone: {health}");

    let answer = api.get("/readyz").await;
    assert_eq!(answer.status.as_u16(), if is_ready { 200 } else { 503 }, "{check}");
    for path in ["/health", "/readyz", "/livez", "/health?verbose", "/readyz?verbose"] {
        let text = String::from_utf8(api.get(path).await.body.to_vec()).unwrap();
        assert!(!text.contains(SECRET), "{path}: {text}");
    }

    let verbose = api.get("/health?verbose").await.json();
    let causes = verbose["details"]["causes"].as_array().unwrap();
    assert_eq!((causes.len(), &causes[0]["check"], &causes[0]["state"]), (1, &json!(check), &json!(state)));
    assert!(causes[0]["meaning"].as_str().unwrap().ends_with('.'));
    let verbose = api.get("/readyz?verbose").await.json();
    let causes = if is_ready { &verbose["details"]["causes"] } else { &verbose["causes"] };
    assert_eq!(causes.as_array().unwrap().len(), usize::from(!is_ready), "{check}");
    assert_eq!(api.get("/livez").await.json(), json!({ "status": "ok" }), "{check}");
}

#[tokio::test]
async fn a_host_that_loads_or_drains_says_so() {
    let api = Api::new().await;
    expect(&api, "phase", "loading", false).await;
    api.lifecycle.enter(Phase::Draining);
    expect(&api, "phase", "draining", false).await;
}

#[tokio::test]
async fn a_host_that_can_not_use_the_active_set_is_blocked() {
    let api = ready(|_| {}).await;
    api.active.set_obstacle(Some(format!("{SECRET} is in the way")));
    expect(&api, "active_set", "blocked", false).await;
    api.active.set_obstacle(None);
    assert_eq!(api.get("/health").await.json()["status"], "ok");
}

#[tokio::test]
async fn a_host_whose_change_of_configuration_was_refused_goes_on_and_is_degraded() {
    let api = ready(|_| {}).await;
    let report = |outcome| ReloadReport {
        at: SystemTime::now(),
        outcome,
        generation: 1,
        problems: vec![format!("masque.toml:1: {SECRET}")],
    };
    api.active.record(report(ReloadOutcome::Refused));
    expect(&api, "configuration", "refused", true).await;
    api.active.record(report(ReloadOutcome::Applied));
    assert_eq!(api.get("/health").await.json()["status"], "ok");
}

#[tokio::test]
async fn a_host_without_its_store_stays_ready_since_all_hosts_have_the_same() {
    let api = ready(|_| {}).await;
    api.store.close().await;
    expect(&api, "store", "unavailable", true).await;
}

#[tokio::test]
async fn a_host_without_a_free_instance_is_busy() {
    let api = ready(|services| services.sandbox = Arc::new(FullSandbox)).await;
    expect(&api, "sandbox", "busy", true).await;
}

#[tokio::test]
async fn a_host_without_redis_goes_on_alone() {
    let status = SharedStatus::Unavailable { since: Duration::from_secs(7), reason: SECRET.to_owned() };
    let api = ready(|services| services.shared = Arc::new(Redis(status))).await;
    expect(&api, "redis", "unavailable", true).await;
    let api = ready(|services| services.shared = Arc::new(Redis(SharedStatus::Connected))).await;
    let health = api.get("/health").await.json();
    assert_eq!((&health["status"], &health["checks"]["redis"]), (&json!("ok"), &json!("ok")));
}

#[tokio::test]
async fn only_operators_are_told_more() {
    let api = Api::with(Arc::new(ByScopes), |_| {}).await;
    api.lifecycle.enter(Phase::Ready);
    for path in ["/livez", "/readyz", "/health"] {
        let verbose = format!("{path}?verbose");
        let ask = async |scopes: &str| {
            let request = request(Method::GET, &verbose).header("authorization", format!("Bearer {scopes}"));
            api.send(request.body(Body::empty()).unwrap()).await
        };
        assert_eq!(api.get(&verbose).await.problem(), "unauthenticated");
        assert_eq!(ask("chat admin:read").await.problem(), "insufficient-scope");
        let told = |answer: Value| assert!(answer["details"]["uptime_s"].is_u64(), "{path}: {answer}");
        told(ask("metrics:read").await.json());
        for listener in [ListenerKind::Admin, ListenerKind::Socket] {
            let connection = ConnectionInfo { listener, peer: None, is_encrypted: false };
            told(api.send(request_over(connection, &verbose)).await.json());
        }
        // A probe of anyone needs nothing and tells nothing.
        let plain = api.get(path).await;
        assert_eq!((plain.status.as_u16(), plain.json().get("details")), (200, None), "{path}");
    }
}
