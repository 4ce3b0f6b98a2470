//! Traces: one trace id from the client to the model's server, the log and a collector.

use masque_telemetry::testing::{Collector, ReceivedSpan};
use masque_tests::{Authority, Host, MockModel, Setup, fixture, within};
use serde_json::json;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const TOKEN: &str = "token-of-the-collector";

/// A host with a persona that logs, and a model.
fn setup(model: &MockModel, collector: &Collector) -> Setup {
    let persona = fixture("uses-what-it-can");
    Setup::file("[companions.ida]\npersona = \"ida\"\nmodels = [\"mock\"]\n")
        .and(&format!("[plugins.ida]\nsource = {persona:?}\n"))
        .and(&model.plugin("mock", ""))
        .and("[log]\nformat = \"json\"\n")
        .environment("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .environment("OTEL_EXPORTER_OTLP_HEADERS", &format!("x-api-key={TOKEN}"))
        .environment("OTEL_BSP_SCHEDULE_DELAY", "1")
}

/// Sends a message that the persona answers with a line in the log, as part of the caller's trace.
async fn take_turn(host: &Host) -> String {
    let request = host
        .client()
        .chat(&json!({ "message": "log 1" }))
        .header("traceparent", &format!("00-{TRACE}-{CALLER}-01"))
        .header("baggage", "user=ana")
        .header("x-request-id", "look-for-me");
    let reply = request.send().await;
    reply.expect(200);
    reply.header("traceparent").unwrap().to_owned()
}

async fn span(collector: &Collector, what: &str, is_it: impl Fn(&ReceivedSpan) -> bool) -> ReceivedSpan {
    let find = |spans: &[ReceivedSpan]| spans.iter().find(|span| is_it(span)).cloned();
    within(what, collector.wait_for_spans(find)).await.unwrap()
}

async fn assert_one_trace(protocol: &str) {
    let (collector, model) = (Collector::start().await.unwrap(), MockModel::start().await);
    let host = setup(&model, &collector).environment("OTEL_EXPORTER_OTLP_PROTOCOL", protocol).start().await;
    let answered = take_turn(&host).await;
    assert_eq!(answered.split('-').nth(1), Some(TRACE), "{answered}");

    // The model's server gets the trace with a span of the host, and nothing else of the caller.
    let seen = model.request(0).await;
    let sent = seen.headers["traceparent"].to_str().unwrap();
    let fields: Vec<_> = sent.split('-').collect();
    let [_, trace, of_request, flags] = fields.as_slice() else { panic!("{sent}") };
    assert_eq!((*trace, *flags), (TRACE, "01"), "{sent}");
    assert_ne!(*of_request, CALLER, "{sent}");
    assert!(!seen.headers.contains_key("baggage"), "{:?}", seen.headers);

    // The plugin's line and those of the request.
    host.logged_in_one_line(&["one more", TRACE, "look-for-me"]).await;
    host.logged_in_one_line(&["turn ended", TRACE, "look-for-me"]).await;
    host.logged_in_one_line(&["request completed", TRACE, "look-for-me"]).await;

    // The collector: the turn below the caller's span, and what was sent to the model's server below the turn.
    let turn = span(&collector, "the turn's span", |span| span.parent_span_id == CALLER).await;
    assert_eq!(turn.trace_id, TRACE);
    assert_eq!(turn.resource["service.name"], "masque");
    assert!(!turn.resource["service.instance.id"].is_empty(), "{turn:?}");
    let request = span(&collector, "the upstream's parent", |span| span.span_id == *of_request).await;
    assert_eq!(request.trace_id, TRACE);
    let received = collector.requests();
    assert_eq!(received[0].headers["x-api-key"], TOKEN);
    assert!(!host.log().contains(TOKEN), "{}", host.log());
    let contents: Vec<_> = collector.spans().into_iter().map(|span| format!("{span:?}")).collect();
    assert!(!contents.concat().contains("log 1"), "{contents:?}");
}

#[tokio::test]
async fn one_trace_id_goes_from_the_client_to_the_upstream_the_log_and_a_collector_over_http() {
    assert_one_trace("http/protobuf").await;
}

#[tokio::test]
async fn one_trace_id_goes_from_the_client_to_the_upstream_the_log_and_a_collector_over_grpc() {
    assert_one_trace("grpc").await;
}

/// A host that trusts the collectors of `trusted`, and the collector that `authority` has issued a certificate.
async fn encrypted(authority: &Authority, trusted: &Authority, protocol: &str) -> (Host, Collector) {
    let (issued, model) = (authority.issue(), MockModel::start().await);
    let collector = Collector::start_encrypted(&issued.certificate, &issued.key).await.unwrap();
    let setup = setup(&model, &collector);
    std::fs::create_dir_all(setup.data()).unwrap();
    let certificate = setup.data().join("authority.pem");
    std::fs::write(&certificate, trusted.pem()).unwrap();
    let host = setup
        .environment("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        .environment("OTEL_EXPORTER_OTLP_CERTIFICATE", certificate.to_str().unwrap())
        .start()
        .await;
    take_turn(&host).await;
    (host, collector)
}

#[tokio::test]
async fn a_collector_over_tls_is_trusted_by_the_certificate_of_its_authority() {
    let authority = Authority::new();
    for protocol in ["http/protobuf", "grpc"] {
        let (_host, collector) = encrypted(&authority, &authority, protocol).await;
        span(&collector, "the turn's span", |span| span.parent_span_id == CALLER).await;
    }
}

#[tokio::test]
async fn a_collector_of_another_authority_gets_nothing_and_the_log_says_what_to_do() {
    for protocol in ["http/protobuf", "grpc"] {
        let (host, collector) = encrypted(&Authority::new(), &Authority::new(), protocol).await;
        host.logged_in_one_line(&[
            "traces are lost",
            "invalid peer certificate",
            "OTEL_EXPORTER_OTLP_CERTIFICATE",
        ])
        .await;
        // Turns go on.
        take_turn(&host).await;
        assert_eq!(collector.requests().len(), 0, "{protocol}");
        assert!(!host.log().contains(TOKEN), "{}", host.log());
    }
}

#[tokio::test]
async fn traces_that_wait_are_sent_when_the_host_stops() {
    let (collector, model) = (Collector::start().await.unwrap(), MockModel::start().await);
    let setup = setup(&model, &collector).environment("OTEL_BSP_SCHEDULE_DELAY", "3600000");
    let mut host = setup.start().await;
    take_turn(&host).await;
    host.terminate();
    assert!(host.ended().await.success());
    span(&collector, "the turn's span", |span| span.parent_span_id == CALLER).await;
}

#[tokio::test]
async fn nothing_is_sent_where_traces_are_switched_off() {
    let (collector, model) = (Collector::start().await.unwrap(), MockModel::start().await);
    for (name, value) in [("OTEL_TRACES_EXPORTER", "none"), ("OTEL_SDK_DISABLED", "true")] {
        let mut host = setup(&model, &collector).environment(name, value).start().await;
        take_turn(&host).await;
        host.terminate();
        assert!(host.ended().await.success());
        assert_eq!(collector.requests().len(), 0, "{name}");
    }
}

#[tokio::test]
async fn a_turn_does_not_notice_a_collector_that_is_away() {
    let (collector, model) = (Collector::start().await.unwrap(), MockModel::start().await);
    let setup = setup(&model, &collector).environment("OTEL_EXPORTER_OTLP_TIMEOUT", "1000");
    drop(collector);
    let mut host = setup.start().await;
    take_turn(&host).await;
    host.logged("traces are lost").await;
    take_turn(&host).await;
    host.terminate();
    assert!(host.ended().await.success());
}

#[tokio::test]
async fn a_value_that_the_host_can_not_follow_keeps_it_from_starting_and_no_secret_is_printed() {
    for (name, value) in [
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "sk-hunter2"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://me:hunter2@collector"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"),
    ] {
        let setup = Setup::defaults().environment("OTEL_TRACES_EXPORTER", "otlp").environment(name, value);
        for output in [setup.check().await, setup.serve_to_end().await] {
            assert!(!output.status.success(), "{name}: {}", output.text);
            assert!(output.text.contains(&format!("{name}: ")), "{name}: {}", output.text);
            assert!(!output.text.contains("hunter2"), "{}", output.text);
        }
        assert!(!setup.data().exists(), "{name}: the host began to start");
    }
}
