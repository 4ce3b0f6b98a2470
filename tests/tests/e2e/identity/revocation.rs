//! Revocation of one token, of all tokens of a user, and of an API key with the tokens minted with it. In force at once
//! on the host that does it, within seconds if another process does it, and still after a restart.

use masque_tests::{Setup, claims_with, now, token};
use serde_json::{Value, json};

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_after_a_restart() {
    let setup = Setup::defaults().with_authentication();
    let key = setup.create_key(&["--scope", "admin:write", "--scope", "admin:read"]).await;
    let mut host = setup.start().await;
    let admin = host.client().bearer(&key);
    let token_of =
        |user: &str, jti: &str, issued: i64| token(&claims_with(user, json!({ "jti": jti, "iat": issued })));
    let (one, two) = (token_of("ana", "one", now() - 5), token_of("ana", "two", now() - 5));
    let ben = token_of("ben", "three", now() - 5);

    admin.post("/admin/revocations", &json!({ "jti": "one" })).send().await.expect(201);
    let problem = admin.bearer(&one).get("/conversations").send().await.problem(401, "invalid-token");
    assert_eq!(problem["reason"], "revoked");
    admin.bearer(&two).get("/conversations").send().await.expect(200);

    admin.post("/admin/revocations", &json!({ "user_id": "ana" })).send().await.expect(201);
    admin.bearer(&two).get("/conversations").send().await.problem(401, "invalid-token");
    admin.bearer(&ben).get("/conversations").send().await.expect(200);
    // A token that is issued later is valid: the user may log in again.
    let later = token_of("ana", "four", now() + 5);
    admin.bearer(&later).get("/conversations").send().await.expect(200);
    let validated = admin.post("/auth/validate", &json!({ "token": two })).send().await.expect(200);
    assert_eq!(validated, json!({ "valid": false, "reason": "revoked" }));

    host.restart().await;
    let client = host.client();
    for revoked in [&one, &two] {
        client.bearer(revoked).get("/conversations").send().await.problem(401, "invalid-token");
    }
    for body in [
        json!({}),
        json!({ "jti": "x", "user_id": "y" }),
        json!({ "jti": "" }),
        json!({ "jti": "x", "tenant": "acme" }),
        json!({ "jti": "x", "issuer": "https://evil.example" }),
    ] {
        client.bearer(&key).post("/admin/revocations", &body).send().await.problem(422, "invalid-request");
    }
}

#[tokio::test]
async fn revoking_a_key_revokes_the_tokens_minted_with_it() {
    let setup = Setup::defaults().with_authentication();
    let admin = setup.create_key(&["--scope", "admin:write"]).await;
    let minter = setup.create_key(&["--scope", "tokens:mint", "--scope", "chat"]).await;
    let host = setup.start().await;
    let client = host.client();
    let minted =
        client.bearer(&minter).post("/auth/token", &json!({ "user_id": "ana" })).send().await.expect(200);
    let ana = client.bearer(text(&minted, "access_token"));
    ana.get("/conversations").send().await.expect(200);

    let id = minter.split('_').nth(1).unwrap();
    let path = format!("/admin/keys/{id}");
    let revoked = client.bearer(&admin).delete(&path).send().await.expect(200);
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
    // Revoking again succeeds; a revoked key can't be rotated.
    client.bearer(&admin).delete(&path).send().await.expect(200);
    client
        .bearer(&admin)
        .post(&format!("{path}/rotate"), &json!({}))
        .send()
        .await
        .problem(404, "key-not-found");

    let problem = client.bearer(&minter).get("/conversations").send().await.problem(401, "invalid-token");
    assert_eq!(problem["reason"], "revoked");
    let problem = ana.get("/conversations").send().await.problem(401, "invalid-token");
    assert_eq!(problem["reason"], "minting-key-revoked");
}

#[tokio::test]
async fn tokens_can_be_revoked_on_the_command_line_while_the_host_runs() {
    let host = Setup::defaults().with_authentication().start().await;
    let client_of = |user: &str, jti: &str| {
        host.client().bearer(&token(&claims_with(user, json!({ "jti": jti, "iat": now() - 5 }))))
    };
    let (one, two) = (client_of("ana", "one"), client_of("ana", "two"));
    let data = host.data().to_str().unwrap();
    let assert_revoked = |client: masque_tests::Client| async move {
        masque_tests::eventually("the token to be revoked", || async {
            (client.get("/conversations").send().await.status == 401).then_some(())
        })
        .await;
    };
    assert!(host.run(&["tokens", "revoke", "--jti", "one", "--data", data]).await.status.success());
    assert_revoked(one).await;
    two.get("/conversations").send().await.expect(200);
    assert!(host.run(&["tokens", "revoke", "--user", "ana", "--data", data]).await.status.success());
    assert_revoked(two).await;
    for arguments in
        [vec![], vec!["--jti", "x", "--user", "y"], vec!["--jti", "x", "--issuer", "https://evil.example"]]
    {
        let arguments = [&["tokens", "revoke", "--data", data][..], &arguments].concat();
        assert!(!host.run(&arguments).await.status.success(), "{arguments:?}");
    }
}
