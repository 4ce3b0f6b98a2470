//! Forged tokens, and tokens that are not for this host: each is refused with a reason, on a route and by
//! `/auth/validate`.

use masque_tests::{
    IdentityProvider, SECRET, Setup, SigningKey, base64url, claims, claims_with, hmac, now, signed_token,
    signing_input, token,
};
use serde_json::{Value, json};

/// Sends a token to a route and to `/auth/validate`; returns the reason of the refusal, which is the same on both.
async fn refusal_reason(client: &masque_tests::Client, token: &str) -> String {
    let answer = client.bearer(token).get("/conversations").send().await;
    let problem = answer.problem(401, "invalid-token");
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer ") && challenge.contains("error=\"invalid_token\""), "{challenge}");
    let validated = client.post("/auth/validate", &json!({ "token": token })).send().await.expect(200);
    assert_eq!(
        (&validated["valid"], &validated["reason"]),
        (&json!(false), &problem["reason"]),
        "{validated}"
    );
    assert!(validated.get("claims").is_none(), "{validated}");
    problem["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_without_a_right_signature_and_header_is_refused() {
    let host = Setup::defaults().with_authentication().start().await;
    let client = host.client();
    client.bearer(&token(&claims("ana"))).get("/conversations").send().await.expect(200);

    let ana = claims("ana");
    let payload = Value::Object(ana.clone()).to_string();
    let good = token(&ana);
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let with_header = |header: Value| signed_token(&header, &ana, SECRET);
    let deep = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    let mut cases: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, token: String| cases.push((name.to_owned(), token));

    for none in ["none", "None", "NONE", "nOnE", "", "null", "none "] {
        let header = format!("{{\"alg\":\"{none}\",\"typ\":\"JWT\"}}");
        let unsigned = signing_input(&header, &payload);
        add(&format!("alg {none:?} without a signature"), format!("{unsigned}."));
        add(
            &format!("alg {none:?} with a signature"),
            format!("{unsigned}.{}", hmac(&unsigned, SECRET.as_bytes())),
        );
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
        let unsigned = signing_input(header, &payload);
        add(&format!("header {header:?}"), format!("{unsigned}.{}", hmac(&unsigned, SECRET.as_bytes())));
    }
    for algorithm in ["HS384", "HS512", "RS256", "ES256", "EdDSA", "PS256", "hs256", "HS256 "] {
        add(&format!("alg {algorithm}"), with_header(json!({ "alg": algorithm })));
    }
    add("a header that names alg twice", {
        let unsigned = signing_input("{\"alg\":\"none\",\"alg\":\"HS256\"}", &payload);
        format!("{unsigned}.{}", hmac(&unsigned, SECRET.as_bytes()))
    });
    for (member, value) in
        [("crit", json!(["exp"])), ("b64", json!(false)), ("zip", json!("DEF")), ("enc", json!("A256GCM"))]
    {
        add(member, with_header(json!({ "alg": "HS256", member: value })));
    }
    // Members that bring a key along are ignored: the token counts by the host's own secret, and by nothing else.
    for (member, value) in [
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/cert")),
        ("jwk", json!({ "kty": "oct", "k": base64url("another secret of 32 bytes or more") })),
        ("x5c", json!(["MIIB"])),
        ("cty", json!("JWT")),
    ] {
        let header = json!({ "alg": "HS256", member: value });
        client.bearer(&with_header(header.clone())).get("/conversations").send().await.expect(200);
        add(member, signed_token(&header, &ana, "another secret of 32 bytes or more"));
    }
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "' OR '1'='1",
        "1; DROP TABLE keys",
        "\u{0}",
        "x".repeat(3000).as_str(),
    ] {
        add(
            &format!("kid {:?}", kid.get(..12).unwrap_or(kid)),
            with_header(json!({ "alg": "HS256", "kid": kid })),
        );
    }
    for typ in ["dpop+jwt", "logout+jwt", "id_token+jwt", "secevent+jwt", "JWE", ""] {
        add(&format!("typ {typ:?}"), with_header(json!({ "alg": "HS256", "typ": typ })));
    }
    for secret in ["", "secret", "change-me", &SECRET.to_lowercase(), &SECRET[..SECRET.len() - 1]] {
        if !secret.is_empty() {
            add(&format!("secret {secret:?}"), signed_token(&json!({ "alg": "HS256" }), &ana, secret));
        }
    }
    add("no signature", format!("{unsigned}."));
    add("no third part", unsigned.to_owned());
    add("a fourth part", format!("{good}.x"));
    add("five parts, as of an encrypted token", format!("{good}.x.y"));
    add("another payload under its signature", {
        let other =
            signing_input("{\"alg\":\"HS256\",\"typ\":\"JWT\"}", &Value::Object(claims("ben")).to_string());
        format!("{other}.{signature}")
    });
    add("padding", format!("{unsigned}.{signature}="));
    add("the alphabet of plain base64", good.replace('-', "+").replace('_', "/") + "+");
    add("a character outside of the alphabet", format!("{unsigned}.{signature}*"));
    add("a signature one digit short", good[..good.len() - 1].to_owned());
    add("a payload that is no JSON", {
        let unsigned = signing_input("{\"alg\":\"HS256\"}", "not json");
        format!("{unsigned}.{}", hmac(&unsigned, SECRET.as_bytes()))
    });
    for (name, payload) in [
        ("a payload that is no object", "[1]".to_owned()),
        ("duplicate claims", payload.replacen('{', "{\"sub\":\"root\",", 1)),
        ("a duplicate claim at a lower level", payload.replacen('{', "{\"x\":{\"y\":1,\"y\":2},", 1)),
        ("a nested payload", payload.replacen('{', &format!("{{\"x\":{deep},"), 1)),
        ("an oversized payload", payload.replacen('{', &format!("{{\"x\":\"{}\",", "y".repeat(9000)), 1)),
        ("a payload with text after it", format!("{payload}{{}}")),
    ] {
        let unsigned = signing_input("{\"alg\":\"HS256\",\"typ\":\"JWT\"}", &payload);
        add(name, format!("{unsigned}.{}", hmac(&unsigned, SECRET.as_bytes())));
    }
    add("nothing but dots", "..".to_owned());
    add("a plain word", "token".to_owned());
    add("an API key that was never made", format!("msq_{}_{}", "0".repeat(16), "0".repeat(64)));
    add("the prefix of API keys alone", "msq_".to_owned());

    for (name, token) in cases {
        let answer = client.bearer(&token).get("/conversations").send().await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text);
        refusal_reason(&client, &token).await;
    }
}

