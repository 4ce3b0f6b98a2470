//! Without authentication: a host for this machine alone, that no web page drives and nobody administers by network.

use masque_tests::{SECRET, Setup};
use serde_json::json;

#[tokio::test]
async fn a_host_without_authentication_says_so_and_stays_on_this_machine() {
    let host = Setup::defaults().start().await;
    host.logged("authentication is off").await;
    let client = host.client();
    client.say("Hello.").await;
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let setup = Setup::defaults().environment("MASQUE_LISTEN", listen);
        let outcome = setup.run(&["check"]).await;
        assert!(!outcome.status.success() && outcome.text.contains(listen), "{}", outcome.text);
        // With users it may be anywhere.
        let setup =
            Setup::defaults().environment("MASQUE_LISTEN", listen).environment("JWT_SECRET_KEY", SECRET);
        assert!(setup.run(&["check"]).await.status.success());
    }
}

#[tokio::test]
async fn no_web_page_drives_it() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    let chat = || client.chat(&json!({ "message": "Hello." }));
    chat().header("host", "evil.example").send().await.problem(421, "host-not-allowed");
    chat().header("origin", "https://evil.example").send().await.problem(403, "origin-not-allowed");
    let form = client.request("POST".parse().unwrap(), "/chat").header("content-type", "text/plain");
    form.body("{\"message\": \"Hello.\"}").send().await.problem(415, "unsupported-media-type");
    // With authentication, the token is what counts: a browser adds none by itself.
    let host = Setup::defaults().with_users().start().await;
    let answer = host.client().get("/conversations").header("host", "masque.example").send().await;
    answer.problem(401, "unauthenticated");
}

#[tokio::test]
async fn administration_is_not_on_the_network() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    for path in ["/admin/keys", "/admin/audit", "/admin/keys/0000000000000000"] {
        client.get(path).send().await.problem(403, "admin-elsewhere");
    }
    let body = json!({ "name": "x", "scopes": ["chat"] });
    client.post("/admin/keys", &body).send().await.problem(403, "admin-elsewhere");
    client.post("/auth/token", &json!({ "user_id": "ana" })).send().await.problem(403, "insufficient-scope");
    client.get("/status").send().await.expect(200);
    // A token is worth nothing where nobody asks for one.
    client.bearer("anything").say("Hello.").await;
    let judged = client.post("/auth/validate", &json!({ "token": "anything" })).send().await.expect(200);
    assert_eq!(judged, json!({ "valid": false, "reason": "authentication-off" }));
}
