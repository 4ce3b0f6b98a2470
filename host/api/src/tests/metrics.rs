//! `GET /metrics`: who may read it, and in which format.

use std::sync::Arc;

use axum::body::Body;
use http::Method;
use masque_http::{ConnectionInfo, ListenerKind};
use masque_telemetry::metrics::http::AUTHENTICATION_FAILURES;

use super::setup::{Api, ByScopes, request, request_over};

#[tokio::test]
async fn on_the_public_listener_metrics_need_their_scope_and_on_those_of_operators_none() {
    let api = Api::with(Arc::new(ByScopes), |_| {}).await;
    let status = async |scopes: Option<&str>| {
        let request = request(Method::GET, "/metrics");
        let request = match scopes {
            Some(scopes) => request.header("authorization", format!("Bearer {scopes}")),
            None => request,
        };
        api.send(request.body(Body::empty()).unwrap()).await.status.as_u16()
    };
    assert_eq!(status(Some("metrics:read")).await, 200);
    assert_eq!(status(Some("chat admin:read admin:write content:read tokens:mint users:act")).await, 403);
    assert_eq!(status(None).await, 401);
    for listener in [ListenerKind::Admin, ListenerKind::Socket] {
        let connection = ConnectionInfo { listener, peer: None, is_encrypted: false };
        assert_eq!(api.send(request_over(connection, "/metrics")).await.status, 200, "{listener:?}");
    }
}

#[tokio::test]
async fn without_authentication_metrics_are_read_as_the_status_is() {
    let api = Api::new().await;
    for path in ["/status", "/metrics"] {
        assert_eq!(api.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_format_follows_all_accept_headers_together() {
    let api = Api::new().await;
    for (accept, content_type) in [
        (&[][..], "text/plain; version=0.0.4; charset=utf-8"),
        (&["*/*"], "text/plain; version=0.0.4; charset=utf-8"),
        (
            &["text/plain;q=0.5", "application/openmetrics-text;version=1.0.0"],
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ] {
        let mut request = request(Method::GET, "/metrics");
        for accept in accept {
            request = request.header("accept", *accept);
        }
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.headers["content-type"], content_type, "{accept:?}");
        let text = std::str::from_utf8(&answer.body).unwrap();
        assert_eq!(text.ends_with("# EOF\n"), content_type.starts_with("application"), "{accept:?}");
        assert!(text.contains("# TYPE masque_build_info gauge"), "{text}");
    }
}

#[tokio::test]
async fn a_refused_request_is_counted_by_its_reason() {
    let api = Api::with(Arc::new(ByScopes), |_| {}).await;
    for (credential, reason) in
        [(None, "missing"), (Some("Basic YTpi"), "invalid"), (Some("Bearer chat"), "scope")]
    {
        let before = AUTHENTICATION_FAILURES.value(&[reason]);
        let request = request(Method::GET, "/status");
        let request = match credential {
            Some(credential) => request.header("authorization", credential),
            None => request,
        };
        api.send(request.body(Body::empty()).unwrap()).await;
        assert!(AUTHENTICATION_FAILURES.value(&[reason]) > before, "{reason}");
    }
}
