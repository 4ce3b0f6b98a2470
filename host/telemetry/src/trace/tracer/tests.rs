use std::sync::Mutex;

use http::HeaderMap;
use opentelemetry::trace::Status;

use super::*;
use crate::trace::{MAX_SPANS, SpanKind, TRACEPARENT};

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

/// Whether each span but the turn's own has its parent among them.
fn are_connected(spans: &[SpanData]) -> bool {
    let ids: Vec<_> = spans.iter().map(|span| span.span_context.span_id()).collect();
    let Some((_, steps)) = spans.split_last() else { return false };
    steps.iter().all(|span| ids.contains(&span.parent_span_id))
}

fn count_of(spans: &[SpanData], name: &str) -> usize {
    spans.iter().filter(|span| span.name == name).count()
}

#[test]
fn a_plugin_that_asks_often_takes_no_place_of_other_steps_and_each_span_leads_to_the_turn() {
    let exported = Exported::default();
    let turn = Tracer::new(Box::new(exported.clone()), 1.0).begin(TraceContext::root(), "turn");
    {
        turn.parent().span("admission").parent().span("store admit");
        let recall = turn.parent().span("plugin.recall");
        for number in 0..500 {
            let get = recall.parent().span("state.get");
            // Those that failed are kept in preference to the others of the same plugin.
            if number % 50 == 49 {
                get.fail("quota");
            }
        }
        // As many requests as questions: each of these is a step with a step within it.
        for _ in 0..20 {
            recall.parent().span("models.ask").parent().span("chat").parent().span("POST");
        }
    }
    {
        let chat = turn.parent().span("chat");
        let generate = chat.parent().span("plugin.generate");
        generate.parent().span_of_kind("POST", SpanKind::Client);
    }
    turn.parent().span("commit");
    turn.finish(false);
    let spans = exported.0.lock().unwrap();
    assert!(spans.len() == MAX_SPANS && are_connected(&spans), "{}", spans.len());
    for (name, count) in [
        ("admission", 1),
        ("store admit", 1),
        ("plugin.recall", 1),
        ("models.ask", 20),
        ("chat", 21),
        ("POST", 21),
        ("plugin.generate", 1),
        ("commit", 1),
        ("turn", 1),
    ] {
        assert_eq!(count_of(&spans, name), count, "{name}");
    }
    let failed = spans.iter().filter(|span| span.name == "state.get" && span.status != Status::Unset);
    assert_eq!(failed.count(), 10);
}

#[test]
fn failures_of_one_plugin_take_no_place_of_steps_that_succeed() {
    let exported = Exported::default();
    let turn = Tracer::new(Box::new(exported.clone()), 1.0).begin(TraceContext::root(), "turn");
    {
        let recall = turn.parent().span("plugin.recall");
        (0..500).for_each(|_| recall.parent().span("state.get").fail("not-granted"));
    }
    turn.parent().span("plugin.generate").parent().span("POST");
    turn.parent().span("commit");
    turn.finish(true);
    let spans = exported.0.lock().unwrap();
    assert!(spans.len() == MAX_SPANS && are_connected(&spans), "{}", spans.len());
    for name in ["plugin.recall", "plugin.generate", "POST", "commit", "turn"] {
        assert_eq!(count_of(&spans, name), 1, "{name}");
    }
}

#[test]
fn where_nothing_but_chains_of_steps_is_held_no_link_is_lost() {
    let exported = Exported::default();
    let turn = Tracer::new(Box::new(exported.clone()), 1.0).begin(TraceContext::root(), "turn");
    for _ in 0..100 {
        turn.parent().span("outer").parent().span("middle").parent().span("inner");
    }
    turn.finish(false);
    let spans = exported.0.lock().unwrap();
    assert!(spans.len() == MAX_SPANS && are_connected(&spans), "{}", spans.len());
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
