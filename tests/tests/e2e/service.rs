//! Health, status and the description of the API; request ids, traces and logs.

use masque_tests::{MockModel, Setup};
use serde_json::{Value, json};

#[tokio::test]
async fn a_running_host_is_live_ready_and_healthy() {
    let host = Setup::defaults().start().await;
    let client = host.client();

    for path in ["/livez", "/readyz"] {
        assert_eq!(client.get(path).send().await.status, 200, "{path}");
    }
    assert_eq!(client.get("/health").send().await.expect(200)["status"], "ok");
}

#[tokio::test]
async fn the_status_has_the_version_and_the_digests_of_the_configuration_and_of_every_plugin() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;

    let answer = host.client().get("/status").send().await;
    let status = answer.expect(200);

    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let text = status.to_string();
    for name in ["elara", "window", "mock"] {
        assert!(text.contains(&format!("\"{name}\"")), "{name} in {status}");
    }
    assert!(text.matches("sha256:").count() >= 4, "the configuration and three plugins: {status}");
}

#[tokio::test]
async fn the_status_is_the_same_after_a_restart() {
    let mut host = Setup::defaults().start().await;
    let digests = |status: &Value| {
        let text = status.to_string();
        let found = text.match_indices("sha256:").map(|(start, _)| text[start..start + 7 + 64].to_owned());
        found.collect::<Vec<_>>()
    };
    let before = digests(&host.client().get("/status").send().await.expect(200));

    host.restart().await;

    assert_eq!(digests(&host.client().get("/status").send().await.expect(200)), before);
}

#[tokio::test]
async fn the_openapi_description_has_every_route_and_its_page_needs_no_other_server() {
    let host = Setup::defaults().start().await;
    let api = host.client().get("/openapi.json").send().await.expect(200);

    assert!(api["openapi"].as_str().unwrap().starts_with("3."), "{}", api["openapi"]);
    assert_eq!(api["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (path, methods) in [
        ("/chat", &["post"][..]),
        ("/turns/{id}", &["get"]),
        ("/turns/{id}/events", &["get"]),
        ("/turns/{id}/explain", &["get"]),
        ("/turns/{id}/cancel", &["post"]),
        ("/conversations", &["get", "post"]),
        ("/conversations/{id}", &["get", "patch", "delete"]),
        ("/conversations/{id}/messages", &["get"]),
        ("/users/{id}/data", &["get", "delete"]),
        ("/users/{id}/erasures/{receipt}", &["get"]),
        ("/companions", &["get"]),
        ("/health", &["get"]),
        ("/livez", &["get"]),
        ("/readyz", &["get"]),
        ("/status", &["get"]),
        ("/metrics", &["get"]),
    ] {
        for method in methods {
            let operation = &api["paths"][path][method];
            assert!(operation["responses"].is_object(), "{method} {path}");
        }
    }
    assert_references_resolve(&api, &api);

    let page = host.client().get("/docs").send().await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(
        !page.text.contains("https://cdn") && !page.text.contains("unpkg"),
        "the page needs no other server"
    );
}

/// Asserts that every `$ref` in `part` points to an existing part of `document`.
fn assert_references_resolve(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let pointer = reference
                    .strip_prefix('#')
                    .unwrap_or_else(|| panic!("{reference} is in another document"));
                assert!(document.pointer(pointer).is_some(), "{reference} is missing");
            }
            fields.values().for_each(|value| assert_references_resolve(document, value));
        }
        Value::Array(items) => items.iter().for_each(|value| assert_references_resolve(document, value)),
        _ => {}
    }
}

#[tokio::test]
async fn a_request_id_is_generated_or_accepted_and_returned() {
    let host = Setup::defaults().start().await;
    let client = host.client();

    let generated = client.get("/livez").send().await;
    assert!(generated.header("x-request-id").is_some_and(|id| !id.is_empty()));
    let accepted =
        client.chat(&json!({ "message": "Hello." })).header("x-request-id", "from-outside-7").send().await;
    assert_eq!(accepted.header("x-request-id"), Some("from-outside-7"));
}

#[tokio::test]
async fn a_request_id_that_is_too_long_is_replaced() {
    let host = Setup::defaults().start().await;
    let too_long = "a".repeat(4000);
    let answer = host.client().get("/livez").header("x-request-id", &too_long).send().await;
    assert!(answer.header("x-request-id").is_some_and(|id| id.len() < 200));
}

#[tokio::test]
async fn the_host_continues_a_trace_with_a_span_of_its_own() {
    let host = Setup::defaults().start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");

    let body = json!({ "message": "Hello." });
    let answer = host.client().chat(&body).header("traceparent", &parent).send().await;

    let traceparent = answer.header("traceparent").expect("a traceparent in the response");
    let fields: Vec<_> = traceparent.split('-').collect();
    assert_eq!((fields[0], fields[1]), ("00", trace));
    assert_ne!(fields[2], "00f067aa0ba902b7");
}

#[tokio::test]
async fn the_log_of_a_failed_turn_has_the_request_id_and_every_line_is_json() {
    let model = MockModel::refusing();
    let host = Setup::model(&model).and("[log]\nformat = \"json\"").start().await;
    let body = json!({ "message": "Hello." });
    host.client()
        .chat(&body)
        .header("x-request-id", "find-me-42")
        .send()
        .await
        .problem(502, "model-unavailable");

    host.logged("find-me-42").await;
    // The line with the listening address goes to standard output and is not part of the log.
    for line in host.log().lines().filter(|line| !line.starts_with("listening on")) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        assert!(line.is_object());
    }
}
