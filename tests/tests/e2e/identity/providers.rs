//! Identity providers: how their keys are found, fetched and replaced, and what happens while they are away.

use masque_tests::{IdentityProvider, Setup, SigningKey, claims_with, eventually};
use serde_json::json;

#[tokio::test]
async fn keys_of_every_type_are_found_by_discovery() {
    let keys = [SigningKey::rsa("r"), SigningKey::p256("e"), SigningKey::ed25519("o")];
    let provider = IdentityProvider::start(&keys.each_ref()).await;
    let section = provider.section("algorithms = [\"RS256\", \"ES256\", \"EdDSA\"]");
    let host = Setup::file(&section).start().await;
    for key in &keys {
        let client = host.client().bearer(&key.token(&provider.claims("ana")));
        client.say("Hello.").await;
    }
    // All three tokens are of the same user.
    let page =
        host.client().bearer(&keys[0].token(&provider.claims("ana"))).get("/conversations").send().await;
    assert_eq!(page.expect(200)["items"].as_array().unwrap().len(), 3);
    // This host mints no tokens of its own.
    let outcome = host.client().post("/auth/token", &json!({ "user_id": "ana" })).send().await;
    outcome.problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_token_with_an_algorithm_that_is_not_configured_is_refused() {
    let (rsa, ec) = (SigningKey::rsa("r"), SigningKey::p256("e"));
    let provider = IdentityProvider::start(&[&rsa, &ec]).await;
    let host = Setup::file(&provider.section("")).start().await;
    host.client().bearer(&rsa.token(&provider.claims("ana"))).get("/conversations").send().await.expect(200);
    let refused = host.client().bearer(&ec.token(&provider.claims("ana"))).get("/conversations").send().await;
    refused.problem(401, "invalid-token");
}

#[tokio::test]
async fn a_provider_can_rotate_its_keys_while_the_host_runs() {
    let (old, new) = (SigningKey::rsa("2026-10"), SigningKey::rsa("2026-11"));
    let provider = IdentityProvider::start(&[&old]).await;
    let host = Setup::file(&provider.section("cooldown = \"100ms\"")).start().await;
    let client = host.client();
    let client_with = |key: &SigningKey| client.bearer(&key.token(&provider.claims("ana")));
    client_with(&old).say("Before.").await;

    provider.publish(&[&new, &old]);
    // A token with an unknown key has the keys fetched while it waits.
    eventually("the new key to be accepted", || async {
        (client_with(&new).get("/conversations").send().await.status == 200).then_some(())
    })
    .await;
    client_with(&old).say("During.").await;

    provider.publish(&[&new]);
    let unknown = SigningKey::rsa("2026-12");
    eventually("the old key to be gone", || async {
        // A token with an unknown key has the keys fetched again.
        client_with(&unknown).get("/conversations").send().await.problem(401, "invalid-token");
        (client_with(&old).get("/conversations").send().await.status == 401).then_some(())
    })
    .await;
    client_with(&new).say("After.").await;
}

#[tokio::test]
async fn a_flood_of_unknown_keys_causes_one_fetch() {
    let key = SigningKey::rsa("r");
    let provider = IdentityProvider::start(&[&key]).await;
    let host = Setup::file(&provider.section("cooldown = \"1h\"")).start().await;
    let client = host.client();
    client.bearer(&key.token(&provider.claims("ana"))).get("/conversations").send().await.expect(200);
    let before = provider.fetch_count();
    let flood = (0..100).map(|number| {
        let forged =
            key.token_with(json!({ "alg": "RS256", "kid": format!("k{number}") }), &provider.claims("ana"));
        let client = client.bearer(&forged);
        async move { client.get("/conversations").send().await.problem(401, "invalid-token") }
    });
    futures::future::join_all(flood).await;
    assert!(provider.fetch_count() <= before + 1, "{} fetches", provider.fetch_count() - before);
}

#[tokio::test]
async fn keys_that_were_fetched_stay_valid_while_the_provider_is_away() {
    let key = SigningKey::rsa("r");
    let provider = IdentityProvider::start(&[&key]).await;
    provider.set_unavailable(true);
    let host = Setup::file(&provider.section("cooldown = \"50ms\"")).start().await;
    let client = host.client().bearer(&key.token(&provider.claims("ana")));
    // The keys were never fetched, so the token can't be judged.
    client.get("/conversations").send().await.problem(503, "issuer-unavailable");
    provider.set_unavailable(false);
    eventually("the keys to be fetched", || async {
        (client.get("/conversations").send().await.status == 200).then_some(())
    })
    .await;
    provider.set_unavailable(true);
    client.get("/conversations").send().await.expect(200);
    let other = SigningKey::rsa("x");
    let forged = host.client().bearer(&other.token(&provider.claims("ana")));
    forged.get("/conversations").send().await.problem(401, "invalid-token");
    client.get("/conversations").send().await.expect(200);
}

#[tokio::test]
async fn a_file_of_keys_is_read_again_when_it_changes() {
    let (old, new) = (SigningKey::p256("a"), SigningKey::p256("b"));
    let file = |key: &SigningKey| json!({ "keys": [key.jwk()] }).to_string();
    let section = "[auth.issuers.file]\nissuer = \"https://id.example\"\naudience = \"masque\"\nalgorithms = [\"ES256\"]\njwks_file = \"keys.json\"\n";
    let host = Setup::file(section).beside("keys.json", file(&old).as_bytes()).start().await;
    let claims = claims_with("ana", json!({ "iss": "https://id.example" }));
    let client_with = |key: &SigningKey| host.client().bearer(&key.token(&claims));
    client_with(&old).get("/conversations").send().await.expect(200);
    client_with(&new).get("/conversations").send().await.problem(401, "invalid-token");
    std::fs::write(host.folder().join("keys.json"), file(&new)).unwrap();
    eventually("the file to be read again", || async {
        (client_with(&new).get("/conversations").send().await.status == 200).then_some(())
    })
    .await;
    client_with(&old).get("/conversations").send().await.problem(401, "invalid-token");
    // A file that can't be read changes nothing.
    std::fs::write(host.folder().join("keys.json"), "{").unwrap();
    host.logged("keys.json").await;
    client_with(&new).get("/conversations").send().await.expect(200);
}

#[tokio::test]
async fn scopes_tenant_and_type_are_read_as_configured() {
    let key = SigningKey::rsa("r");
    let provider = IdentityProvider::start(&[&key]).await;
    let section = provider.section("scope_claim = \"permissions\"\ntenant_claim = \"org\"\ntyp = \"at+jwt\"");
    let host = Setup::file(&section).start().await;
    let get = |typ: &str, changes: serde_json::Value, path: &str| {
        let mut claims = provider.claims("ana");
        claims.extend(changes.as_object().unwrap().clone());
        let header = json!({ "alg": "RS256", "kid": "r", "typ": typ });
        host.client().bearer(&key.token_with(header, &claims)).get(path)
    };
    let user_route = "/conversations";
    get("at+jwt", json!({ "permissions": ["chat"], "org": "acme" }), user_route).send().await.expect(200);
    get("at+jwt", json!({ "permissions": "chat openid", "org": "acme" }), user_route)
        .send()
        .await
        .expect(200);
    get("JWT", json!({ "permissions": ["chat"], "org": "acme" }), user_route)
        .send()
        .await
        .problem(401, "invalid-token");
    get("at+jwt", json!({ "org": "acme" }), user_route).send().await.problem(403, "insufficient-scope");
    get("at+jwt", json!({ "permissions": ["chat"] }), user_route).send().await.problem(401, "invalid-token");
    get("at+jwt", json!({ "permissions": ["chat"], "org": "A b" }), user_route)
        .send()
        .await
        .problem(401, "invalid-token");
    // Scopes of operators count only in the default tenant.
    let operator = json!({ "permissions": ["admin:read"], "org": "acme" });
    get("at+jwt", operator, "/admin/keys").send().await.problem(403, "insufficient-scope");
    let operator = json!({ "permissions": ["admin:read"], "org": "default" });
    get("at+jwt", operator, "/admin/keys").send().await.expect(200);
}

#[tokio::test]
async fn tokens_and_keys_are_read_as_providers_write_them() {
    let key = SigningKey::ed25519("o");
    let provider = IdentityProvider::start(&[&key]).await;
    // A key with padding and the name of RFC 9864, next to keys that can't be used.
    let mut jwk = key.jwk();
    jwk["alg"] = json!("Ed25519");
    jwk["x"] = json!(format!("{}=", jwk["x"].as_str().unwrap().replace('-', "+").replace('_', "/")));
    let weak = json!({ "kty": "RSA", "kid": "weak-1", "n": "AQID", "e": "AQAB" });
    let other = json!({ "kty": "RSA", "kid": "enc-1", "use": "enc", "n": "AQID", "e": "AQAB" });
    provider.publish_raw(vec![weak, other, jwk]);
    let section = provider.section(
        "algorithms = [\"EdDSA\", \"RS256\"]\naudience_claim = \"client_id\"\nscope_claim = \"realm_access.roles\"",
    );
    let host = Setup::file(&section).start().await;
    let mut claims = provider.claims("ana");
    claims.remove("scope");
    claims.insert("aud".into(), json!(null));
    claims.insert("jti".into(), json!(null));
    claims.insert("client_id".into(), json!("masque"));
    claims.insert("realm_access".into(), json!({ "roles": ["chat", "uma_authorization"] }));
    let header =
        json!({ "alg": "Ed25519", "kid": "o", "typ": "JWT", "x5c": ["MIIB"], "jku": "http://127.0.0.1:1/" });
    host.client().bearer(&key.token_with(header.clone(), &claims)).say("Hello.").await;
    host.logged_in_one_line(&["WARN", "`weak-1`", "2048 bits"]).await;
    host.logged_in_one_line(&["INFO", "`enc-1`", "`use`"]).await;

    // A refusal names the claim, to the client and in the log.
    claims.insert("client_id".into(), json!("another"));
    let refused = host.client().bearer(&key.token_with(header.clone(), &claims)).get("/conversations");
    let problem = refused.send().await.problem(401, "invalid-token");
    assert_eq!((&problem["reason"], &problem["claim"]), (&json!("wrong-audience"), &json!("client_id")));
    host.logged_in_one_line(&["masque::audit", "refused", "wrong-audience", "client_id"]).await;
    // An issuer with a slash too many is shown next to the right one.
    claims.insert("iss".into(), json!(format!("{}/", provider.issuer)));
    let unknown = host.client().bearer(&key.token_with(header, &claims)).get("/conversations");
    unknown.send().await.problem(401, "invalid-token");
    let both = [format!("\"{}/\"", provider.issuer), format!("[\"{}\"]", provider.issuer)];
    host.logged_in_one_line(&[&both[0], &both[1]]).await;
}
