//! `/metrics` and the details of probes: who may read them, their formats, and what requests change in them.

use std::time::Instant;

use masque_tests::{Answer, Client, Gate, MockModel, Setup, eventually};
use serde_json::json;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

async fn metrics(client: &Client) -> String {
    let answer = client.get("/metrics").send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.text
}

/// Returns the value of the series with this name and these labels; `None` if there is none.
fn value(metrics: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let line = metrics.lines().find(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
    })?;
    Some(line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn the_scope_of_metrics_is_needed_in_public_and_gives_nothing_else() {
    let setup = Setup::defaults().with_authentication();
    let reader = setup.create_key(&["--scope", "metrics:read"]).await;
    let others = ["chat", "admin:read", "admin:write", "content:read", "tokens:mint"];
    let other = setup.create_key(&others.map(|scope| ["--scope", scope]).concat()).await;
    let host = setup.start().await;
    let client = host.client();

    client.get("/metrics").send().await.problem(401, "unauthenticated");
    let refused = client.bearer(&other).get("/metrics").send().await;
    assert_eq!(refused.problem(403, "insufficient-scope")["scope"], "metrics:read");
    let reader = client.bearer(&reader);
    let counted = metrics(&reader).await;
    for reason in ["missing", "scope"] {
        let failures = value(&counted, "masque_authentication_failures_total", &[("reason", reason)]);
        assert!(failures.is_some_and(|count| count >= 1.0), "{reason}: {counted}");
    }
    for path in ["/status", "/companions", "/admin/keys", "/admin/audit"] {
        reader.get(path).send().await.problem(403, "insufficient-scope");
    }
    // It is never minted.
    let body = json!({ "user_id": "ana", "scopes": ["metrics:read"] });
    client.bearer(&other).post("/auth/token", &body).send().await.problem(422, "invalid-request");
    // The owner of the machine needs none.
    metrics(&host.socket()).await;
}

#[tokio::test]
async fn metrics_need_no_token_on_the_admin_listener_and_are_not_on_the_public_one() {
    let setup = Setup::defaults().with_authentication().and("[admin]\nlisten = \"127.0.0.1:0\"");
    let reader = setup.create_key(&["--scope", "metrics:read"]).await;
    let host = setup.start().await;
    host.client().bearer(&reader).get("/metrics").send().await.problem(404, "route-not-found");
    metrics(&host.operators().await).await;
    metrics(&host.socket()).await;
}

#[tokio::test]
async fn without_authentication_everyone_on_the_machine_reads_metrics_and_no_web_page_does() {
    let host = Setup::defaults().start().await;
    metrics(&host.client()).await;
    let page = host.client().get("/metrics").header("host", "example.com");
    page.send().await.problem(421, "host-not-allowed");
}

#[tokio::test]
async fn a_reader_gets_the_format_that_it_prefers() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    client.say("Hello.").await;
    for (accept, content_type) in [
        ("*/*", TEXT),
        ("text/html", TEXT),
        ("application/openmetrics-text", OPEN_METRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.3,text/plain;q=0.4", TEXT),
        ("application/openmetrics-text;version=0.0.1", TEXT),
        // Debian's Prometheus.
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OPEN_METRICS,
        ),
    ] {
        let answer = client.get("/metrics").header("accept", accept).send().await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)), "{accept}");
        assert_eq!(answer.text.ends_with("\n# EOF\n"), content_type == OPEN_METRICS, "{accept}");
        // A histogram without samples is named all the same, and so is what the process needs.
        for name in ["masque_turn_duration_seconds", "database_query_duration_seconds", "process_open_fds"] {
            assert!(answer.text.contains(&format!("# TYPE {name} ")), "{name} for {accept}");
        }
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        assert_eq!(value(&answer.text, "masque_build_info", &version), Some(1.0), "{accept}");
        assert!(value(&answer.text, "masque_runtime_workers", &[]).unwrap() >= 1.0, "{accept}");
        assert_eq!(value(&answer.text, "masque_log_lines_dropped_total", &[("priority", "high")]), Some(0.0));
    }
}

#[tokio::test]
async fn what_has_not_happened_yet_is_counted_as_zero() {
    let host = Setup::defaults().start().await;
    let shown = metrics(&host.socket()).await;
    for (name, labels) in [
        ("masque_leases_lost_total", &[][..]),
        ("masque_records_dropped_total", &[("reason", "size")]),
        ("masque_reloads_total", &[("outcome", "refused")]),
        ("masque_spans_dropped_total", &[("reason", "queue")]),
        ("masque_authentication_failures_total", &[("reason", "expired")]),
        ("masque_database_errors_total", &[("database", "sqlite"), ("operation", "commit")]),
        ("masque_turns_total", &[("companion", "elara"), ("outcome", "failed")]),
        ("masque_turns_refused_total", &[("reason", "store")]),
        ("masque_plugin_calls_total", &[("plugin", "offline"), ("function", "generate"), ("outcome", "ok")]),
        ("masque_plugin_traps_total", &[("plugin", "window")]),
        ("masque_plugin_limit_hits_total", &[("plugin", "elara"), ("limit", "cpu")]),
    ] {
        assert_eq!(value(&shown, name, labels), Some(0.0), "{name} {labels:?}");
    }
}

