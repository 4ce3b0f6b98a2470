use std::sync::Mutex;

use http::HeaderMap;

use super::*;
use crate::trace::TRACEPARENT;

/// Hands the exported spans to the test.
#[derive(Clone, Default)]
struct Exported(Arc<Mutex<Vec<SpanData>>>);

impl SpanSink for Exported {
    fn export(&self, spans: Vec<SpanData>) {
        self.0.lock().unwrap().extend(spans);
    }
}

impl Exported {
    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn called(flags: &str) -> TraceContext {
    let mut headers = HeaderMap::new();
    let header = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
    headers.insert(TRACEPARENT, header.parse().unwrap());
    TraceContext::from_headers(&headers)
}

#[test]
fn a_share_of_traces_is_kept_by_their_id() {
    for (trace, ratio, is_kept) in [
        (0, 0.0, false),
        (u128::MAX, 1.0, true),
        (0x007f_ffff_ffff_ffff, 0.5, true),
        (0x0080_0000_0000_0000, 0.5, false),
        (0xff00_0000_0000_0000, 0.1, true),
    ] {
        assert_eq!(is_within_ratio(trace, ratio), is_kept, "{trace:x} {ratio}");
    }
}

#[test]
fn failed_turns_are_kept_and_of_others_those_that_a_caller_or_the_share_keeps() {
    let (sampled, unsampled) = (called("01"), called("00"));
    let unknown = sampled.unsampled();
    for (context, follows_caller, ratio, has_failed, is_kept) in [
        (sampled, true, 0.0, false, true),
        (unsampled, true, 1.0, false, false),
        (unsampled, true, 1.0, true, true),
        (sampled, false, 0.0, false, false),
        (unsampled, false, 1.0, false, true),
        (unknown, true, 0.0, false, false),
        (unknown, true, 0.0, true, true),
        (unknown, true, 1.0, false, true),
        (TraceContext::root(), true, 1.0, false, true),
        (TraceContext::root(), true, 0.0, false, false),
    ] {
        let exported = Exported::default();
        let sampling = Sampling { ratio, follows_caller };
        let tracer = Tracer::with_sampling(Box::new(exported.clone()), sampling, false);
        let turn = tracer.begin(context, "turn");
        let other_server = turn.parent().span("request").context();
        turn.finish(has_failed);
        let case = format!("{context} {sampling:?} failed: {has_failed}");
        assert_eq!(exported.count() > 0, is_kept, "{case}");
        assert_eq!(other_server.is_sampled(), is_kept && !has_failed, "{case}");
        assert_eq!(other_server.trace_id(), context.trace_id(), "{case}");
    }
}

#[test]
fn spans_beyond_those_that_a_turn_may_hold_are_counted_and_the_turns_own_is_kept() {
    let exported = Exported::default();
    let before = SPANS_DROPPED.value(&["turn"]);
    let turn = Tracer::new(Box::new(exported.clone()), 1.0).begin(TraceContext::root(), "turn");
    for _ in 0..200 {
        turn.parent().span("step").set("step.kind", "x");
    }
    turn.finish(false);
    assert_eq!(exported.count(), 128);
    assert_eq!(SPANS_DROPPED.value(&["turn"]) - before, 73);
    let spans = exported.0.lock().unwrap();
    let root = spans.last().unwrap();
    let dropped = root.attributes.iter().find(|attribute| attribute.key.as_str() == "masque.spans.dropped");
    assert_eq!(root.name, "turn");
    assert_eq!(dropped.unwrap().value, 73.into());
}

#[test]
fn content_is_captured_only_where_it_is_switched_on() {
    assert!(!Tracer::off().captures_content());
    assert!(!Tracer::new(Box::new(Exported::default()), 1.0).captures_content());
    let sampling = Sampling { ratio: 1.0, follows_caller: true };
    assert!(Tracer::with_sampling(Box::new(Exported::default()), sampling, true).captures_content());
}

#[test]
fn a_tracer_that_is_off_passes_the_ids_and_the_callers_flag_on() {
    let turn = Tracer::off().begin(called("01"), "turn");
    let step = turn.parent().span("step");
    assert!(!step.is_recorded() && step.context().is_sampled());
    assert_eq!(step.context().trace_id(), turn.span().context().trace_id());
}

#[test]
fn what_a_step_measures_leads_to_its_trace_if_that_is_kept() {
    use crate::metrics::plugins::CALL_DURATION;

    let exemplar = |function: &str| {
        let labels = ["traced", "1.0.0", function];
        assert_eq!(
            CALL_DURATION.count(&labels),
            1,
            "{function}: it is counted whatever becomes of the trace"
        );
        CALL_DURATION.exemplar(&labels, 0.2)
    };
    for (function, is_recorded, context, has_failed, is_kept) in [
        ("failed", true, TraceContext::root(), true, true),
        ("dropped", true, TraceContext::root(), false, false),
        ("sampled", true, called("01"), false, true),
        ("of a caller", false, called("01"), false, true),
        ("without export", false, TraceContext::root(), true, false),
    ] {
        let tracer =
            if is_recorded { Tracer::new(Box::new(Exported::default()), 0.0) } else { Tracer::off() };
        let turn = tracer.begin(context, "turn");
        turn.parent().span("call").observe(&CALL_DURATION, &["traced", "1.0.0", function], 0.2);
        if is_recorded {
            assert_eq!(exemplar(function), None, "{function}: it is not known yet whether the trace is kept");
        }
        assert_eq!(turn.context_at_end(has_failed).is_sampled(), is_kept, "{function}");
        turn.finish(has_failed);
        assert_eq!(exemplar(function), is_kept.then_some(context.trace_id()), "{function}");
    }
}
