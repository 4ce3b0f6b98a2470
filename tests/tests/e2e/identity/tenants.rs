//! Isolation of users and tenants: on every route that takes an id, the data of one is unknown to the other.

use masque_tests::{Client, Setup, claims, claims_with, token};
use serde_json::{Value, json};

/// Asserts that `other` can neither read nor change the conversation and the turn.
async fn assert_unreachable(other: &Client, conversation: &str, turn: &str) {
    let conversation_routes = [
        other.get(&format!("/conversations/{conversation}")),
        other.patch(&format!("/conversations/{conversation}"), &json!({ "title": "mine now" })),
        other.delete(&format!("/conversations/{conversation}")),
        other.get(&format!("/conversations/{conversation}/messages")),
        other.chat(&json!({ "message": "Let me in.", "conversation_id": conversation })),
        other.chat(&json!({ "message": "Let me in.", "conversation_id": conversation, "stream": true })),
    ];
    for request in conversation_routes {
        request.send().await.problem(404, "conversation-not-found");
    }
    let turn_routes = [
        other.get(&format!("/turns/{turn}")),
        other.get(&format!("/turns/{turn}/events")),
        other.get(&format!("/turns/{turn}/explain")),
        other.post(&format!("/turns/{turn}/cancel"), &json!({})),
    ];
    for request in turn_routes {
        request.send().await.problem(404, "turn-not-found");
    }
    assert_eq!(other.get("/conversations").send().await.expect(200)["items"], json!([]));
}

/// Starts a conversation with an idempotency key; returns the ids of the conversation and of its turn.
async fn start_conversation(client: &Client, key: &str) -> (String, String) {
    let reply = client.chat(&json!({ "message": "My secret is 42." })).key(key).send().await.expect(200);
    let text = |name: &str| reply[name].as_str().unwrap().to_owned();
    (text("conversation_id"), text("turn_id"))
}

/// Asserts that two users have nothing in common, not even with the same idempotency key.
async fn assert_isolated(one: &Client, other: &Client) {
    let (conversation, turn) = start_conversation(one, "the-same-key").await;
    assert_unreachable(other, &conversation, &turn).await;
    // Idempotency keys are separate for each user.
    let (theirs, _) = start_conversation(other, "the-same-key").await;
    assert_ne!(theirs, conversation);
    let messages = one.messages(&conversation).await;
    assert_eq!(messages.len(), 2, "{messages:?}");
    other.delete(&format!("/conversations/{theirs}")).send().await.expect(204);
    one.get(&format!("/conversations/{conversation}")).send().await.expect(200);
    one.delete(&format!("/conversations/{conversation}")).send().await.expect(204);
}

#[tokio::test]
async fn the_conversation_of_a_user_is_unknown_to_every_other() {
    let setup = Setup::defaults().with_authentication();
    let key = setup.create_key(&["--scope", "chat"]).await;
    let acme = setup.create_key(&["--scope", "chat", "--tenant", "acme"]).await;
    let host = setup.start().await;
    let client = host.client();
    let ana_with = |claims: Value| client.bearer(&token(&claims_with("ana", claims)));
    let ana = ana_with(json!({}));
    for other in [
        client.bearer(&token(&claims("ben"))),
        client.bearer(&token(&claims("Ana"))),
        client.bearer(&token(&claims("ana "))),
        ana_with(json!({ "tenant": "acme" })),
        client.bearer(&key),
        client.bearer(&acme),
    ] {
        assert_isolated(&ana, &other).await;
        assert_isolated(&other, &ana).await;
    }
    assert_isolated(&client.bearer(&key), &client.bearer(&acme)).await;
}

#[tokio::test]
async fn a_key_acts_only_for_users_of_its_own_tenant() {
    let setup = Setup::defaults().with_authentication();
    let options = ["--scope", "chat", "--scope", "users:act"];
    let agent = setup.create_key(&options).await;
    let foreign = setup.create_key(&[&options[..], &["--tenant", "acme"]].concat()).await;
    let plain = setup.create_key(&["--scope", "chat"]).await;
    let host = setup.start().await;
    let client = host.client();
    let ana = client.bearer(&token(&claims("ana")));
    let (conversation, _) = start_conversation(&ana, "one").await;
    let path = format!("/conversations/{conversation}");

    let for_ana = |key: &str| client.bearer(key).get(&path).header("on-behalf-of", "ana");
    for_ana(&agent).send().await.expect(200);
    for_ana(&foreign).send().await.problem(404, "conversation-not-found");
    for_ana(&plain).send().await.problem(403, "insufficient-scope");
    client.bearer(&agent).get(&path).send().await.problem(404, "conversation-not-found");
    // A token can't act for another user, whatever scopes it lists.
    let other = token(&claims_with("ben", json!({ "scope": "chat users:act" })));
    client
        .bearer(&other)
        .get(&path)
        .header("on-behalf-of", "ana")
        .send()
        .await
        .problem(403, "insufficient-scope");
    for (name, value) in [("on-behalf-of", ""), ("on-behalf-of-issuer", "masque")] {
        client.bearer(&agent).get(&path).header(name, value).send().await.problem(422, "invalid-request");
    }
    let untrusted = client.bearer(&agent).get(&path).header("on-behalf-of", "ana");
    let untrusted = untrusted.header("on-behalf-of-issuer", "https://evil.example");
    untrusted.send().await.problem(422, "invalid-request");
}

/// Takes the routes from the description, so that a new route with an id is tested too.
#[tokio::test]
async fn every_route_with_an_id_finds_only_the_callers_own_data() {
    let setup = Setup::defaults().with_authentication();
    let acme = setup.create_key(&["--scope", "chat", "--tenant", "acme"]).await;
    let host = setup.start().await;
    let ana = host.client().bearer(&token(&claims("ana")));
    let (conversation, turn) = start_conversation(&ana, "one").await;
    let validated = ana.post("/auth/validate", &json!({})).send().await.expect(200);
    let user = validated["user_id"].as_str().unwrap().to_owned();
    let document = host.client().get("/openapi.json").send().await.expect(200);
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let id = match path.split('/').nth(1) {
            Some("conversations") => &conversation,
            Some("turns") => &turn,
            Some("users") => &user,
            _ if path.contains('{') && !path.starts_with("/admin/") => {
                panic!("{path}: add the ids that this route takes to the test")
            }
            _ => continue,
        };
        if !path.contains("{id}") {
            continue;
        }
        for (method, _) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            let others = [host.client().bearer(&token(&claims("ben"))), host.client().bearer(&acme)];
            for other in others {
                let path = path.replace("{id}", id).replace("{receipt}", id);
                let request = other.request(method.to_uppercase().parse().unwrap(), &path);
                let request = match method.as_str() {
                    "patch" => {
                        request.header("content-type", "application/json").body("{\"title\": \"mine\"}")
                    }
                    _ => request,
                };
                let answer = request.send().await;
                assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
                tried += 1;
            }
        }
    }
    assert!(tried >= 20, "the description has too few routes: {tried} requests were sent");
    ana.get(&format!("/conversations/{conversation}")).send().await.expect(200);
}
