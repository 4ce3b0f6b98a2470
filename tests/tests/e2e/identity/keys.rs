//! API keys: created on the command line and over HTTP, shown once, rotated, revoked; and the tokens that they can
//! mint.

use masque_tests::{Client, Setup};
use serde_json::{Value, json};

async fn admin() -> (masque_tests::Host, Client) {
    let setup = Setup::defaults().with_authentication();
    let scopes =
        ["--scope", "admin:read", "--scope", "admin:write", "--scope", "tokens:mint", "--scope", "chat"];
    let key = setup.create_key(&scopes).await;
    let host = setup.start().await;
    let client = host.client().bearer(&key);
    (host, client)
}

async fn create(admin: &Client, body: Value) -> Value {
    admin.post("/admin/keys", &body).send().await.expect(201)
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[tokio::test]
async fn a_key_is_shown_once_and_listed_without_its_secret() {
    let (_host, admin) = admin().await;
    let created =
        create(&admin, json!({ "name": "web shop", "scopes": ["chat"], "expires_in_days": 1 })).await;
    let (secret, id) = (text(&created, "secret"), text(&created, "id"));
    assert!(secret.starts_with(&format!("msq_{id}_")), "{created}");
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
async fn a_key_for_a_companion_that_the_file_does_not_have_is_made_with_a_warning() {
    let setup = Setup::defaults().with_authentication();
    let data = setup.data().to_str().unwrap().to_owned();
    let create = ["keys", "create", "mine", "--data", &data, "--scope", "chat", "--companion"];
    let known = setup.run(&[&create[..], &["elara"]].concat()).await;
    assert!(known.status.success() && !known.text.contains("no companion"), "{}", known.text);
    let unknown = setup.run(&[&create[..], &["elarra"]].concat()).await;
    assert!(unknown.status.success() && unknown.text.contains("msq_"), "{}", unknown.text);
    assert!(unknown.text.contains("masque.toml has no companion `elarra`"), "{}", unknown.text);
}

#[tokio::test]
async fn an_invalid_key_request_names_the_field() {
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
async fn the_old_secret_of_a_rotated_key_is_valid_until_the_overlap_ends() {
    let (_host, admin) = admin().await;
    let created = create(&admin, json!({ "name": "x", "scopes": ["chat"] })).await;
    let rotate = format!("/admin/keys/{}/rotate", text(&created, "id"));
    let rotated = admin.post(&rotate, &json!({})).send().await.expect(200);
    for secret in [text(&created, "secret"), text(&rotated, "secret")] {
        admin.bearer(secret).get("/conversations").send().await.expect(200);
    }
    let again = admin.post(&rotate, &json!({ "overlap_hours": 0 })).send().await.expect(200);
    for secret in [text(&created, "secret"), text(&rotated, "secret")] {
        let problem = admin.bearer(secret).get("/conversations").send().await.problem(401, "invalid-token");
        assert_eq!(problem["reason"], "unknown-api-key");
    }
    admin.bearer(text(&again, "secret")).get("/conversations").send().await.expect(200);
    admin.post(&rotate, &json!({ "overlap_hours": 721 })).send().await.problem(422, "invalid-request");
}

#[tokio::test]
async fn keys_can_be_managed_on_the_command_line_while_the_host_runs() {
    let setup = Setup::defaults().with_authentication();
    let early = setup.create_key(&["--scope", "chat"]).await;
    let host = setup.start().await;
    let client = host.client();
    client.bearer(&early).get("/conversations").send().await.expect(200);

    let data = host.data().to_str().unwrap();
    let created = host.run(&["keys", "create", "later", "--scope", "chat", "--data", data]).await;
    let later = created.text.split_whitespace().find(|word| word.starts_with("msq_")).unwrap().to_owned();
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

    for (options, expected) in [
        (vec!["keys", "create", "x"], "scope"),
        (vec!["keys", "create", "x", "--scope", "root"], "root"),
        (vec!["keys", "revoke", "0000000000000000"], "0000000000000000"),
        (vec!["keys", "rotate", "nothing"], "nothing"),
    ] {
        let refused = host.run(&[&options[..], &["--data", data]].concat()).await;
        assert!(
            !refused.status.success() && refused.text.contains(expected),
            "{options:?}: {}",
            refused.text
        );
    }
}

#[tokio::test]
async fn a_minted_token_has_no_more_than_its_key() {
    let (_host, admin) = admin().await;
    let minter =
        create(&admin, json!({ "name": "m", "scopes": ["tokens:mint", "chat"], "tenant": "acme" })).await;
    let minter = admin.bearer(text(&minter, "secret"));
    let created = minter
        .post("/auth/token", &json!({ "user_id": "ana", "expires_in_hours": 2 }))
        .send()
        .await
        .expect(200);
    assert_eq!((text(&created, "token_type"), &created["expires_in"]), ("bearer", &json!(7200)));
    let ana = minter.bearer(text(&created, "access_token"));
    ana.say("Hello.").await;

    let validated = ana.request("POST".parse().unwrap(), "/auth/validate").send().await.expect(200);
    assert_eq!(validated["valid"], json!(true));
    let claims = &validated["claims"];
    assert_eq!(
        (&claims["sub"], &claims["scope"], &claims["tenant"]),
        (&json!("ana"), &json!("chat"), &json!("acme"))
    );
    for name in ["iss", "aud", "exp", "iat", "jti", "client_id"] {
        assert!(!claims[name].is_null(), "no {name} in {claims}");
    }

    // A token can't mint tokens.
    ana.post("/auth/token", &json!({ "user_id": "ana" })).send().await.problem(403, "insufficient-scope");
    for (status, kind, body) in [
        (422, "invalid-request", json!({ "user_id": "" })),
        (422, "invalid-request", json!({ "user_id": "a\u{7}" })),
        (422, "invalid-request", json!({ "user_id": "ana", "expires_in_hours": 25 })),
        (422, "invalid-request", json!({ "user_id": "ana", "expires_in_hours": 0 })),
        (422, "invalid-request", json!({ "user_id": "ana", "expires_in_hours": -1 })),
        (422, "invalid-request", json!({ "user_id": "ana", "scopes": ["admin:read"] })),
        (422, "invalid-request", json!({ "user_id": "ana", "scopes": ["admin:write"] })),
        (422, "invalid-request", json!({ "user_id": "ana", "scopes": ["metrics:read"] })),
        (422, "invalid-request", json!({ "user_id": "ana", "scopes": ["tokens:mint"] })),
        (422, "invalid-request", json!({ "user_id": "ana", "scopes": ["users:act"] })),
        (422, "invalid-request", json!({ "user_id": "ana", "scopes": ["everything"] })),
        (422, "unknown-field", json!({ "user_id": "ana", "tenant": "default" })),
        (422, "invalid-request", json!({})),
    ] {
        minter.post("/auth/token", &body).send().await.problem(status, kind);
    }
    // A token does not outlive the key that it is minted with.
    let short =
        create(&admin, json!({ "name": "m", "scopes": ["tokens:mint", "chat"], "expires_in_days": 1 })).await;
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
    let without_chat = create(&admin, json!({ "name": "m", "scopes": ["tokens:mint"] })).await;
    let without_chat = admin.bearer(text(&without_chat, "secret"));
    without_chat
        .post("/auth/token", &json!({ "user_id": "ana" }))
        .send()
        .await
        .problem(403, "insufficient-scope");
}

/// The limits of a key hold before the host has read it with its next refresh.
#[tokio::test]
async fn the_limits_of_a_key_made_on_the_command_line_hold_for_its_first_token() {
    let host = Setup::defaults().with_authentication().start().await;
    let data = host.data().to_str().unwrap();
    for _ in 0..3 {
        let options =
            ["keys", "create", "x", "--scope", "chat", "--scope", "tokens:mint", "--companion", "nobody"];
        let created = host.run(&[&options[..], &["--data", data]].concat()).await;
        let key = created.text.split_whitespace().find(|word| word.starts_with("msq_")).unwrap().to_owned();
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
async fn the_companions_of_a_key_restrict_its_tokens() {
    let toml = "[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"offline\"]\n\
        [companions.other]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"offline\"]\n";
    let setup = Setup::file(toml).with_authentication();
    let unrestricted_key = setup.create_key(&["--scope", "chat", "--scope", "tokens:mint"]).await;
    let restricted_key =
        setup.create_key(&["--scope", "chat", "--scope", "tokens:mint", "--companion", "other"]).await;
    let host = setup.start().await;
    let client = host.client();
    let mint = |key: String| {
        let client = client.clone();
        async move {
            let created = client
                .bearer(&key)
                .post("/auth/token", &json!({ "user_id": "ana" }))
                .send()
                .await
                .expect(200);
            client.bearer(text(&created, "access_token"))
        }
    };
    let (unrestricted, restricted) = (mint(unrestricted_key).await, mint(restricted_key.clone()).await);
    let with_elara =
        unrestricted.chat(&json!({ "message": "Hi.", "companion": "elara" })).send().await.expect(200);
    for client in [client.bearer(&restricted_key), restricted.clone()] {
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
        // With one companion left, it need not be named.
        let reply = client.chat(&json!({ "message": "Hi." })).send().await.expect(200);
        assert_eq!(reply["companion"], "other");
    }
    let body = json!({ "message": "Hi.", "conversation_id": with_elara["conversation_id"] });
    // What belongs to another companion is unknown to the key.
    restricted.chat(&body).send().await.problem(404, "conversation-not-found");
}
