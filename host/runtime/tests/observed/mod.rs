//! What the host sees of a call: its report, its spans and its metrics.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed precondition fails the test"
)]

use std::sync::Arc;
use std::time::Duration;

use masque_grants::{Grants, Limits};
use masque_runtime::contract::Delta;
use masque_runtime::{Call, CallReport, HostCall, Plugin, ReportContent};
use masque_telemetry::metrics::plugins::{CALLS, DENIALS, LIMIT_HITS, TRAPS, UPSTREAM_REQUESTS};
use masque_telemetry::trace::{FinishedSpans, HeldSpans, SpanParent, TraceContext};

use crate::capabilities::InMemoryCapabilities;
use crate::fixtures::{
    Upstream, built, call, component, eventually, first_text, no_recollection, prompt, sandbox, short, turn,
};

/// A fixture under a name of its own, so that no other test counts in its metrics.
async fn named(name: &str, fixture: &str, settings: &str, grants: Grants, limits: Limits) -> Plugin {
    let package = sandbox().load(component(fixture).into(), &Limits::default()).await.unwrap();
    Plugin::new(package, name.to_owned(), settings.to_owned(), grants, limits)
}

fn version(plugin: &Plugin) -> String {
    plugin.package().description().version.clone()
}

/// What `uses-what-it-can` asked the host for when it was told `asked`, and what it said.
async fn asked(asked: &str, grants: Grants, content: ReportContent) -> (HostCall, String) {
    let plugin = named("reported", "uses-what-it-can", "{}", grants, Limits::default()).await;
    let report = CallReport::new(content);
    let lent = InMemoryCapabilities::with_history(3);
    let call = Call { report: Some(report.clone()), ..lent.call() };
    let said = first_text(&plugin.compose(call, &turn(asked), no_recollection()).await.unwrap());
    let facts = report.facts();
    assert!(facts.cpu > Duration::ZERO && facts.instantiation > Duration::ZERO, "{facts:?}");
    assert!(facts.peak_memory >= 64 << 10, "{facts:?}");
    let [call] = facts.host_calls.as_slice() else { panic!("{:?}", facts.host_calls) };
    (call.clone(), said)
}

