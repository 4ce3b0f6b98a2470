//! Two users, and two tenants, against each other: what is one's is unknown to the other, on every route that takes an id.

use masque_tests::{Client, Setup, claims, claims_with, token};
use serde_json::{Value, json};

async fn cannot_reach(other: &Client, conversation: &str, turn: &str) {
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
        other.post(&format!("/turns/{turn}/cancel"), &json!({})),
    ];
    for request in turn_routes {
        request.send().await.problem(404, "turn-not-found");
    }
    assert_eq!(other.get("/conversations").send().await.expect(200)["items"], json!([]));
}

/// A conversation with one turn and a key: its id and the turn's.
async fn speak(client: &Client, key: &str) -> (String, String) {
    let reply = client.chat(&json!({ "message": "My secret is 42." })).key(key).send().await.expect(200);
    let text = |name: &str| reply[name].as_str().unwrap().to_owned();
    (text("conversation_id"), text("turn_id"))
}

async fn are_strangers(one: &Client, other: &Client) {
    let (conversation, turn) = speak(one, "the-same-key").await;
    cannot_reach(other, &conversation, &turn).await;
    // The same idempotency key is another one with another user.
    let (theirs, _) = speak(other, "the-same-key").await;
    assert_ne!(theirs, conversation);
    let messages = one.messages(&conversation).await;
    assert_eq!(messages.len(), 2, "{messages:?}");
    other.delete(&format!("/conversations/{theirs}")).send().await.expect(204);
    one.get(&format!("/conversations/{conversation}")).send().await.expect(200);
    one.delete(&format!("/conversations/{conversation}")).send().await.expect(204);
}

#[tokio::test]
async fn one_users_conversation_is_unknown_to_every_other() {
    let setup = Setup::defaults().with_users();
    let key = setup.make_key(&["--scope", "chat"]).await;
    let acme = setup.make_key(&["--scope", "chat", "--tenant", "acme"]).await;
    let host = setup.start().await;
    let client = host.client();
    let of = |claims: Value| client.bearer(&token(&claims_with("ana", claims)));
    let ana = of(json!({}));
    for other in [
        client.bearer(&token(&claims("ben"))),
        client.bearer(&token(&claims("Ana"))),
        client.bearer(&token(&claims("ana "))),
        of(json!({ "tenant": "acme" })),
        client.bearer(&key),
        client.bearer(&acme),
    ] {
        are_strangers(&ana, &other).await;
        are_strangers(&other, &ana).await;
    }
    are_strangers(&client.bearer(&key), &client.bearer(&acme)).await;
}

#[tokio::test]
async fn a_key_speaks_for_users_of_its_own_tenant_only() {
    let setup = Setup::defaults().with_users();
    let words = ["--scope", "chat", "--scope", "users:act"];
    let agent = setup.make_key(&words).await;
    let foreign = setup.make_key(&[&words[..], &["--tenant", "acme"]].concat()).await;
    let plain = setup.make_key(&["--scope", "chat"]).await;
    let host = setup.start().await;
    let client = host.client();
    let ana = client.bearer(&token(&claims("ana")));
    let (conversation, _) = speak(&ana, "one").await;
    let path = format!("/conversations/{conversation}");

    let for_ana = |key: &str| client.bearer(key).get(&path).header("on-behalf-of", "ana");
    for_ana(&agent).send().await.expect(200);
    for_ana(&foreign).send().await.problem(404, "conversation-not-found");
    for_ana(&plain).send().await.problem(403, "insufficient-scope");
    client.bearer(&agent).get(&path).send().await.problem(404, "conversation-not-found");
    // A token speaks for its own user.
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
    let of_nobody = client.bearer(&agent).get(&path).header("on-behalf-of", "ana");
    let of_nobody = of_nobody.header("on-behalf-of-issuer", "https://evil.example");
    of_nobody.send().await.problem(422, "invalid-request");
}

/// A route that is new and takes an id is held to the same without anyone thinking of it.
#[tokio::test]
async fn every_described_route_with_an_id_knows_only_the_callers_own() {
    let setup = Setup::defaults().with_users();
    let acme = setup.make_key(&["--scope", "chat", "--tenant", "acme"]).await;
    let host = setup.start().await;
    let ana = host.client().bearer(&token(&claims("ana")));
    let (conversation, turn) = speak(&ana, "one").await;
    let document = host.client().get("/openapi.json").send().await.expect(200);
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let id = match path.split('/').nth(1) {
            Some("conversations") => &conversation,
            Some("turns") => &turn,
            _ if path.contains('{') && !path.starts_with("/admin/") => panic!("{path}: whose ids are these?"),
            _ => continue,
        };
        if !path.contains("{id}") {
            continue;
        }
        for (method, _) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            let others = [host.client().bearer(&token(&claims("ben"))), host.client().bearer(&acme)];
            for other in others {
                let request =
                    other.request(method.to_uppercase().parse().unwrap(), &path.replace("{id}", id));
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
    assert!(tried >= 14, "the description has lost its routes: {tried} were tried");
    ana.get(&format!("/conversations/{conversation}")).send().await.expect(200);
}
