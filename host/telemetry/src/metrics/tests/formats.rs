//! The two formats.

use std::collections::BTreeSet;

use super::parser::parse;
use crate::metrics::{encode, families, http, state, turns};
use crate::trace::TraceContext;

const OPEN_METRICS: Option<&str> = Some("application/openmetrics-text");

#[test]
fn every_family_is_listed_with_its_kind_before_it_has_a_value() {
    let open_metrics = parse(&encode(OPEN_METRICS).body);
    let text = encode(None).body;
    for family in families() {
        let name = match family.kind {
            "counter" => family.name.strip_suffix("_total").expect("counters end with `_total`"),
            _ => family.name,
        };
        let listed = &open_metrics[name];
        assert_eq!((listed.kind.as_str(), listed.help.as_str()), (family.kind, family.help), "{name}");
        assert!(text.contains(&format!("# TYPE {} {}\n", family.name, family.kind)), "{name}");
        assert!(text.contains(&format!("# HELP {} {}\n", family.name, family.help)), "{name}");
        let unit = ["seconds", "bytes", "ratio"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
        assert_eq!(listed.unit.as_deref(), unit, "{name}");
    }
    assert_eq!(open_metrics["masque_build_info"].samples[0].labels["version"], env!("CARGO_PKG_VERSION"));
    let cpu = &open_metrics["process_cpu_seconds"];
    assert_eq!((cpu.kind.as_str(), cpu.samples[0].name.as_str()), ("counter", "process_cpu_seconds_total"));
}

#[test]
fn the_content_type_names_the_format() {
    for (accept, content_type, end) in [
        (None, "text/plain; version=0.0.4; charset=utf-8", false),
        (OPEN_METRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8", true),
    ] {
        let exposition = encode(accept);
        assert_eq!((exposition.content_type, exposition.body.ends_with("# EOF\n")), (content_type, end));
    }
}

#[test]
fn a_counter_without_labels_begins_at_zero_and_a_gauge_does_not() {
    let open_metrics = parse(&encode(OPEN_METRICS).body);
    assert_eq!(open_metrics["masque_leases_lost"].samples[0].value, 0.0);
    // An expiry in 1970 would be an alert.
    assert!(open_metrics["masque_certificate_expiry_timestamp_seconds"].samples.is_empty());
}

#[test]
fn labels_are_escaped_and_read_back() {
    let odd = "a \"quoted\" \\ name\nin two lines, {with} = signs";
    state::JOB_RUNS.increment(&[odd, "observe", "done"]);
    let open_metrics = parse(&encode(OPEN_METRICS).body);
    let sample = open_metrics["masque_job_runs"].sample("masque_job_runs_total", &[("plugin", odd)]);
    assert_eq!(sample.unwrap().value, 1.0);
}

#[test]
fn a_sampled_trace_is_the_exemplar_of_its_bucket_in_open_metrics_alone() {
    let trace = TraceContext::root();
    let labels = ["GET", "/exemplar", "200"];
    http::REQUEST_DURATION.observe_traced(&labels, 0.3, trace.with_sampled(true));
    http::REQUEST_DURATION.observe_traced(&labels, 0.3, TraceContext::root());
    http::REQUEST_DURATION.observe_traced(&labels, 500.0, trace.with_sampled(true));
    let open_metrics = parse(&encode(OPEN_METRICS).body);
    let family = &open_metrics["http_request_duration_seconds"];
    let bucket = |le: &str| {
        let labels = [("endpoint", "/exemplar"), ("le", le)];
        family.sample("http_request_duration_seconds_bucket", &labels).unwrap().clone()
    };
    let found = |le: &str| bucket(le).exemplar.map(|(labels, value, _)| (labels["trace_id"].clone(), value));
    let id = format!("{:032x}", trace.trace_id());
    assert_eq!(found("0.5"), Some((id.clone(), 0.3)), "the trace that is not sampled is none");
    assert_eq!(found("+Inf"), Some((id.clone(), 500.0)));
    assert_eq!((found("0.25"), found("1.0")), (None, None));
    assert_eq!((bucket("0.25").value, bucket("0.5").value, bucket("+Inf").value), (0.0, 2.0, 3.0));
    assert!(!encode(None).body.contains(&id));
}

#[test]
fn names_are_used_once_and_end_with_their_unit() {
    let mut names = BTreeSet::new();
    for family in families() {
        assert!(names.insert(family.name), "{} is declared twice", family.name);
        assert_eq!(family.kind == "counter", family.name.ends_with("_total"), "{}", family.name);
        // A histogram has one unit, and so has whatever is called a duration or a size.
        if family.kind == "histogram" {
            let units = ["_seconds", "_bytes", "_ratio"];
            assert!(units.iter().any(|unit| family.name.ends_with(unit)), "{}", family.name);
            assert!(family.buckets().is_sorted_by(|one, next| one < next), "{}", family.name);
        }
        assert_ne!(family.kind == "histogram", family.buckets().is_empty(), "{}", family.name);
    }
    // Names of the earlier service, whose dashboards and rules are used on.
    for kept in [
        "http_requests_total",
        "http_request_duration_seconds",
        "http_requests_in_progress",
        "llm_requests_total",
        "memory_retrievals_total",
        "database_query_duration_seconds",
    ] {
        assert!(names.remove(kept), "{kept}");
    }
    for name in names {
        assert!(name.starts_with("masque_"), "{name}");
    }
    assert_eq!(http::REQUEST_DURATION.count(&["GET", "/nobody", "200"]), 0);
    assert_eq!(turns::TURNS.value(&["nobody", "completed"]), 0);
}
