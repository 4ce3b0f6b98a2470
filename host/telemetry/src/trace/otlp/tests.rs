mod tls;

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::*;
use crate::metrics::turns::SPANS_DROPPED;
use crate::testing::Collector;
use crate::trace::{TraceContext, Tracer};

const LONG: Duration = Duration::from_secs(30);

fn options(endpoint: &str, protocol: Protocol) -> OtlpOptions {
    let mut token = HeaderValue::from_static("token-of-the-collector");
    token.set_sensitive(true);
    OtlpOptions {
        endpoint: endpoint.parse().unwrap(),
        protocol,
        headers: vec![(HeaderName::from_static("x-api-key"), token)],
        timeout: Duration::from_secs(10),
        certificate: None,
        client: None,
        queue: QueueOptions { max_spans: 2048, max_batch: 512, delay: Duration::from_millis(1) },
        resource: vec![
            ("service.name".into(), "masque".into()),
            ("service.instance.id".into(), "one".into()),
        ],
    }
}

fn end_turn(tracer: &Tracer, has_failed: bool) -> TraceContext {
    let turn = tracer.begin(TraceContext::root(), "turn");
    let step = turn.parent().span("step");
    step.set("gen_ai.operation.name", "chat");
    drop(step);
    let context = turn.span().context();
    turn.finish(has_failed);
    context
}

async fn assert_received(protocol: Protocol, path_of_http: &str, path: &str) {
    let collector = Collector::start().await.unwrap();
    let options = options(&format!("{}{path_of_http}", collector.url()), protocol);
    let export = OtlpExport::start(&options).unwrap();
    let context = end_turn(&Tracer::new(export.sink(), 1.0), false);

    let of_turn = |spans: &[crate::testing::ReceivedSpan]| (spans.len() == 2).then(|| spans.to_vec());
    let spans = tokio::time::timeout(LONG, collector.wait_for_spans(of_turn)).await.unwrap().unwrap();
    let [step, turn] = spans.as_slice() else { panic!("{spans:?}") };
    assert_eq!((step.name.as_str(), turn.name.as_str()), ("step", "turn"));
    assert_eq!(step.parent_span_id, turn.span_id);
    assert_eq!(turn.parent_span_id, "");
    assert_eq!(step.attributes["gen_ai.operation.name"], "chat");
    for span in [step, turn] {
        assert_eq!(span.trace_id, context.trace_id_text());
        assert_eq!(span.resource["service.name"], "masque");
        assert_eq!(span.schema_url, SCHEMA_URL);
    }
    let requests = collector.requests();
    assert_eq!(requests[0].path, path);
    assert_eq!(requests[0].headers["x-api-key"], "token-of-the-collector");
    export.shutdown(LONG).await;
}

#[tokio::test]
async fn a_collector_receives_whole_traces_over_http() {
    assert_received(Protocol::Http, "/v1/traces", "/v1/traces").await;
}

#[tokio::test]
async fn a_collector_receives_whole_traces_over_grpc() {
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    assert_received(Protocol::Grpc, "", path).await;
}

#[tokio::test]
async fn what_waits_is_sent_when_the_host_stops() {
    let collector = Collector::start().await.unwrap();
    let mut options = options(&format!("{}/v1/traces", collector.url()), Protocol::Http);
    options.queue.delay = Duration::from_secs(3600);
    let export = OtlpExport::start(&options).unwrap();
    let tracer = Tracer::new(export.sink(), 1.0);
    end_turn(&tracer, true);
    assert_eq!(collector.requests().len(), 0);
    export.shutdown(LONG).await;
    assert_eq!(collector.spans().len(), 2);

    // Nobody sends what ends later: it is dropped, without waiting.
    end_turn(&tracer, false);
    assert_eq!(collector.spans().len(), 2);
}

/// Both count in metrics of the process, so they are one test.
#[tokio::test]
async fn spans_that_find_the_queue_full_or_are_refused_are_dropped_and_counted() {
    let dropped = |reason: &str| SPANS_DROPPED.value(&[reason]);
    let collector = Collector::start().await.unwrap();
    collector.answer_with(StatusCode::BAD_REQUEST);
    let mut options = options(&format!("{}/v1/traces", collector.url()), Protocol::Http);
    options.queue = QueueOptions { max_spans: 4, max_batch: 4, delay: Duration::from_secs(3600) };
    let export = OtlpExport::start(&options).unwrap();
    let tracer = Tracer::new(export.sink(), 1.0);

    // The batch of two turns fills the queue, and is then taken out of it and refused.
    let refused_before = dropped("export");
    end_turn(&tracer, false);
    end_turn(&tracer, false);
    tokio::time::timeout(LONG, collector.wait_for_requests(1)).await.unwrap();
    export.shutdown(LONG).await;
    assert!(dropped("export") - refused_before >= 4);
    let before = dropped("queue");
    end_turn(&tracer, false);
    assert!(dropped("queue") - before >= 2);
    assert_eq!(collector.spans().len(), 0);
}

#[tokio::test]
async fn a_collector_that_is_away_costs_a_turn_nothing() {
    // A listener that nobody accepts from: connections wait.
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = silent.local_addr().unwrap();
    for protocol in [Protocol::Http, Protocol::Grpc] {
        let mut options = options(&format!("http://{address}/v1/traces"), protocol);
        options.timeout = Duration::from_millis(50);
        let export = OtlpExport::start(&options).unwrap();
        let tracer = Tracer::new(export.sink(), 1.0);
        let before = SPANS_DROPPED.value(&["export"]) + SPANS_DROPPED.value(&["queue"]);
        // Far more spans than the queue holds. `finish` is not async, so nothing here can wait.
        for _ in 0..4000 {
            end_turn(&tracer, false);
        }
        export.shutdown(Duration::from_millis(200)).await;
        let after = SPANS_DROPPED.value(&["export"]) + SPANS_DROPPED.value(&["queue"]);
        // One batch may still be on its way.
        assert!(after - before >= 8000 - 512, "{protocol:?}: {}", after - before);
    }
}

#[test]
fn files_that_cannot_be_used_are_named_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, text) = (folder.path().join("missing.pem"), folder.path().join("text.pem"));
    std::fs::write(&text, "no certificate").unwrap();
    for (path, expected) in [(&missing, "can't be read"), (&text, "holds no certificate")] {
        for protocol in [Protocol::Http, Protocol::Grpc] {
            let options =
                OtlpOptions { certificate: Some(path.clone()), ..options("https://127.0.0.1:1", protocol) };
            let error = OtlpExport::verify(&options).unwrap_err();
            assert_eq!(error.path(), Some(path));
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}

#[test]
fn headers_and_the_endpoint_do_not_print() {
    let text = format!("{:?}", options("http://127.0.0.1:1/?key=sk-1", Protocol::Http));
    assert!(text.contains("x-api-key") && !text.contains("token-of-the-collector"), "{text}");
    assert!(!text.contains("sk-1"), "{text}");
}
