//! What a host says about itself, and how a request is followed through it.

use masque_tests::{MockModel, Setup};
use serde_json::{Value, json};

#[tokio::test]
async fn a_host_that_runs_says_so() {
    let host = Setup::defaults().start().await;
    let client = host.client();

    for path in ["/livez", "/readyz"] {
        assert_eq!(client.get(path).send().await.status, 200, "{path}");
    }
    assert_eq!(client.get("/health").send().await.expect(200)["status"], "ok");
}

#[tokio::test]
async fn the_status_names_version_configuration_and_the_digest_of_every_plugin() {
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
async fn the_description_of_the_api_has_every_route_and_the_page_shows_it() {
    let host = Setup::defaults().start().await;
    let api = host.client().get("/openapi.json").send().await.expect(200);

    assert!(api["openapi"].as_str().unwrap().starts_with("3."), "{}", api["openapi"]);
    assert_eq!(api["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (path, methods) in [
        ("/chat", &["post"][..]),
        ("/turns/{id}", &["get"]),
        ("/turns/{id}/events", &["get"]),
        ("/turns/{id}/cancel", &["post"]),
        ("/conversations", &["get", "post"]),
        ("/conversations/{id}", &["get", "patch", "delete"]),
        ("/conversations/{id}/messages", &["get"]),
        ("/companions", &["get"]),
        ("/health", &["get"]),
        ("/livez", &["get"]),
        ("/readyz", &["get"]),
        ("/status", &["get"]),
    ] {
        for method in methods {
            let operation = &api["paths"][path][method];
            assert!(operation["responses"].is_object(), "{method} {path}");
        }
    }
    references_resolve(&api, &api);

    let page = host.client().get("/docs").send().await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(
        !page.text.contains("https://cdn") && !page.text.contains("unpkg"),
        "the page needs no other server"
    );
}

/// Every `$ref` points at something that is there.
fn references_resolve(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
                let pointer =
                    reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} is elsewhere"));
                assert!(document.pointer(pointer).is_some(), "{reference} is missing");
            }
            fields.values().for_each(|value| references_resolve(document, value));
        }
        Value::Array(items) => items.iter().for_each(|value| references_resolve(document, value)),
        _ => {}
    }
}

#[tokio::test]
async fn a_request_id_is_made_or_taken_over_and_given_back() {
    let host = Setup::defaults().start().await;
    let client = host.client();

    let own = client.get("/livez").send().await;
    assert!(own.header("x-request-id").is_some_and(|id| !id.is_empty()));
    let given =
        client.chat(&json!({ "message": "Hello." })).header("x-request-id", "from-outside-7").send().await;
    assert_eq!(given.header("x-request-id"), Some("from-outside-7"));
}

#[tokio::test]
async fn a_request_id_that_could_forge_a_log_line_is_replaced() {
    let host = Setup::defaults().start().await;
    let forged = "a".repeat(4000);
    let answer = host.client().get("/livez").header("x-request-id", &forged).send().await;
    assert!(answer.header("x-request-id").is_some_and(|id| id.len() < 200));
}

#[tokio::test]
async fn a_trace_goes_on_through_the_host_under_a_span_of_its_own() {
    let host = Setup::defaults().start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");

    let body = json!({ "message": "Hello." });
    let answer = host.client().chat(&body).header("traceparent", &parent).send().await;

    let traceparent = answer.header("traceparent").expect("traceparent comes back");
    let fields: Vec<_> = traceparent.split('-').collect();
    assert_eq!((fields[0], fields[1]), ("00", trace));
    assert_ne!(fields[2], "00f067aa0ba902b7");
}

#[tokio::test]
async fn every_line_about_a_failed_turn_carries_the_requests_id() {
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
    // The announcement on standard output is for whoever started the host, and no line of its log.
    for line in host.log().lines().filter(|line| !line.starts_with("listening on")) {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        assert!(line.is_object());
    }
}
