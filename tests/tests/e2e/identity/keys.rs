//! API keys: made on the machine and over HTTP, shown once, rotated, revoked, and what tokens they can make.

use masque_tests::{Client, Setup};
use serde_json::{Value, json};

async fn admin() -> (masque_tests::Host, Client) {
    let setup = Setup::defaults().with_users();
    let scopes =
        ["--scope", "admin:read", "--scope", "admin:write", "--scope", "tokens:mint", "--scope", "chat"];
    let key = setup.make_key(&scopes).await;
    let host = setup.start().await;
    let client = host.client().bearer(&key);
    (host, client)
}

async fn make(admin: &Client, body: Value) -> Value {
    admin.post("/admin/keys", &body).send().await.expect(201)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[tokio::test]
async fn a_key_is_shown_once_and_listed_without_its_secret() {
    let (_host, admin) = admin().await;
    let made = make(&admin, json!({ "name": "web shop", "scopes": ["chat"], "expires_in_days": 1 })).await;
    let (secret, id) = (text(&made, "secret"), text(&made, "id"));
    assert!(secret.starts_with(&format!("msq_{id}_")), "{made}");
    admin.bearer(secret).get("/conversations").send().await.expect(200);

    let shown = admin.get(&format!("/admin/keys/{id}")).send().await;
    let listed = admin.get("/admin/keys").send().await;
    let tail = secret.rsplit('_').next().unwrap();
    for answer in [&shown, &listed] {
        assert!(!answer.text.contains(&tail[..16]) && answer.text.contains(id), "{}", answer.text);
    }
    let names: Vec<_> =
        listed.json()["items"].as_array().unwrap().iter().map(|key| text(key, "name").to_owned()).collect();
    assert_eq!(names, ["web shop", "test"]);
    admin.get("/admin/keys/0000000000000000").send().await.problem(404, "key-not-found");
    admin.get("/admin/keys/nothing").send().await.problem(404, "key-not-found");
}

#[tokio::test]
async fn a_wrong_key_is_refused_by_its_field() {
    let (_host, admin) = admin().await;
    for (field, body) in [
        ("scopes", json!({ "name": "x", "scopes": [] })),
        ("scopes", json!({ "name": "x", "scopes": ["root"] })),
        ("name", json!({ "name": "", "scopes": ["chat"] })),
        ("tenant", json!({ "name": "x", "scopes": ["chat"], "tenant": "A b" })),
        ("scopes", json!({ "name": "x", "scopes": ["admin:write"], "tenant": "acme" })),
        ("companions", json!({ "name": "x", "scopes": ["chat"], "companions": [] })),
        ("requests_per_minute", json!({ "name": "x", "scopes": ["chat"], "requests_per_minute": 0 })),
        ("expires_in_days", json!({ "name": "x", "scopes": ["chat"], "expires_in_days": 0 })),
    ] {
        let problem = admin.post("/admin/keys", &body).send().await.problem(422, "invalid-request");
        assert_eq!(problem["field"], field, "{body}");
    }
    let unknown = json!({ "name": "x", "scopes": ["chat"], "scope": "chat" });
    admin.post("/admin/keys", &unknown).send().await.problem(422, "unknown-field");
    assert_eq!(admin.get("/admin/keys").send().await.expect(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_rotated_key_has_two_secrets_for_a_while_and_then_one() {
    let (_host, admin) = admin().await;
    let made = make(&admin, json!({ "name": "x", "scopes": ["chat"] })).await;
    let rotate = format!("/admin/keys/{}/rotate", text(&made, "id"));
    let rotated = admin.post(&rotate, &json!({})).send().await.expect(200);
    for secret in [text(&made, "secret"), text(&rotated, "secret")] {
        admin.bearer(secret).get("/conversations").send().await.expect(200);
    }
    let again = admin.post(&rotate, &json!({ "overlap_hours": 0 })).send().await.expect(200);
    for secret in [text(&made, "secret"), text(&rotated, "secret")] {
        let problem = admin.bearer(secret).get("/conversations").send().await.problem(401, "invalid-token");
        assert_eq!(problem["reason"], "unknown-api-key");
    }
    admin.bearer(text(&again, "secret")).get("/conversations").send().await.expect(200);
    admin.post(&rotate, &json!({ "overlap_hours": 721 })).send().await.problem(422, "invalid-request");
}

#[tokio::test]
async fn the_command_line_works_beside_a_running_host() {
    let setup = Setup::defaults().with_users();
    let before = setup.make_key(&["--scope", "chat"]).await;
    let host = setup.start().await;
    let client = host.client();
    client.bearer(&before).get("/conversations").send().await.expect(200);

    let data = host.data().to_str().unwrap();
    let made = host.run(&["keys", "create", "later", "--scope", "chat", "--data", data]).await;
    let later = made.text.split_whitespace().find(|word| word.starts_with("msq_")).unwrap().to_owned();
    client.bearer(&later).get("/conversations").send().await.expect(200);

    let listed = host.run(&["keys", "list", "--data", data]).await;
    let id = later.split('_').nth(1).unwrap();
    let secret = later.split('_').nth(2).unwrap();
    assert!(
        listed.text.contains(id) && listed.text.contains("later") && !listed.text.contains(secret),
        "{}",
        listed.text
    );

    let rotated = host.run(&["keys", "rotate", id, "--overlap-hours", "0", "--data", data]).await;
    let newest = rotated.text.split_whitespace().find(|word| word.starts_with("msq_")).unwrap().to_owned();
    masque_tests::eventually("the old secret to be void", || async {
        (client.bearer(&later).get("/conversations").send().await.status == 401).then_some(())
    })
    .await;
    client.bearer(&newest).get("/conversations").send().await.expect(200);

    assert!(host.run(&["keys", "revoke", id, "--data", data]).await.status.success());
    masque_tests::eventually("the key to be revoked", || async {
        (client.bearer(&newest).get("/conversations").send().await.status == 401).then_some(())
    })
    .await;

    for (words, expected) in [
        (vec!["keys", "create", "x"], "scope"),
        (vec!["keys", "create", "x", "--scope", "root"], "root"),
        (vec!["keys", "revoke", "0000000000000000"], "0000000000000000"),
        (vec!["keys", "rotate", "nothing"], "nothing"),
    ] {
        let refused = host.run(&[&words[..], &["--data", data]].concat()).await;
        assert!(!refused.status.success() && refused.text.contains(expected), "{words:?}: {}", refused.text);
    }
}

#[tokio::test]
async fn a_token_is_made_with_a_key_and_has_no_more_than_it() {
    let (_host, admin) = admin().await;
    let minter =
        make(&admin, json!({ "name": "m", "scopes": ["tokens:mint", "chat"], "tenant": "acme" })).await;
    let minter = admin.bearer(text(&minter, "secret"));
    let made = minter
        .post("/auth/token", &json!({ "user_id": "ana", "expires_in_hours": 2 }))
        .send()
        .await
        .expect(200);
    assert_eq!((text(&made, "token_type"), &made["expires_in"]), ("bearer", &json!(7200)));
    let ana = minter.bearer(text(&made, "access_token"));
    ana.say("Hello.").await;

    let judged = ana.request("POST".parse().unwrap(), "/auth/validate").send().await.expect(200);
    assert_eq!(judged["valid"], json!(true));
    let claims = &judged["claims"];
    assert_eq!(
        (&claims["sub"], &claims["scope"], &claims["tenant"]),
        (&json!("ana"), &json!("chat"), &json!("acme"))
    );
    for name in ["iss", "aud", "exp", "iat", "jti", "client_id"] {
        assert!(!claims[name].is_null(), "no {name} in {claims}");
    }

    // A token makes no tokens, whatever it says.
    ana.post("/auth/token", &json!({ "user_id": "ana" })).send().await.problem(403, "insufficient-scope");
    for (status, kind, body) in [
        (422, "invalid-request", json!({ "user_id": "" })),
        (422, "invalid-request", json!({ "user_id": "a\u{7}" })),
        (422, "invalid-request", json!({ "user_id": "ana", "expires_in_hours": 25 })),
        (422, "invalid-request", json!({ "user_id": "ana", "expires_in_hours": 0 })),
        (422, "invalid-request", json!({ "user_id": "ana", "expires_in_hours": -1 })),
        (422, "invalid-request", json!({ "user_id": "ana", "scopes": ["admin:read"] })),
        (422, "invalid-request", json!({ "user_id": "ana", "scopes": ["admin:write"] })),
        (422, "invalid-request", json!({ "user_id": "ana", "scopes": ["tokens:mint"] })),
        (422, "invalid-request", json!({ "user_id": "ana", "scopes": ["users:act"] })),
        (422, "invalid-request", json!({ "user_id": "ana", "scopes": ["everything"] })),
        (422, "unknown-field", json!({ "user_id": "ana", "tenant": "default" })),
        (422, "invalid-request", json!({})),
    ] {
        minter.post("/auth/token", &body).send().await.problem(status, kind);
    }
    // A token does not outlive the key that answers for it.
    let short =
        make(&admin, json!({ "name": "m", "scopes": ["tokens:mint", "chat"], "expires_in_days": 1 })).await;
    let short = admin.bearer(text(&short, "secret"));
    short
        .post("/auth/token", &json!({ "user_id": "ana", "expires_in_hours": 23.9 }))
        .send()
        .await
        .expect(200);
    short
        .post("/auth/token", &json!({ "user_id": "ana", "expires_in_hours": 24 }))
        .send()
        .await
        .problem(422, "invalid-request");
    let poor = make(&admin, json!({ "name": "m", "scopes": ["tokens:mint"] })).await;
    let poor = admin.bearer(text(&poor, "secret"));
    poor.post("/auth/token", &json!({ "user_id": "ana" })).send().await.problem(403, "insufficient-scope");
}

/// Not only once the host has heard of it.
#[tokio::test]
async fn a_key_that_was_made_beside_the_host_binds_its_tokens_from_the_first_moment() {
    let host = Setup::defaults().with_users().start().await;
    let data = host.data().to_str().unwrap();
    for _ in 0..3 {
        let words =
            ["keys", "create", "x", "--scope", "chat", "--scope", "tokens:mint", "--companion", "nobody"];
        let made = host.run(&[&words[..], &["--data", data]].concat()).await;
        let key = made.text.split_whitespace().find(|word| word.starts_with("msq_")).unwrap().to_owned();
        let client = host.client().bearer(&key);
        let minted = client.post("/auth/token", &json!({ "user_id": "ana" })).send().await.expect(200);
        let ana = client.bearer(text(&minted, "access_token"));
        ana.chat(&json!({ "message": "Hi.", "companion": "elara" }))
            .send()
            .await
            .problem(403, "companion-not-allowed");
    }
}

#[tokio::test]
async fn what_a_key_may_not_its_tokens_may_not() {
    let toml = "[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"offline\"]\n\
        [companions.twin]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"offline\"]\n";
    let setup = Setup::file(toml).with_users();
    let free = setup.make_key(&["--scope", "chat", "--scope", "tokens:mint"]).await;
    let bound = setup.make_key(&["--scope", "chat", "--scope", "tokens:mint", "--companion", "twin"]).await;
    let host = setup.start().await;
    let client = host.client();
    let mint = |key: String| {
        let client = client.clone();
        async move {
            let made = client
                .bearer(&key)
                .post("/auth/token", &json!({ "user_id": "ana" }))
                .send()
                .await
                .expect(200);
            client.bearer(text(&made, "access_token"))
        }
    };
    let (anyone, only_twin) = (mint(free).await, mint(bound.clone()).await);
    let with_elara = anyone.chat(&json!({ "message": "Hi.", "companion": "elara" })).send().await.expect(200);
    for client in [client.bearer(&bound), only_twin.clone()] {
        let known = client.get("/companions").send().await.expect(200);
        assert_eq!(known["items"].as_array().unwrap().len(), 1, "{known}");
        client
            .chat(&json!({ "message": "Hi.", "companion": "elara" }))
            .send()
            .await
            .problem(403, "companion-not-allowed");
        client
            .post("/conversations", &json!({ "companion": "elara" }))
            .send()
            .await
            .problem(403, "companion-not-allowed");
        // The one that is left is meant.
        let reply = client.chat(&json!({ "message": "Hi." })).send().await.expect(200);
        assert_eq!(reply["companion"], "twin");
    }
    let body = json!({ "message": "Hi.", "conversation_id": with_elara["conversation_id"] });
    only_twin.chat(&body).send().await.problem(403, "companion-not-allowed");
}
