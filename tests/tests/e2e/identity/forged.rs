//! Tokens that were not made for this host, or not by whoever they name: each is refused with its reason, whatever route
//! it is sent to.

use masque_tests::{
    IdentityProvider, SECRET, Setup, SigningKey, base64url, claims, claims_with, hmac, message, now, signed,
    token,
};
use serde_json::{Value, json};

/// Sends a token where it would count, and gives the reason for which it is refused.
async fn reason(client: &masque_tests::Client, token: &str) -> String {
    let answer = client.bearer(token).get("/conversations").send().await;
    let problem = answer.problem(401, "invalid-token");
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""), "{challenge}");
    // The same is said to whoever asks what it is worth.
    let judged = client.post("/auth/validate", &json!({ "token": token })).send().await.expect(200);
    assert_eq!((&judged["valid"], &judged["reason"]), (&json!(false), &problem["reason"]), "{judged}");
    assert!(judged.get("claims").is_none(), "{judged}");
    problem["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_is_only_what_its_signature_says() {
    let host = Setup::defaults().with_users().start().await;
    let client = host.client();
    client.bearer(&token(&claims("ana"))).get("/conversations").send().await.expect(200);

    let ana = claims("ana");
    let payload = Value::Object(ana.clone()).to_string();
    let good = token(&ana);
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let head = |header: Value| signed(&header, &ana, SECRET);
    let deep = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    let mut cases: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, token: String| cases.push((name.to_owned(), token));

    for none in ["none", "None", "NONE", "nOnE", "", "null", "none "] {
        let header = format!("{{\"alg\":\"{none}\",\"typ\":\"JWT\"}}");
        let unsigned = message(&header, &payload);
        add(&format!("alg {none:?} without a signature"), format!("{unsigned}."));
        add(&format!("alg {none:?} with one"), format!("{unsigned}.{}", hmac(&unsigned, SECRET.as_bytes())));
    }
    for header in [
        "{}",
        "{\"typ\":\"JWT\"}",
        "{\"alg\":null}",
        "{\"alg\":[\"HS256\"]}",
        "{\"alg\":256}",
        "[]",
        "\"HS256\"",
        "null",
        "",
    ] {
        let unsigned = message(header, &payload);
        add(&format!("header {header:?}"), format!("{unsigned}.{}", hmac(&unsigned, SECRET.as_bytes())));
    }
    for algorithm in ["HS384", "HS512", "RS256", "ES256", "EdDSA", "PS256", "hs256", "HS256 "] {
        add(&format!("alg {algorithm}"), head(json!({ "alg": algorithm })));
    }
    add("a header that names alg twice", {
        let unsigned = message("{\"alg\":\"none\",\"alg\":\"HS256\"}", &payload);
        format!("{unsigned}.{}", hmac(&unsigned, SECRET.as_bytes()))
    });
    for (member, value) in [
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
        ("jwk", json!({ "kty": "oct", "k": base64url(SECRET) })),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
    ] {
        add(member, head(json!({ "alg": "HS256", member: value })));
    }
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "' OR '1'='1",
        "1; DROP TABLE keys",
        "\u{0}",
        "x".repeat(3000).as_str(),
    ] {
        add(&format!("kid {:?}", kid.get(..12).unwrap_or(kid)), head(json!({ "alg": "HS256", "kid": kid })));
    }
    for typ in ["dpop+jwt", "logout+jwt", "id_token+jwt", "secevent+jwt", "JWE", ""] {
        add(&format!("typ {typ:?}"), head(json!({ "alg": "HS256", "typ": typ })));
    }
    for secret in ["", "secret", "change-me", &SECRET.to_lowercase(), &SECRET[..SECRET.len() - 1]] {
        if !secret.is_empty() {
            add(&format!("secret {secret:?}"), signed(&json!({ "alg": "HS256" }), &ana, secret));
        }
    }
    add("no signature", format!("{unsigned}."));
    add("no third part", unsigned.to_owned());
    add("a fourth part", format!("{good}.x"));
    add("five parts, as of an encrypted token", format!("{good}.x.y"));
    add("another payload under its signature", {
        let other = message("{\"alg\":\"HS256\",\"typ\":\"JWT\"}", &Value::Object(claims("ben")).to_string());
        format!("{other}.{signature}")
    });
    add("padding", format!("{unsigned}.{signature}="));
    add("the alphabet of plain base64", good.replace('-', "+").replace('_', "/") + "+");
    add("a character that is none", format!("{unsigned}.{signature}*"));
    add("a signature one digit short", good[..good.len() - 1].to_owned());
    add("a payload that is no JSON", {
        let unsigned = message("{\"alg\":\"HS256\"}", "not json");
        format!("{unsigned}.{}", hmac(&unsigned, SECRET.as_bytes()))
    });
    for (name, payload) in [
        ("a payload that is no object", "[1]".to_owned()),
        ("duplicate claims", payload.replacen('{', "{\"sub\":\"root\",", 1)),
        ("a duplicate claim further in", payload.replacen('{', "{\"x\":{\"y\":1,\"y\":2},", 1)),
        ("a nested payload", payload.replacen('{', &format!("{{\"x\":{deep},"), 1)),
        ("an oversized payload", payload.replacen('{', &format!("{{\"x\":\"{}\",", "y".repeat(9000)), 1)),
        ("a payload with a tail", format!("{payload}{{}}")),
    ] {
        let unsigned = message("{\"alg\":\"HS256\",\"typ\":\"JWT\"}", &payload);
        add(name, format!("{unsigned}.{}", hmac(&unsigned, SECRET.as_bytes())));
    }
    add("nothing but dots", "..".to_owned());
    add("a word", "token".to_owned());
    add("a key that was never made", format!("msq_{}_{}", "0".repeat(16), "0".repeat(64)));
    add("a key's prefix", "msq_".to_owned());

    for (name, token) in cases {
        let answer = client.bearer(&token).get("/conversations").send().await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text);
        reason(&client, &token).await;
    }
}

