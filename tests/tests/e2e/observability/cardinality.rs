//! What clients choose makes no series: paths, methods, names of hosts, ids and headers.

use std::collections::BTreeSet;

use masque_tests::{Client, Setup};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

/// The names and labels of the series at `/metrics` that requests and turns make.
async fn series(client: &Client) -> BTreeSet<String> {
    let text = client.get("/metrics").send().await.text;
    let kinds = ["http_", "llm_", "memory_", "masque_turn", "masque_plugin", "masque_tokens", "masque_auth"];
    let lines = text.lines().filter(|line| kinds.iter().any(|kind| line.starts_with(kind)));
    // A value follows the labels; an exemplar follows the value.
    let name = |line: &str| line.split_once("} ").map_or(line, |(name, _)| name).to_owned();
    let series: BTreeSet<_> = lines.map(name).collect();
    assert!(!series.is_empty(), "{text}");
    series
}

/// Requests of every kind, in which everything that a client can choose has `mark` in it.
async fn odd_requests(client: &Client, mark: &str) {
    let id = Uuid::now_v7();
    for path in [
        format!("/{mark}"),
        format!("/conversations/{mark}"),
        format!("/conversations/{id}"),
        format!("/conversations/{id}/messages?limit=5&q={mark}"),
        format!("/turns/{id}"),
        format!("/turns/{id}/{mark}"),
        format!("/turns/{id}/events?{mark}"),
        format!("/docs/{mark}"),
        format!("/users/{mark}/data"),
    ] {
        client.get(&path).header("user-agent", mark).header("x-request-id", mark).send().await;
        client.delete(&path).send().await;
        let method = Method::from_bytes(mark.to_ascii_uppercase().as_bytes()).unwrap();
        client.request(method, &path).send().await;
    }
    client.get("/companions").header("host", &format!("{mark}.example.com")).send().await;
    client.get("/companions").header("origin", &format!("https://{mark}.example.com")).send().await;
    client.bearer(mark).get("/companions").send().await;
    let body = json!({ "message": mark, "companion": mark });
    client.chat(&body).send().await;
    client.chat(&json!({ "message": mark, "model": mark })).send().await;
    client.chat(&json!({ "message": mark })).key(mark).send().await.expect(200);
}

#[tokio::test]
async fn a_client_that_makes_up_paths_methods_hosts_and_ids_makes_no_series() {
    let limits = "[limits.user]\nper_minute = 1000000\nburst = 1000000\n\
                  [limits.address]\nper_minute = 1000000\nburst = 1000000\n";
    let host = Setup::file(limits).start().await;
    let client = host.client();
    // One of each kind, so that all series of these routes exist.
    assert_eq!(client.get("/metrics").send().await.status, 200);
    for mark in ["brewing", "brewed"] {
        odd_requests(&client, mark).await;
    }
    let before = series(&client).await;
    assert!(before.iter().any(|series| series.contains("endpoint=\"/turns/{id}\"")), "{before:?}");
    assert!(!before.iter().any(|series| series.contains("brew")), "{before:?}");

    for number in 0..30 {
        odd_requests(&client, &format!("brew{number}")).await;
    }

    let after = series(&client).await;
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:#?}");
}
