//! Taken back: one token, all of a user's, a key with what was made with it. In force at once here and within seconds
//! where another process did it, and after a restart.

use masque_tests::{Setup, claims_with, now, token};
use serde_json::{Value, json};

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}"))
}

#[tokio::test]
async fn what_is_revoked_is_void_at_once_and_stays_so() {
    let setup = Setup::defaults().with_users();
    let key = setup.make_key(&["--scope", "admin:write", "--scope", "admin:read"]).await;
    let mut host = setup.start().await;
    let admin = host.client().bearer(&key);
    let of =
        |user: &str, jti: &str, issued: i64| token(&claims_with(user, json!({ "jti": jti, "iat": issued })));
    let (one, two) = (of("ana", "one", now() - 5), of("ana", "two", now() - 5));
    let ben = of("ben", "three", now() - 5);

    admin.post("/admin/revocations", &json!({ "jti": "one" })).send().await.expect(201);
    let problem = admin.bearer(&one).get("/conversations").send().await.problem(401, "invalid-token");
    assert_eq!(problem["reason"], "revoked");
    admin.bearer(&two).get("/conversations").send().await.expect(200);

    admin.post("/admin/revocations", &json!({ "user_id": "ana" })).send().await.expect(201);
    admin.bearer(&two).get("/conversations").send().await.problem(401, "invalid-token");
    admin.bearer(&ben).get("/conversations").send().await.expect(200);
    // Whoever logs in again is let in: a token of a later second.
    let later = of("ana", "four", now() + 5);
    admin.bearer(&later).get("/conversations").send().await.expect(200);
    let judged = admin.post("/auth/validate", &json!({ "token": two })).send().await.expect(200);
    assert_eq!(judged, json!({ "valid": false, "reason": "revoked" }));

    host.restart().await;
    let client = host.client();
    for void in [&one, &two] {
        client.bearer(void).get("/conversations").send().await.problem(401, "invalid-token");
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
async fn a_key_goes_with_every_token_that_was_made_with_it() {
    let setup = Setup::defaults().with_users();
    let admin = setup.make_key(&["--scope", "admin:write"]).await;
    let minter = setup.make_key(&["--scope", "tokens:mint", "--scope", "chat"]).await;
    let host = setup.start().await;
    let client = host.client();
    let made =
        client.bearer(&minter).post("/auth/token", &json!({ "user_id": "ana" })).send().await.expect(200);
    let ana = client.bearer(text(&made, "access_token"));
    ana.get("/conversations").send().await.expect(200);

    let id = minter.split('_').nth(1).unwrap();
    let path = format!("/admin/keys/{id}");
    let revoked = client.bearer(&admin).delete(&path).send().await.expect(200);
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
    // Twice is no mistake, and nothing is rotated that is gone.
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
async fn the_command_line_revokes_beside_a_running_host() {
    let host = Setup::defaults().with_users().start().await;
    let of = |user: &str, jti: &str| {
        host.client().bearer(&token(&claims_with(user, json!({ "jti": jti, "iat": now() - 5 }))))
    };
    let (one, two) = (of("ana", "one"), of("ana", "two"));
    let data = host.data().to_str().unwrap();
    let gone = |client: masque_tests::Client| async move {
        masque_tests::eventually("the token to be void", || async {
            (client.get("/conversations").send().await.status == 401).then_some(())
        })
        .await;
    };
    assert!(host.run(&["tokens", "revoke", "--jti", "one", "--data", data]).await.status.success());
    gone(one).await;
    two.get("/conversations").send().await.expect(200);
    assert!(host.run(&["tokens", "revoke", "--user", "ana", "--data", data]).await.status.success());
    gone(two).await;
    for words in
        [vec![], vec!["--jti", "x", "--user", "y"], vec!["--jti", "x", "--issuer", "https://evil.example"]]
    {
        let words = [&["tokens", "revoke", "--data", data][..], &words].concat();
        assert!(!host.run(&words).await.status.success(), "{words:?}");
    }
}
