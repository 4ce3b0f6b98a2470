//! Conversations, turns and lists in an empty store.

use axum::body::Body;
use http::Method;
use serde_json::json;

use super::setup::{Api, request};

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