fn all_grants(upstream: Option<&Upstream>) -> Grants {
    let http = upstream.map(|upstream| upstream.origin().parse().unwrap()).into_iter().collect();
    Grants { state: true, history: true, models: true, http, ..Grants::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_of_a_call_says_what_it_asked_for_without_any_text() {
    for (told, interface, operation, field) in [
        ("state counter", "state", "add", "value"),
        ("history all", "history", "page", "messages"),
        ("ask planted", "models", "ask", "reply"),
    ] {
        let (call, _) = asked(told, all_grants(None), ReportContent::Digests).await;
        assert_eq!((call.interface, &*call.operation, &*call.outcome), (interface, operation, "ok"));
        assert!(call.detail[field].to_string().contains("sha256:"), "{}", call.detail);
        for text in ["counter", "planted", "Earlier", "sailing"] {
            assert!(!call.detail.to_string().contains(text), "{}", call.detail);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_report_has_the_texts_but_messages_by_id_alone() {
    let (state, _) = asked("state counter", all_grants(None), ReportContent::Full).await;
    assert_eq!(
        (&state.detail["key"]["text"], &state.detail["value"]["text"]),
        (&"counter".into(), &"1".into())
    );
    assert_eq!(state.detail["scope"], "user");
    let (models, _) = asked("ask planted", all_grants(None), ReportContent::Full).await;
    assert_eq!(models.detail["prompt"]["texts"][0]["text"], "planted");
    assert_eq!(
        (&models.detail["reply"]["text"], &models.detail["reply"]["output_tokens"]),
        (&"sailing".into(), &1.into())
    );
    let (history, _) = asked("history all", all_grants(None), ReportContent::Full).await;
    assert_eq!((&history.detail["count"], &history.detail["messages"][0]["id"]), (&3.into(), &"m-0".into()));
    assert!(!history.detail.to_string().contains("Earlier"), "{}", history.detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_request_is_reported_and_counted() {
    let (call, said) = asked("state counter", Grants::default(), ReportContent::Digests).await;
    assert!(said.starts_with("denied") && call.outcome == "denied", "{call:?}");
    let plugin = named("is-denied", "uses-what-it-can", "{}", Grants::default(), Limits::default()).await;
    let upstream = Upstream::answering("open").await;
    for told in ["history all".to_owned(), format!("get {}", upstream.url())] {
        plugin.compose(call_of(None), &turn(&told), no_recollection()).await.unwrap();
    }
    let version = version(&plugin);
    assert_eq!(DENIALS.value(&["is-denied", &version, "history"]), 1);
    assert_eq!(DENIALS.value(&["is-denied", &version, "http"]), 1);
    assert_eq!(UPSTREAM_REQUESTS.value(&["is-denied", &version, "denied"]), 1);
}

fn call_of(report: Option<Arc<CallReport>>) -> Call {
    Call { report, ..call() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_reported_by_origin_status_and_size_and_its_path_is_text_in_full_reports_only() {
    let upstream = Upstream::answering("open").await;
    let told = format!("get {}v1/chat?key=planted", upstream.url());
    for (content, path, text) in
        [(ReportContent::Digests, None, None), (ReportContent::Full, Some("/v1/chat"), Some("open"))]
    {
        let (call, _) = asked(&told, all_grants(Some(&upstream)), content).await;
        assert_eq!((call.interface, &*call.operation, &*call.outcome), ("http", "GET", "ok"));
        let detail = &call.detail;
        assert_eq!((&detail["method"], &detail["origin"]), (&"GET".into(), &upstream.origin().into()));
        assert_eq!((&detail["path"]["bytes"], detail["path"]["text"].as_str()), (&8.into(), path));
        assert!(detail["path"]["digest"].as_str().unwrap().starts_with("sha256:"), "{detail}");
        assert_eq!(format!("{call:?}").contains("v1/chat"), path.is_some(), "{call:?}");
        assert_eq!((&detail["status"], &detail["response"]["bytes"]), (&200.into(), &4.into()));
        assert_eq!(detail["response"]["text"].as_str(), text);
        assert!(detail["head_us"].is_u64() && !format!("{call:?}").contains("planted"), "{call:?}");
    }
}

/// The text of a span's attribute.
fn attribute(spans: &FinishedSpans, span: &str, name: &str) -> Option<String> {
    let span = spans.spans.iter().find(|held| held.name == span)?;
    let attribute = span.attributes.iter().find(|attribute| attribute.key.as_str() == name)?;
    Some(attribute.value.as_str().into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_and_its_request_are_spans_and_the_upstream_is_told_the_last_of_them() {
    let upstream = Upstream::answering("open").await;
    let plugin =
        named("traced", "uses-what-it-can", "{}", all_grants(Some(&upstream)), Limits::default()).await;
    let (held, root) = (HeldSpans::new(), TraceContext::root());
    let call = Call { trace: SpanParent::new(root, Some(held.clone())), ..call() };
    let told = turn(&format!("get {}planted?key=planted", upstream.url()));
    plugin.compose(call, &told, no_recollection()).await.unwrap();
    let spans = held.take();
    let named = |name: &str| spans.spans.iter().find(|span| span.name == name).unwrap();
    let (composed, request) = (named("plugin.compose"), named("GET"));
    assert_eq!(format!("{}", composed.parent_span_id), format!("{:016x}", root.span_id()));
    assert_eq!(request.parent_span_id, composed.span_context.span_id());
    let digest = plugin.package().digest().to_owned();
    for (span, name, value) in [
        ("plugin.compose", "masque.plugin.name", "traced"),
        ("plugin.compose", "masque.plugin.function", "compose"),
        ("plugin.compose", "masque.plugin.digest", &digest),
        ("plugin.compose", "masque.plugin.outcome", "ok"),
        ("GET", "http.request.method", "GET"),
        ("GET", "server.address", "127.0.0.1"),
        ("GET", "url.scheme", "http"),
        ("GET", "http.response.status_code", "200"),
        ("GET", "http.response.body.size", "4"),
    ] {
        assert_eq!(attribute(&spans, span, name).as_deref(), Some(value), "{span} {name}");
    }
    assert!(attribute(&spans, "plugin.compose", "masque.plugin.cpu_time").is_some());
    assert!(!format!("{:?}", spans.spans).contains("planted"), "{:?}", spans.spans);
    let sent = upstream.last_request();
    let id = request.span_context.span_id();
    assert!(sent.contains(&format!("traceparent: 00-{:032x}-{id}-", root.trace_id())), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_of_a_request_is_in_its_span_only_where_spans_have_content() {
    let upstream = Upstream::answering("open").await;
    let plugin =
        named("paths", "uses-what-it-can", "{}", all_grants(Some(&upstream)), Limits::default()).await;
    for (captures_content, path) in [(false, None), (true, Some("/v1/cats"))] {
        let held = HeldSpans::with_content(captures_content);
        let trace = SpanParent::new(TraceContext::root(), Some(held.clone()));
        let told = turn(&format!("get {}v1/cats?key=planted", upstream.url()));
        plugin.compose(Call { trace, ..call() }, &told, no_recollection()).await.unwrap();
        let spans = held.take();
        assert_eq!(attribute(&spans, "GET", "url.path").as_deref(), path);
        assert_eq!(attribute(&spans, "GET", "server.address").as_deref(), Some("127.0.0.1"));
        assert!(!format!("{:?}", spans.spans).contains("planted"), "{:?}", spans.spans);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_is_told_the_trace_although_it_is_not_recorded() {
    let upstream = Upstream::answering("open").await;
    let plugin =
        named("untraced", "uses-what-it-can", "{}", all_grants(Some(&upstream)), Limits::default()).await;
    let root = TraceContext::root();
    let call = Call { trace: SpanParent::new(root, None), ..call() };
    plugin.compose(call, &turn(&format!("get {}", upstream.url())), no_recollection()).await.unwrap();
    assert!(
        upstream.last_request().contains(&format!("traceparent: {root}\r\n")),
        "{}",
        upstream.last_request()
    );
    assert_eq!(UPSTREAM_REQUESTS.value(&["untraced", &version(&plugin), "2xx"]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_call_of_a_plugin_is_a_span_within_its_call() {
    let plugin = named("asks", "uses-what-it-can", "{}", all_grants(None), Limits::default()).await;
    let held = HeldSpans::new();
    let trace = SpanParent::new(TraceContext::root(), Some(held.clone()));
    let call = Call { trace, ..InMemoryCapabilities::with_history(0).call() };
    plugin.compose(call, &turn("state counter"), no_recollection()).await.unwrap();
    let spans = held.take();
    let [added, composed] = spans.spans.as_slice() else { panic!("{:?}", spans.spans) };
    assert_eq!((&*added.name, &*composed.name), ("state.add", "plugin.compose"));
    assert_eq!(added.parent_span_id, composed.span_context.span_id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_stream_is_counted_and_reported_with_what_it_waited_for() {
    let upstream = Upstream::silent().await;
    let settings = format!(r#"{{"speaks": true, "url": "{}"}}"#, upstream.url());
    let plugin =
        named("cancelled", "never-answers", &settings, all_grants(Some(&upstream)), Limits::default()).await;
    let (held, report) = (HeldSpans::new(), CallReport::new(ReportContent::Digests));
    let trace = SpanParent::new(TraceContext::root(), Some(held.clone()));
    let call = Call { trace, ..call_of(Some(report.clone())) };
    let mut deltas = plugin.generate(call, &prompt("hello")).await.unwrap();
    deltas.next().await.unwrap().unwrap();
    eventually(|| report.upstream_wait() > Duration::from_millis(20)).await;
    assert_eq!(report.facts().host_calls[0].outcome, "running");
    drop(deltas);
    // Counted and traced at once, although the store is dropped by another task.
    assert_eq!(CALLS.value(&["cancelled", &version(&plugin), "generate", "cancelled"]), 1);
    let spans = held.take();
    assert_eq!(attribute(&spans, "plugin.generate", "error.type").as_deref(), Some("cancelled"));
    assert!(spans.spans.iter().any(|span| span.name == "GET"), "{:?}", spans.spans);
    eventually(|| report.facts().host_calls[0].outcome == "cancelled").await;
    let waited = report.upstream_wait();
    assert_eq!(report.upstream_wait(), waited, "nothing is waited for any more");
    eventually(|| UPSTREAM_REQUESTS.value(&["cancelled", &version(&plugin), "cancelled"]) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_future_is_dropped_is_counted_as_cancelled() {
    let plugin = named("dropped", "spins-in-a-call", "{}", Grants::default(), Limits::default()).await;
    let (told, waits) = (turn("hello"), Duration::from_millis(50));
    let composed = plugin.compose(call(), &told, no_recollection());
    assert!(tokio::time::timeout(waits, composed).await.is_err());
    assert_eq!(CALLS.value(&["dropped", &version(&plugin), "compose", "cancelled"]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_by_outcome_and_by_the_limit_that_ended_them() {
    let limits = Limits { cpu: Duration::from_millis(100), ..Limits::default() };
    for (name, fixture, outcome) in [
        ("is-ok", "uses-what-it-can", "ok"),
        ("traps", "panics", "internal"),
        ("spins", "spins-in-a-call", "timeout"),
    ] {
        let plugin = named(name, fixture, "{}", Grants::default(), short(limits.clone())).await;
        // What the metrics say of the outcome is tested.
        let _ = plugin.compose(call(), &turn("nothing"), no_recollection()).await;
        let version = version(&plugin);
        assert_eq!(CALLS.value(&[name, &version, "compose", outcome]), 1, "{name}");
        assert_eq!(TRAPS.value(&[name, &version]), u64::from(name == "traps"), "{name}");
        assert_eq!(LIMIT_HITS.value(&[name, &version, "cpu"]), u64::from(name == "spins"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_counted_when_its_last_item_is_read() {
    let package = sandbox().load(built("plugins", "offline").into(), &Limits::default()).await.unwrap();
    let (name, settings) = ("streams".to_owned(), "{}".to_owned());
    let plugin = Plugin::new(package, name, settings, Grants::default(), Limits::default());
    let labels = ["streams", &version(&plugin), "generate", "ok"];
    let mut deltas = plugin.generate(call(), &prompt("hello")).await.unwrap();
    loop {
        assert_eq!(CALLS.value(&labels), 0);
        let batch = deltas.next().await.unwrap().unwrap();
        if matches!(batch.last(), Some(Delta::Finish(_))) {
            break;
        }
    }
    assert_eq!(CALLS.value(&labels), 1);
    drop(deltas);
    assert_eq!(CALLS.value(&labels), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_a_trial_count_in_no_metric() {
    let package = sandbox().load(component("uses-what-it-can").into(), &Limits::default()).await.unwrap();
    let (name, settings) = ("tried".to_owned(), "{}".to_owned());
    let plugin = Plugin::for_trial(package, name, settings, Grants::default(), Limits::default());
    plugin.compose(call(), &turn("nothing"), no_recollection()).await.unwrap();
    assert_eq!(CALLS.value(&["tried", &version(&plugin), "compose", "ok"]), 0);
}
