//! What every request is checked for: route, method, `Host`, body, headers and URL.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::StreamBody;
use masque_auth::{Authenticator, LocalAuthenticator};

use super::setup::{Api, Open, request};

#[tokio::test]
async fn what_is_no_route_is_a_problem_like_any_other() {
    let api = Api::new().await;
    for path in ["/nothing", "/chat/", "/turns/x/replay", "/memories", "/admin/jobs", "/auth/tokens"] {
        let answer = api.get(path).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (StatusCode::NOT_FOUND, "route-not-found"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_path_that_is_nearly_a_route_is_told_the_route() {
    let api = Api::new().await;
    for (path, right) in
        [("//chat", "`/chat`"), ("/chat/", "`/chat`"), ("/livez/", "`/livez`"), ("/Docs", "`/docs`")]
    {
        let answer = api.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(right), "{path}: {detail}");
    }
    // The public listener does not name what it does not serve.
    let api = Api::with(Arc::new(LocalAuthenticator), |options| options.has_admin_listener = true).await;
    let detail = api.get("/docs/").await.json()["detail"].clone();
    assert!(!detail.as_str().unwrap().contains("The path is"), "{detail}");
}

#[tokio::test]
async fn a_body_that_is_no_plain_utf8_is_refused_with_what_it_is() {
    let api = Api::new().await;
    let post = |header: (&str, &str), body: &[u8]| {
        let request = request(Method::POST, "/chat").header("content-type", "application/json");
        request.header(header.0, header.1).body(Body::from(body.to_vec())).unwrap()
    };
    let plain = br#"{"message":"hi","companion":"nobody"}"#;
    let with_mark = [b"\xef\xbb\xbf".as_slice(), plain.as_slice()].concat();
    // The companion is unknown, so the body was read.
    assert_eq!(api.send(post(("x-none", "x"), &with_mark)).await.problem(), "companion-not-found");
    let gzip = b"\x1f\x8b\x08\x00\x00";
    for (header, body, named) in [
        (("content-encoding", "gzip"), gzip.as_slice(), "gzip"),
        (("content-encoding", "br"), plain.as_slice(), "`Content-Encoding: br`"),
        (("x-none", "x"), gzip.as_slice(), "gzip"),
        (("x-none", "x"), b"{\"message\":\"caf\xe9\"}".as_slice(), "UTF-8"),
    ] {
        let answer = api.send(post(header, body)).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type"),
            "{header:?}"
        );
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(named), "{detail}");
    }
    let zero = api.post("/chat", r#"{"message":"a\u0000b"}"#).await;
    assert_eq!(
        (zero.status, zero.json()["field"].as_str()),
        (StatusCode::UNPROCESSABLE_ENTITY, Some("message"))
    );
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