#[tokio::test]
async fn a_streamed_reply_is_in_progress_to_its_last_byte_and_counted_then() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let (client, operator) = (host.client(), host.socket());
    let gate = Gate::new();
    model.next(Answer::held("Once upon a time", &gate, " there was an end."));
    let route = [("method", "POST"), ("endpoint", "/chat")];
    let answered = [("method", "POST"), ("endpoint", "/chat"), ("status", "200")];

    let mut events = client.stream("Tell me a story.").await;
    events.until_text("Once upon a time").await;
    let held = Instant::now();
    let meanwhile = metrics(&operator).await;
    assert_eq!(value(&meanwhile, "http_requests_in_progress", &route), Some(1.0), "{meanwhile}");
    assert_eq!(value(&meanwhile, "http_requests_total", &answered), None, "{meanwhile}");
    assert!(value(&meanwhile, "masque_connections", &[("listener", "public")]).unwrap() >= 1.0);
    let held = held.elapsed();
    gate.open();
    events.until_text(" end.").await;
    events.expect("turn.completed").await;
    assert_eq!(events.next().await, None);

    let after = eventually("the stream to be counted", || async {
        let after = metrics(&operator).await;
        value(&after, "http_requests_total", &answered).map(|_| after)
    })
    .await;
    assert_eq!(value(&after, "http_requests_total", &answered), Some(1.0));
    assert_eq!(value(&after, "http_requests_in_progress", &route), Some(0.0));
    assert_eq!(value(&after, "http_request_duration_seconds_count", &answered), Some(1.0));
    let duration = value(&after, "http_request_duration_seconds_sum", &answered).unwrap();
    assert!(duration >= held.as_secs_f64(), "{duration} s, of which the model held it {held:?}");
}

#[tokio::test]
async fn what_a_client_makes_up_is_no_label() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    for made_up in ["planted-1", "planted-2"] {
        client.get(&format!("/{made_up}")).send().await.problem(404, "route-not-found");
        client.get(&format!("/turns/{made_up}?{made_up}")).send().await;
        let method = made_up.to_uppercase();
        client
            .request(method.parse().unwrap(), "/companions")
            .send()
            .await
            .problem(405, "method-not-allowed");
        client.get("/companions").header("user-agent", made_up).send().await;
    }
    let metrics = metrics(&host.socket()).await;
    let count = |labels: &[(&str, &str)]| value(&metrics, "http_requests_total", labels);
    assert_eq!(count(&[("endpoint", "other"), ("method", "GET"), ("status", "404")]), Some(2.0), "{metrics}");
    assert_eq!(count(&[("endpoint", "/companions"), ("method", "other"), ("status", "405")]), Some(2.0));
    assert!(count(&[("endpoint", "/turns/{id}"), ("method", "GET")]).is_some(), "{metrics}");
    assert!(!metrics.to_lowercase().contains("planted"), "{metrics}");
}

#[tokio::test]
async fn only_operators_are_told_more_by_probes() {
    let setup = Setup::defaults().with_authentication().and("[admin]\nlisten = \"127.0.0.1:0\"");
    let reader = setup.create_key(&["--scope", "metrics:read"]).await;
    let other = setup.create_key(&["--scope", "chat", "--scope", "admin:read"]).await;
    let host = setup.start().await;
    let (public, operators, socket) = (host.client(), host.operators().await, host.socket());
    for path in ["/livez", "/readyz", "/health"] {
        let verbose = format!("{path}?verbose");
        public.get(&verbose).send().await.problem(401, "unauthenticated");
        public.bearer(&other).get(&verbose).send().await.problem(403, "insufficient-scope");
        for client in [&public.bearer(&reader), &operators, &socket] {
            let told = client.get(&verbose).send().await.expect(200);
            assert_eq!(told["details"]["version"], env!("CARGO_PKG_VERSION"), "{told}");
            assert_eq!(told["details"]["causes"], json!([]), "{told}");
        }
        for client in [&public, &operators] {
            let told = client.get(path).send().await.expect(200);
            assert_eq!((&told["status"], told.get("details")), (&json!("ok"), None), "{told}");
        }
    }
}
