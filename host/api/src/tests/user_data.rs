//! Export and erasure of the local user, over a store without a task that removes rows.

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};

use super::setup::{Answer, Api, request};

const UNKNOWN: &str = "018f0000-0000-7000-8000-000000000000";

async fn delete(api: &Api, path: &str) -> Answer {
    api.send(request(Method::DELETE, path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn an_export_is_one_document_with_every_section_also_where_there_is_nothing() {
    let api = Api::new().await;
    let answer = api.get("/users/me/data").await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert!(answer.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    let data = answer.json();
    assert_eq!((&data["format"], &data["user"]["subject"]), (&json!("masque-user-data-1"), &json!("local")));
    assert_eq!(data["user"]["user_id"], Value::Null);
    for section in [
        "conversations",
        "messages",
        "turns",
        "user_state",
        "conversation_state",
        "jobs",
        "idempotency_keys",
        "spending",
        "audit",
        "turn_records",
    ] {
        assert_eq!(data[section], json!([]), "{section}");
    }
}

#[tokio::test]
async fn an_erasure_answers_with_its_receipt_which_its_user_can_ask_for() {
    let api = Api::new().await;
    let answer = delete(&api, "/users/me/data").await;
    assert_eq!(answer.status, 202);
    let receipt = answer.json();
    let path = format!("/users/me/erasures/{}", receipt["id"].as_str().unwrap());
    assert_eq!(answer.headers["location"], *path);
    assert_eq!((&receipt["state"], &receipt["done_at"]), (&json!("running"), &Value::Null));
    assert_eq!(api.get(&path).await.json(), receipt);
    let user = receipt["user_id"].as_str().unwrap();
    let by_id = format!("/users/{user}/erasures/{}", receipt["id"].as_str().unwrap());
    assert_eq!(api.get(&by_id).await.json(), receipt);
    assert_eq!(api.get(&format!("/users/{user}/data")).await.problem(), "user-not-found");
    assert_eq!(delete(&api, &format!("/users/{user}/data")).await.problem(), "user-not-found");
    let second = delete(&api, "/users/me/data").await.json();
    assert_ne!(second["user_id"], receipt["user_id"], "the same person came back");
    assert_eq!(second["pseudonym"], receipt["pseudonym"]);
}

#[tokio::test]
async fn users_and_receipts_that_are_unknown_are_not_found() {
    let api = Api::new().await;
    for id in ["x", "Me", "%ff", UNKNOWN] {
        assert_eq!(api.get(&format!("/users/{id}/data")).await.problem(), "user-not-found");
        assert_eq!(delete(&api, &format!("/users/{id}/data")).await.problem(), "user-not-found");
        assert_eq!(api.get(&format!("/users/me/erasures/{id}")).await.problem(), "erasure-not-found");
        assert_eq!(api.get(&format!("/users/{id}/erasures/{UNKNOWN}")).await.problem(), "erasure-not-found");
    }
}

#[tokio::test]
async fn the_audit_log_names_no_user_and_no_address() {
    let api = Api::new().await;
    api.get("/users/me/data").await;
    let pseudonym = delete(&api, "/users/me/data").await.json()["pseudonym"].as_str().unwrap().to_owned();
    let entries = api.recorded().await;
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| {
            (entry.action.as_str(), entry.actor.as_str(), entry.target.as_deref(), entry.address.as_deref())
        })
        .collect();
    let target = format!("user:{pseudonym}");
    let of = |action| (action, "anyone", Some(target.as_str()), None);
    assert_eq!(seen, [of("user.erase"), of("user.export")]);
}
