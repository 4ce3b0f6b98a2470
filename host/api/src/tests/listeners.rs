//! Which routes each listener serves, and which web pages may call.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, StatusCode};
use masque_auth::LocalAuthenticator;
use masque_http::{ConnectionInfo, ListenerKind, cors};

use super::setup::{Api, Open, request, request_over};

#[tokio::test]
async fn where_operators_have_a_listener_their_routes_are_there_alone() {
    let api = Api::with(Arc::new(LocalAuthenticator), |options| options.has_admin_listener = true).await;
    let status = async |path: &str, listener| {
        let connection = ConnectionInfo { listener, peer: None, is_encrypted: false };
        api.send(request_over(connection, path)).await.status.as_u16()
    };
    for (path, public, admin) in [
        ("/status", 404, 200),
        ("/metrics", 404, 200),
        ("/openapi.json", 404, 200),
        ("/docs", 404, 200),
        ("/docs/errors", 200, 200),
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
async fn a_path_that_is_not_served_names_the_docs_only_where_they_are() {
    let api = Api::with(Arc::new(LocalAuthenticator), |options| options.has_admin_listener = true).await;
    for (path, listener, expected) in [
        ("/docs", ListenerKind::Public, "This route is on the admin listener"),
        ("/status", ListenerKind::Public, "This route is on the admin listener"),
        ("/nothing", ListenerKind::Public, "at /docs on the admin listener"),
        ("/nothing", ListenerKind::Admin, "See /docs for the routes"),
    ] {
        let connection = ConnectionInfo { listener, peer: None, is_encrypted: false };
        let answer = api.send(request_over(connection, path)).await;
        assert_eq!(answer.status.as_u16(), 404, "{path}");
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains(expected), "{path}: {detail}");
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
