//! Probes and status of a host that loads, is ready, or drains.

use axum::body::Body;
use http::{Method, StatusCode};
use masque_http::{ConnectionInfo, Lifecycle, ListenerKind, Phase};
use serde_json::json;
use tower::ServiceExt;

use super::setup::{Api, options, request, request_over};
use crate::{Options, loading};

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
async fn a_host_that_can_not_use_the_active_set_of_its_database_is_not_ready_and_operators_see_why() {
    let api = Api::new().await;
    api.lifecycle.enter(Phase::Ready);
    assert_eq!(api.get("/status").await.json()["obstacle"], json!(null));
    api.active.set_obstacle(Some("generation 2 can't be prepared".to_owned()));
    let answer = api.get("/readyz").await;
    assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "loading"));
    assert_eq!(api.get("/status").await.json()["obstacle"], "generation 2 can't be prepared");
    api.active.set_obstacle(None);
    assert_eq!(api.get("/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn health_and_status_say_what_the_host_stands_on() {
    let api = Api::new().await;
    api.lifecycle.enter(Phase::Ready);
    let health = api.get("/health").await.json();
    assert_eq!((&health["status"], &health["checks"]["store"]), (&json!("ok"), &json!("ok")));
    let status = api.get("/status").await.json();
    assert_eq!(status["generation"], 1);
    assert_eq!(status["jobs"], json!({ "queued": 0, "running": 0, "parked": 0 }));
    assert!(status["store"]["database_bytes"].as_u64().unwrap() > 0, "{status}");
    assert!(status["store"]["log_bytes"].is_u64(), "{status}");
    assert!(status["configuration"].as_str().unwrap().starts_with("sha256:"));
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

#[tokio::test]
async fn metrics_of_a_host_that_loads_are_served_where_they_need_no_credential() {
    let status = |has_admin_listener, is_local_only, listener| async move {
        let options = Options { has_admin_listener, ..options() };
        let router = loading(&options, is_local_only, Lifecycle::new());
        let connection = ConnectionInfo { listener, peer: None, is_encrypted: false };
        router.oneshot(request_over(connection, "/metrics")).await.unwrap().status().as_u16()
    };
    for (has_admin_listener, is_local_only, listener, expected) in [
        (false, true, ListenerKind::Public, 200),
        // Credentials can't be checked yet.
        (false, false, ListenerKind::Public, 503),
        (true, false, ListenerKind::Public, 404),
        (true, false, ListenerKind::Admin, 200),
        (false, false, ListenerKind::Socket, 200),
    ] {
        let answered = status(has_admin_listener, is_local_only, listener).await;
        assert_eq!(answered, expected, "{has_admin_listener} {is_local_only} {listener:?}");
    }
}
