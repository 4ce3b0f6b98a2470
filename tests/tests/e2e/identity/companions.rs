//! API keys that are limited to companions: what belongs to another companion is unknown to them, on every route.

use masque_tests::{Client, Host, Setup, eventually};
use serde_json::{Value, json};

const COMPANIONS: &str = "[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"offline\"]\n\
    [companions.ida]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"offline\"]\n";

/// Says something to a companion in a new conversation; returns the ids of the conversation and of the turn.
async fn talk(client: &Client, companion: &str, key: &str) -> (String, String) {
    let body = json!({ "message": "My secret is 42.", "companion": companion });
    let reply = client.chat(&body).key(key).send().await.expect(200);
    let text = |name: &str| reply[name].as_str().unwrap().to_owned();
    (text("conversation_id"), text("turn_id"))
}

/// A client of the user with a token that the key makes.
async fn with_token_of(client: &Client, key: &str) -> Client {
    let request = client.bearer(key).post("/auth/token", &json!({ "user_id": "ana" }));
    client.bearer(request.send().await.expect(200)["access_token"].as_str().unwrap())
}

/// One user with tokens of two keys: one for every companion, one for `elara` alone.
async fn user_with_two_tokens(setup: Setup) -> (Host, Client, Client) {
    let options = ["--scope", "chat", "--scope", "tokens:mint"];
    let free = setup.create_key(&options).await;
    let limited = setup.create_key(&[&options[..], &["--companion", "elara"]].concat()).await;
    let host = setup.start().await;
    let (free, limited) =
        (with_token_of(&host.client(), &free).await, with_token_of(&host.client(), &limited).await);
    (host, free, limited)
}

/// Takes the routes from the description, so that a new route with an id is tested too.
#[tokio::test]
async fn every_route_with_an_id_hides_what_belongs_to_another_companion() {
    let setup = Setup::file(COMPANIONS).with_authentication();
    let (host, free, limited) = user_with_two_tokens(setup).await;
    let (conversation, turn) = talk(&free, "ida", "one").await;
    let (own, own_turn) = talk(&limited, "elara", "two").await;
    let document = host.client().get("/openapi.json").send().await.expect(200);
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let (hidden, open) = match path.split('/').nth(1) {
            Some("conversations") => (&conversation, &own),
            Some("turns") => (&turn, &own_turn),
            _ => continue,
        };
        if !path.contains("{id}") {
            continue;
        }
        for (method, _) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            let request = |client: &Client, id: &str| {
                let request =
                    client.request(method.to_uppercase().parse().unwrap(), &path.replace("{id}", id));
                match method.as_str() {
                    "patch" => {
                        request.header("content-type", "application/json").body("{\"title\": \"mine\"}")
                    }
                    _ => request,
                }
            };
            let answer = request(&limited, hidden).send().await;
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text);
            tried += 1;
            if method != "delete" {
                let answer = match path.ends_with("/explain") {
                    // The record of the turn is written after its end.
                    true => {
                        let found = || async {
                            let answer = request(&limited, open).send().await;
                            (answer.status == 200).then_some(answer)
                        };
                        eventually("the record of the turn", found).await
                    }
                    false => request(&limited, open).send().await,
                };
                assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text);
            }
        }
    }
    assert!(tried >= 8, "the description has too few routes: {tried} were tried");
    // The user still has it.
    let kept = free.get(&format!("/conversations/{conversation}")).send().await.expect(200);
    assert_eq!(kept["title"], "My secret is 42.");
}

#[tokio::test]
async fn a_turn_can_not_be_reached_through_a_message_or_a_repeated_request() {
    let setup = Setup::file(COMPANIONS).with_authentication();
    let (_host, free, limited) = user_with_two_tokens(setup).await;
    let (conversation, _) = talk(&free, "ida", "one").await;
    for body in [
        json!({ "message": "Go on.", "conversation_id": conversation }),
        json!({ "message": "Go on.", "conversation_id": conversation, "companion": "elara" }),
        json!({ "message": "Go on.", "conversation_id": conversation, "model": "offline" }),
        json!({ "message": "Go on.", "conversation_id": conversation, "stream": true }),
    ] {
        limited.chat(&body).send().await.problem(404, "conversation-not-found");
    }
    // The idempotency key is the user's, and so is the reply behind it.
    let body = json!({ "message": "Go on.", "conversation_id": conversation });
    free.chat(&body).key("two").send().await.expect(200);
    limited.chat(&body).key("two").send().await.problem(404, "conversation-not-found");
}

#[tokio::test]
async fn a_repeated_request_is_answered_alike_whatever_its_body_was() {
    let setup = Setup::file(COMPANIONS).with_authentication();
    let (_host, free, limited) = user_with_two_tokens(setup).await;
    talk(&free, "ida", "one").await;
    let mut details = Vec::new();
    for (message, companion) in
        [("My secret is 42.", "ida"), ("My secret is 42.", "elara"), ("Something else.", "elara")]
    {
        let body = json!({ "message": message, "companion": companion });
        // The first body is the one that the key was used with.
        let answer = limited.chat(&body).key("one").send().await;
        details.push(answer.problem(404, "conversation-not-found")["detail"].clone());
    }
    assert!(details.iter().all(|detail| *detail == details[0]), "{details:?}");
}

#[tokio::test]
async fn a_list_has_full_pages_of_what_the_key_may_see() {
    let setup = Setup::file(COMPANIONS).with_authentication();
    let (_host, free, limited) = user_with_two_tokens(setup).await;
    for companion in ["elara", "ida", "ida", "elara", "ida", "elara"] {
        free.post("/conversations", &json!({ "companion": companion })).send().await.expect(201);
    }
    let items = |page: &Value| page["items"].as_array().unwrap().clone();
    let first = limited.get("/conversations?limit=2").send().await.expect(200);
    let next = first["next"].as_str().unwrap();
    let second = limited.get(&format!("/conversations?limit=2&after={next}")).send().await.expect(200);
    let seen = [items(&first), items(&second)].concat();
    assert_eq!((items(&first).len(), seen.len(), &second["next"]), (2, 3, &Value::Null));
    assert!(seen.iter().all(|conversation| conversation["companion"] == "elara"), "{seen:?}");
    let all = free.get("/conversations").send().await.expect(200);
    assert_eq!(items(&all).len(), 6);
}
