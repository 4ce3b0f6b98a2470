//! Authentication at the edge of HTTP: CORS, proxies, forged headers, and the admin listener and socket.

use masque_tests::{RawConnection, SECRET, Setup, claims, token};
use serde_json::json;

#[tokio::test]
async fn only_pages_of_listed_origins_may_call() {
    let setup = Setup::defaults()
        .with_authentication()
        .environment("CORS_ORIGINS", "https://app.example, http://localhost:3000, tauri://localhost");
    let host = setup.start().await;
    let client = host.client();
    let preflight = |origin: &str| {
        let request = client.request("OPTIONS".parse().unwrap(), "/chat").header("origin", origin);
        let headers = "authorization,content-type,idempotency-key,cache-control,tracestate,baggage";
        request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", headers)
    };
    // A preflight carries no token.
    let allowed = preflight("https://app.example").send().await;
    assert_eq!(
        (allowed.status, allowed.header("access-control-allow-origin")),
        (200, Some("https://app.example"))
    );
    for name in ["authorization", "cache-control", "tracestate", "baggage"] {
        assert!(allowed.header("access-control-allow-headers").unwrap().contains(name), "{name}");
    }
    let app = preflight("tauri://localhost").send().await;
    assert_eq!(app.header("access-control-allow-origin"), Some("tauri://localhost"));
    assert_eq!(allowed.header("access-control-allow-credentials"), None);
    let refused = preflight("https://evil.example").send().await;
    assert_eq!(refused.header("access-control-allow-origin"), None);

    let ana = client.bearer(&token(&claims("ana")));
    let from = |origin: &str| ana.get("/conversations").header("origin", origin);
    let answer = from("http://localhost:3000").send().await;
    answer.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://localhost:3000"));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("ratelimit") && exposed.contains("x-request-id"), "{exposed}");
    assert_eq!(from("https://evil.example").send().await.header("access-control-allow-origin"), None);
    // The page can read errors too.
    let anonymous = client.get("/conversations").header("origin", "https://app.example").send().await;
    anonymous.problem(401, "unauthenticated");
    assert_eq!(anonymous.header("access-control-allow-origin"), Some("https://app.example"));
}

#[tokio::test]
async fn every_response_has_security_headers_and_none_that_names_the_server() {
    let host = Setup::defaults().with_authentication().start().await;
    let client = host.client();
    for path in ["/livez", "/conversations", "/nowhere", "/openapi.json", "/docs"] {
        let answer = client.get(path).send().await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        assert!(answer.header("content-security-policy").is_some(), "{path}");
        for name in ["server", "x-powered-by", "via"] {
            assert_eq!(answer.header(name), None, "{path}");
        }
    }
}

#[tokio::test]
async fn clients_are_rate_limited_by_address_only_behind_a_trusted_proxy() {
    let limits = "[limits.address]\nper_minute = 1\nburst = 2\n";
    for (proxies, is_trusted) in [("trusted_proxies = [\"127.0.0.0/8\"]", true), ("", false)] {
        let toml = format!("{limits}[server]\n{proxies}\n");
        let host = Setup::file(&toml).environment("JWT_SECRET_KEY", SECRET).start().await;
        let client = host.client();
        let from = |address: &str| client.get("/docs").header("x-forwarded-for", address);
        for _ in 0..2 {
            from("203.0.113.1").send().await;
        }
        from("203.0.113.1").send().await.problem(429, "rate-limited");
        let other = from("203.0.113.2").send().await.status;
        assert_eq!(other, if is_trusted { 200 } else { 429 }, "{proxies}");
        // Addresses before the one that the proxy appends may be forged by the client.
        from("203.0.113.9, 203.0.113.1").send().await.problem(429, "rate-limited");
    }
}

#[tokio::test]
async fn forged_ids_get_into_neither_the_log_nor_the_trace() {
    let host = Setup::defaults().with_authentication().start().await;
    let long = "a".repeat(129);
    for id in ["evil id", "a\"b", "${jndi:ldap://x}", "<script>", long.as_str()] {
        let answer = host.client().get("/livez").header("x-request-id", id).send().await;
        let given = answer.header("x-request-id").unwrap();
        assert!(given != id && given.len() == 36, "{id}: {given}");
    }
    let zeros = "0".repeat(200);
    for trace in ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", "00-0-0-1", zeros.as_str()]
    {
        let answer = host.client().get("/livez").header("traceparent", trace).send().await;
        let given = answer.header("traceparent").unwrap();
        assert!(given.len() == 55 && given.starts_with("00-") && given.ends_with("-00"), "{trace}: {given}");
    }
    // hyper refuses a header with a zero byte before the host reads it.
    let mut raw = RawConnection::open(host.address()).await;
    raw.send("GET /livez HTTP/1.1\r\nhost: localhost\r\nx-request-id: a\0b\r\n\r\n").await;
    let answer = raw.read_to_end().await;
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 400"), "{answer:?}");
    let forged = "x\u{1b}[31mred";
    let answer = host.client().bearer(&token(&claims(forged))).get("/conversations").send().await;
    answer.problem(401, "invalid-token");
    assert!(!host.log().contains('\u{1b}'), "an escape sequence is in the log");
}

#[tokio::test]
async fn the_admin_listener_needs_a_key_and_the_socket_does_not() {
    let setup = Setup::file("[admin]\nlisten = \"127.0.0.1:0\"\n").with_authentication();
    let key = setup.create_key(&["--scope", "admin:read", "--scope", "admin:write"]).await;
    let host = setup.start().await;
    // The public listener does not serve these routes, even with the key.
    for path in ["/admin/keys", "/status", "/docs", "/openapi.json"] {
        host.client().bearer(&key).get(path).send().await.problem(404, "route-not-found");
    }
    host.operators().await.bearer(&key).get("/admin/keys").send().await.expect(200);
    host.operators().await.get("/admin/keys").send().await.problem(401, "unauthenticated");
    host.operators().await.bearer(&key).get("/conversations").send().await.problem(404, "route-not-found");
    // The socket is for the owner of the data folder, and needs no credential.
    let socket = host.socket();
    let made = socket.post("/admin/keys", &json!({ "name": "by socket", "scopes": ["chat"] }));
    let made = made.send().await.expect(201);
    host.client().bearer(made["secret"].as_str().unwrap()).say("Hello.").await;
    let log = socket.get("/admin/audit").send().await.expect(200);
    assert_eq!((&log["items"][0]["actor"], &log["items"][0]["address"]), (&json!("machine"), &json!(null)));
    // A credential that is sent over the socket is checked.
    let weak = host.socket().bearer(made["secret"].as_str().unwrap());
    weak.get("/admin/keys").send().await.problem(403, "insufficient-scope");
}

#[tokio::test]
async fn a_refused_credential_is_in_the_log_and_not_in_the_audit() {
    let setup = Setup::defaults().with_authentication();
    let key = setup.create_key(&["--scope", "admin:read"]).await;
    let host = setup.start().await;
    let client = host.client();
    client.bearer("guess").get("/conversations").send().await.problem(401, "invalid-token");
    host.logged_in_one_line(&["masque::audit", "refused", "invalid-token", "malformed"]).await;
    client.bearer(&key).get("/conversations").send().await.problem(403, "insufficient-scope");
    host.logged_in_one_line(&["masque::audit", "refused", "insufficient-scope", "key:"]).await;
    let log = client.bearer(&key).get("/admin/audit").send().await.expect(200);
    assert_eq!(log["items"].as_array().unwrap().len(), 1, "{log}");
}
