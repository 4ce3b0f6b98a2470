//! Without authentication: the host serves only its own machine, web pages can't use it, and it can't be administered
//! over the network.

use masque_tests::{SECRET, Setup};
use serde_json::json;

#[tokio::test]
async fn a_host_without_authentication_logs_it_and_listens_on_loopback_only() {
    let host = Setup::defaults().start().await;
    host.logged("authentication is off").await;
    let client = host.client();
    client.say("Hello.").await;
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let setup = Setup::defaults().environment("MASQUE_LISTEN", listen);
        let outcome = setup.run(&["check"]).await;
        assert!(!outcome.status.success() && outcome.text.contains(listen), "{}", outcome.text);
        // With authentication any address is allowed.
        let setup =
            Setup::defaults().environment("MASQUE_LISTEN", listen).environment("JWT_SECRET_KEY", SECRET);
        assert!(setup.run(&["check"]).await.status.success());
    }
}

#[tokio::test]
async fn a_web_page_can_not_use_the_host() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    let chat = || client.chat(&json!({ "message": "Hello." }));
    chat().header("host", "evil.example").send().await.problem(421, "host-not-allowed");
    chat().header("origin", "https://evil.example").send().await.problem(403, "origin-not-allowed");
    let form = client.request("POST".parse().unwrap(), "/chat").header("content-type", "text/plain");
    form.body("{\"message\": \"Hello.\"}").send().await.problem(415, "unsupported-media-type");
    // With authentication any `Host` is accepted, because a browser adds no token by itself.
    let host = Setup::defaults().with_authentication().start().await;
    let answer = host.client().get("/conversations").header("host", "masque.example").send().await;
    answer.problem(401, "unauthenticated");
}

#[tokio::test]
async fn the_admin_api_is_not_served_over_tcp() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    for path in ["/admin/keys", "/admin/audit", "/admin/keys/0000000000000000"] {
        client.get(path).send().await.problem(403, "admin-elsewhere");
    }
    let body = json!({ "name": "x", "scopes": ["chat"] });
    client.post("/admin/keys", &body).send().await.problem(403, "admin-elsewhere");
    client.post("/auth/token", &json!({ "user_id": "ana" })).send().await.problem(403, "insufficient-scope");
    client.get("/status").send().await.expect(200);
    // A token that is sent is ignored.
    client.bearer("anything").say("Hello.").await;
    let validated = client.post("/auth/validate", &json!({ "token": "anything" })).send().await.expect(200);
    assert_eq!(validated, json!({ "valid": false, "reason": "authentication-off" }));
}
