//! What every response has: the head of a `HEAD` request, and the headers for browsers.

use axum::body::Body;
use http::{Method, StatusCode};
use masque_http::{ConnectionInfo, ListenerKind};

use super::setup::{Api, request, request_over};

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
