//! The audit log, and secrets that must not appear in anything that the host writes.

use masque_tests::{MockModel, SECRET, Setup};
use serde_json::{Value, json};

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[tokio::test]
async fn every_administrative_change_is_in_the_audit_log_with_its_actor() {
    let setup = Setup::defaults().with_authentication();
    let options =
        ["--scope", "admin:read", "--scope", "admin:write", "--scope", "tokens:mint", "--scope", "chat"];
    let key = setup.create_key(&options).await;
    let id = key.split('_').nth(1).unwrap();
    let host = setup.start().await;
    let admin = host.client().bearer(&key);
    let created = admin
        .post("/admin/keys", &json!({ "name": "x", "scopes": ["chat"] }))
        .header("x-request-id", "the-request")
        .send()
        .await
        .expect(201);
    let path = format!("/admin/keys/{}", text(&created, "id"));
    admin.post(&format!("{path}/rotate"), &json!({})).send().await.expect(200);
    admin.delete(&path).send().await.expect(200);
    admin.post("/auth/token", &json!({ "user_id": "ana" })).send().await.expect(200);
    admin.post("/admin/revocations", &json!({ "user_id": "ana" })).send().await.expect(201);

    let log = admin.get("/admin/audit").send().await.expect(200);
    let entries = log["items"].as_array().unwrap();
    let actions: Vec<_> = entries.iter().map(|entry| text(entry, "action")).collect();
    assert_eq!(
        actions,
        ["token.revoke", "token.mint", "key.revoke", "key.rotate", "key.create", "key.create"]
    );
    for entry in &entries[..5] {
        assert_eq!(text(entry, "actor"), format!("key:{id}"), "{entry}");
        assert_eq!((text(entry, "outcome"), text(entry, "address")), ("ok", "127.0.0.1"), "{entry}");
    }
    assert_eq!(text(&entries[4], "request_id"), "the-request");
    assert_eq!(text(&entries[5], "actor"), "cli");
    assert_eq!(text(&entries[0], "target"), "user:masque|ana");

    let first = admin.get("/admin/audit?limit=2").send().await.expect(200);
    let rest = admin.get(&format!("/admin/audit?after={}", text(&first, "next"))).send().await.expect(200);
    assert_eq!(rest["items"].as_array().unwrap().len(), 4);
    admin.get("/admin/audit?after=nonsense").send().await.problem(422, "invalid-request");
}

/// Uses a credential of each kind, correctly and incorrectly, and then searches the log, all answers and the data
/// folder.
#[tokio::test]
async fn no_secret_is_in_anything_that_the_host_writes() {
    let model = MockModel::start().await;
    let setup = Setup::model(&model).with_authentication().and("[log]\nlevel = \"trace\"");
    let options =
        ["--scope", "admin:read", "--scope", "admin:write", "--scope", "tokens:mint", "--scope", "chat"];
    let key = setup.create_key(&options).await;
    let host = setup.start().await;
    let client = host.client();
    let admin = client.bearer(&key);
    let created =
        admin.post("/admin/keys", &json!({ "name": "x", "scopes": ["chat"] })).send().await.expect(201);
    let minted = admin.post("/auth/token", &json!({ "user_id": "ana" })).send().await.expect(200);
    let token = text(&minted, "access_token").to_owned();
    client.bearer(&token).say("Hello.").await;
    let mut answers = Vec::new();
    for credential in [&key, &token, &text(&created, "secret").to_owned()] {
        // Correct; over HTTP/2; cut short; with a character added; with another scheme; in a body; in a field that does
        // not exist.
        answers.push(client.bearer(credential).get("/conversations").send().await.text);
        answers.push(client.http2().bearer(credential).get("/conversations").send().await.text);
        answers
            .push(client.bearer(&credential[..credential.len() - 1]).get("/conversations").send().await.text);
        answers.push(client.bearer(&format!("{credential}x")).get("/conversations").send().await.text);
        answers.push(
            client
                .get("/conversations")
                .header("authorization", &format!("Basic {credential}"))
                .send()
                .await
                .text,
        );
        answers.push(
            client.post("/auth/validate", &json!({ "token": format!("{credential}x") })).send().await.text,
        );
        answers.push(client.post("/chat", &json!({ "message": "x", "token": credential })).send().await.text);
    }
    for path in ["/status", "/health", "/admin/keys", "/admin/audit", "/openapi.json"] {
        answers.push(admin.get(path).send().await.text);
    }
    let mut written = host.log();
    written.push_str(&answers.join("\n"));
    for file in files(host.data()) {
        written.push_str(&String::from_utf8_lossy(&std::fs::read(&file).unwrap_or_default()));
    }
    let secrets = [
        ("the signing secret", SECRET.to_owned()),
        ("the admin key", key.rsplit('_').next().unwrap().to_owned()),
        ("the new key", text(&created, "secret").rsplit('_').next().unwrap().to_owned()),
        ("the token's signature", token.rsplit('.').next().unwrap().to_owned()),
        ("the model's key", model.key().to_owned()),
    ];
    for (name, secret) in secrets {
        assert!(!written.contains(&secret[..secret.len().min(20)]), "{name} was written");
    }
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}
