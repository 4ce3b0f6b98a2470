//! Begins the trace of a turn or job, and decides at its end whether it is exported.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::SpanData;

use super::context::TraceContext;
use super::held::HeldSpans;
use super::span::{SpanParent, TraceSpan};
use crate::metrics::turns::{SPANS_DROPPED, TRACES};

/// Takes the spans of traces that are kept. It must not wait.
pub trait SpanSink: Send + Sync {
    /// Exports them, or drops and counts them where its queue is full.
    fn export(&self, spans: Vec<SpanData>);
}

/// Begins traces. Cheap to clone.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Export>>);

struct Export {
    sink: Box<dyn SpanSink>,
    /// Which traces are kept of those that did not fail.
    sampling: Sampling,
    /// Whether spans may contain what users and models wrote.
    captures_content: bool,
}

/// Which traces are kept. One that failed always is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// The share, from 0 to 1. A trace is among it or not by its id, so that all hosts decide alike.
    pub ratio: f64,
    /// Whether the decision of a caller that counts takes precedence over the share.
    pub follows_caller: bool,
}

impl Sampling {
    /// Whether a trace that does not fail is kept.
    fn keeps(self, context: TraceContext) -> bool {
        match context.caller_decision() {
            Some(is_sampled) if self.follows_caller => is_sampled,
            _ => is_within_ratio(context.trace_id(), self.ratio),
        }
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Tracer").field(&self.0.as_ref().map(|export| export.sampling)).finish()
    }
}

impl Tracer {
    /// Records nothing. The ids of traces are still made and passed on.
    pub fn off() -> Self {
        Self(None)
    }

    /// Exports to `sink` every trace that failed, those that a caller that counts has recorded, and a share of those about
    /// which no caller decided.
    pub fn new(sink: Box<dyn SpanSink>, ratio: f64) -> Self {
        Self::with_sampling(sink, Sampling { ratio, follows_caller: true }, false)
    }

    /// Exports to `sink` every trace that failed, and of the others those that `sampling` keeps. `captures_content` says
    /// whether spans may contain what users and models wrote.
    pub fn with_sampling(sink: Box<dyn SpanSink>, sampling: Sampling, captures_content: bool) -> Self {
        Self(Some(Arc::new(Export { sink, sampling, captures_content })))
    }

    /// Whether spans may contain what users and models wrote, in the attributes that the conventions name for it. Without
    /// this, no attribute is text of a message.
    pub fn captures_content(&self) -> bool {
        self.0.as_ref().is_some_and(|export| export.captures_content)
    }

    /// Begins the span of a turn. Its position is `context` itself, so that the `traceparent` of the response names it.
    /// The flag that other servers get from the span says what is decided if the turn does not fail.
    pub fn begin(&self, context: TraceContext, name: impl Into<Cow<'static, str>>) -> RootSpan {
        self.begin_of_kind(context, name, SpanKind::Server)
    }

    /// Begins the span of something that is no answer to a client, such as a job.
    pub fn begin_of_kind(
        &self,
        context: TraceContext,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
    ) -> RootSpan {
        let held = self.0.as_ref().map(|export| HeldSpans::with_content(export.captures_content));
        let context = match &self.0 {
            Some(export) => context.with_sampled(export.sampling.keeps(context)),
            None => context,
        };
        let span = TraceSpan::root(context, name, kind, held.clone());
        RootSpan { tracer: self.clone(), span, held }
    }
}

/// The span of a whole turn or job. Dropping it without [`finish`](Self::finish) drops the trace.
#[derive(Debug)]
pub struct RootSpan {
    tracer: Tracer,
    span: TraceSpan,
    held: Option<Arc<HeldSpans>>,
}

impl RootSpan {
    /// For attributes.
    pub fn span(&self) -> &TraceSpan {
        &self.span
    }

    /// For steps within it.
    pub fn parent(&self) -> SpanParent {
        SpanParent::new(self.span.context(), self.held.clone())
    }

    /// The position of the trace once it is known whether it has failed: sampled only if it is kept. For exemplars.
    pub fn context_at_end(&self, has_failed: bool) -> TraceContext {
        let context = self.span.context();
        // Without an export of its own, the host has the word of a caller that counts.
        let is_kept = context.is_sampled() || (has_failed && self.tracer.0.is_some());
        context.with_sampled(is_kept)
    }

    /// Ends the span and exports the trace, or drops it. Steps that still run are not part of it.
    pub fn finish(self, has_failed: bool) {
        let Self { tracer, span, held } = self;
        let (Some(export), Some(held)) = (tracer.0, held) else { return };
        let is_kept = has_failed || span.context().is_sampled();
        TRACES.increment(&[if is_kept { "kept" } else { "dropped" }]);
        if !is_kept {
            return;
        }
        let dropped = held.dropped();
        if dropped > 0 {
            SPANS_DROPPED.add(&["turn"], dropped.into());
            span.set("masque.spans.dropped", i64::from(dropped));
        }
        let context = span.context();
        drop(span);
        let finished = held.take();
        finished.record_exemplars(context);
        export.sink.export(finished.spans);
    }
}

/// Whether the trace is among the share. All hosts decide alike for one trace: the id's random low bits decide.
fn is_within_ratio(trace: u128, ratio: f64) -> bool {
    /// 2^53: OpenTelemetry's randomness of a trace id is its last 56 bits, of which a number of 64 bits holds the upper 53.
    const RANGE: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let random = ((trace & 0x00ff_ffff_ffff_ffff) >> 3) as f64;
    random < ratio * RANGE
}

#[cfg(test)]
mod tests;