#[tokio::test]
async fn a_token_for_another_host_or_time_is_refused() {
    let host = Setup::defaults().with_authentication().start().await;
    let client = host.client();
    // The leeway is 30 s.
    let good = [
        ("expired within the leeway", json!({ "exp": now() - 10 })),
        ("issued within the leeway", json!({ "iat": now() + 25 })),
        ("valid within the leeway", json!({ "nbf": now() + 25 })),
        ("several audiences", json!({ "aud": ["other", "masque"] })),
        ("without the time of issue", json!({ "iat": null })),
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
        ("of an issuer that is not trusted", json!({ "iss": "https://evil.example" }), "unknown-issuer"),
        (
            "of an issuer with a trusted one as its prefix",
            json!({ "iss": "masque.example" }),
            "unknown-issuer",
        ),
        ("of no issuer", json!({ "iss": null }), "unknown-issuer"),
        ("for another audience", json!({ "aud": "other" }), "wrong-audience"),
        ("for no audience", json!({ "aud": null }), "wrong-audience"),
        ("for an empty list", json!({ "aud": [] }), "wrong-audience"),
    ];
    for (name, changes, expected) in wrong {
        assert_eq!(refusal_reason(&client, &token(&claims_with("ana", changes))).await, expected, "{name}");
    }
    for (name, changes) in [
        ("without expiry", json!({ "exp": null })),
        ("with a text as expiry", json!({ "exp": "tomorrow" })),
        ("with a negative expiry", json!({ "exp": -1 })),
        ("with an expiry out of range", json!({ "exp": 1e300 })),
        ("without subject", json!({ "sub": null })),
        ("with an empty subject", json!({ "sub": "" })),
        ("with a number as subject", json!({ "sub": 7 })),
        ("with a line break in the subject", json!({ "sub": "ana\nroot" })),
        ("with a subject that is too long", json!({ "sub": "a".repeat(256) })),
        ("with two issuers", json!({ "iss": ["masque", "other"] })),
    ] {
        let forged = token(&claims_with("ana", changes));
        let answer = client.bearer(&forged).get("/conversations").send().await;
        assert_eq!(answer.status, 401, "{name}: {}", answer.text);
        refusal_reason(&client, &forged).await;
    }
}

#[tokio::test]
async fn a_public_key_can_not_sign_and_a_key_inside_the_token_does_not_count() {
    let (rsa, other) = (SigningKey::rsa("rsa-1"), SigningKey::rsa("rsa-1"));
    let provider = IdentityProvider::start(&[&rsa]).await;
    let host = Setup::defaults().with_authentication().and(&provider.section("")).start().await;
    let client = host.client();
    let ana = provider.claims("ana");
    client.bearer(&rsa.token(&ana)).get("/conversations").send().await.expect(200);

    let jwk = rsa.jwk();
    let forged = [
        (
            "HS256 with the public modulus as secret",
            signed_token(&json!({ "alg": "HS256", "kid": "rsa-1" }), &ana, jwk["n"].as_str().unwrap()),
        ),
        (
            "HS256 with the public JWK as secret",
            signed_token(&json!({ "alg": "HS256", "kid": "rsa-1" }), &ana, &jwk.to_string()),
        ),
        (
            "the host's secret for the provider's issuer",
            signed_token(&json!({ "alg": "HS256" }), &ana, SECRET),
        ),
        ("another key with the same kid", other.token(&ana)),
        (
            "a key in the header",
            other.token_with(json!({ "alg": "RS256", "kid": "rsa-1", "jwk": other.jwk() }), &ana),
        ),
        (
            "a URL of a key in the header",
            other.token_with(
                json!({ "alg": "RS256", "kid": "rsa-1", "jku": "http://127.0.0.1:1/keys" }),
                &ana,
            ),
        ),
        (
            "another algorithm of the key's family",
            rsa.token_with(json!({ "alg": "RS512", "kid": "rsa-1" }), &ana),
        ),
        ("the provider's key for the host's issuer", rsa.token(&claims("ana"))),
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
async fn a_credential_in_another_form_or_place_is_refused() {
    let host = Setup::defaults().with_authentication().start().await;
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
    // A token in the query does not count (RFC 9700, section 4.3.2).
    let answer = client.get(&format!("/conversations?access_token={token}")).send().await;
    answer.problem(401, "unauthenticated");
}