#[tokio::test]
async fn a_token_is_for_one_host_and_a_time() {
    let host = Setup::defaults().with_users().start().await;
    let client = host.client();
    // The leeway is 30 s.
    let good = [
        ("within the leeway of its end", json!({ "exp": now() - 25 })),
        ("issued within the leeway", json!({ "iat": now() + 25 })),
        ("valid within the leeway", json!({ "nbf": now() + 25 })),
        ("several audiences", json!({ "aud": ["other", "masque"] })),
        ("without the time of its issue", json!({ "iat": null })),
    ];
    for (name, changes) in good {
        let answer = client.bearer(&token(&claims_with("ana", changes))).get("/conversations").send().await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text);
    }
    let wrong = [
        ("expired by a second", json!({ "exp": now() - 31 }), "expired"),
        ("expired long ago", json!({ "exp": 0 }), "expired"),
        ("not yet valid", json!({ "nbf": now() + 60 }), "not-yet-valid"),
        ("issued in the future", json!({ "iat": now() + 60 }), "not-yet-valid"),
        ("of another issuer", json!({ "iss": "https://evil.example" }), "unknown-issuer"),
        ("of an issuer that only begins alike", json!({ "iss": "masque.example" }), "unknown-issuer"),
        ("of no issuer", json!({ "iss": null }), "unknown-issuer"),
        ("for another audience", json!({ "aud": "other" }), "wrong-audience"),
        ("for no audience", json!({ "aud": null }), "wrong-audience"),
        ("for an empty list", json!({ "aud": [] }), "wrong-audience"),
    ];
    for (name, changes, expected) in wrong {
        assert_eq!(reason(&client, &token(&claims_with("ana", changes))).await, expected, "{name}");
    }
    for (name, changes) in [
        ("without an end", json!({ "exp": null })),
        ("with a text for an end", json!({ "exp": "tomorrow" })),
        ("with a negative end", json!({ "exp": -1 })),
        ("with an endless end", json!({ "exp": 1e300 })),
        ("of nobody", json!({ "sub": null })),
        ("of an empty name", json!({ "sub": "" })),
        ("of a number", json!({ "sub": 7 })),
        ("of a name with a line break", json!({ "sub": "ana\nroot" })),
        ("of a name that is too long", json!({ "sub": "a".repeat(256) })),
        ("with two issuers", json!({ "iss": ["masque", "other"] })),
    ] {
        let forged = token(&claims_with("ana", changes));
        let answer = client.bearer(&forged).get("/conversations").send().await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text);
        reason(&client, &forged).await;
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret_and_no_token_brings_its_own_key() {
    let (rsa, other) = (SigningKey::rsa("rsa-1"), SigningKey::rsa("rsa-1"));
    let provider = IdentityProvider::start(&[&rsa]).await;
    let host = Setup::defaults().with_users().and(&provider.section("")).start().await;
    let client = host.client();
    let ana = provider.claims("ana");
    client.bearer(&rsa.token(&ana)).get("/conversations").send().await.expect(200);

    let jwk = rsa.jwk();
    let forged = [
        (
            "HS256 with the modulus",
            signed(&json!({ "alg": "HS256", "kid": "rsa-1" }), &ana, jwk["n"].as_str().unwrap()),
        ),
        ("HS256 with the JWK", signed(&json!({ "alg": "HS256", "kid": "rsa-1" }), &ana, &jwk.to_string())),
        ("the host's own secret in the provider's name", signed(&json!({ "alg": "HS256" }), &ana, SECRET)),
        ("a key of the same id", other.token(&ana)),
        (
            "its own key within",
            other.token_with(json!({ "alg": "RS256", "kid": "rsa-1", "jwk": other.jwk() }), &ana),
        ),
        (
            "a key elsewhere",
            other.token_with(
                json!({ "alg": "RS256", "kid": "rsa-1", "jku": "http://127.0.0.1:1/keys" }),
                &ana,
            ),
        ),
        ("another algorithm of the family", rsa.token_with(json!({ "alg": "RS512", "kid": "rsa-1" }), &ana)),
        ("the provider's key in the host's name", rsa.token(&claims("ana"))),
        (
            "another audience",
            rsa.token(&claims_with("ana", json!({ "iss": provider.issuer, "aud": "shop" }))),
        ),
    ];
    for (name, token) in forged {
        let answer = client.bearer(&token).get("/conversations").send().await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_credential_is_one_header_of_one_form() {
    let host = Setup::defaults().with_users().start().await;
    let client = host.client();
    let token = token(&claims("ana"));
    for value in [
        token.clone(),
        format!("Basic {token}"),
        format!("Token {token}"),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Bearer {token} {token}"),
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer\t{token}"),
    ] {
        let answer = client.get("/conversations").header("authorization", &value).send().await;
        assert_eq!(answer.status, 401, "{value:?}: {}", answer.text);
    }
    let twice = client.get("/conversations");
    let twice = twice
        .header("authorization", &format!("Bearer {token}"))
        .header("authorization", &format!("Bearer {token}"));
    twice.send().await.problem(401, "unauthenticated");
    for value in [format!("bearer {token}"), format!("BEARER {token}"), format!("Bearer  {token}")] {
        client.get("/conversations").header("authorization", &value).send().await.expect(200);
    }
    // Neither a query nor a body is a place for a token (RFC 9700, section 4.3.2).
    let asked = client.get(&format!("/conversations?access_token={token}")).send().await;
    asked.problem(401, "unauthenticated");
}
