//! Begins the trace of a turn or job, and decides at its end whether it is exported.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

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
    /// Of turns that did not fail, from 0 to 1.
    ratio: f64,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Tracer").field(&self.0.as_ref().map(|export| export.ratio)).finish()
    }
}

impl Tracer {
    /// Records nothing. The ids of traces are still made and passed on.
    pub fn off() -> Self {
        Self(None)
    }

    /// Exports to `sink` every trace that failed, every trace that its caller sampled, and a share of the others.
    pub fn new(sink: Box<dyn SpanSink>, ratio: f64) -> Self {
        Self(Some(Arc::new(Export { sink, ratio })))
    }

    /// Begins the span of a turn or job. Its position is `context` itself, so that the `traceparent` of the response names it.
    pub fn begin(&self, context: TraceContext, name: impl Into<Cow<'static, str>>) -> RootSpan {
        let held = self.0.as_ref().map(|_| HeldSpans::new());
        let span = TraceSpan::root(context, name, held.clone());
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

    /// Ends the span and exports the trace, or drops it. Steps that still run are not part of it.
    pub fn finish(self, has_failed: bool) {
        let Self { tracer, span, held } = self;
        let (Some(export), Some(held)) = (tracer.0, held) else { return };
        let context = span.context();
        let is_kept = has_failed || context.is_sampled() || is_within_ratio(context.trace_id(), export.ratio);
        TRACES.increment(&[if is_kept { "kept" } else { "dropped" }]);
        if !is_kept {
            return;
        }
        let dropped = held.dropped();
        if dropped > 0 {
            SPANS_DROPPED.add(&["turn"], dropped.into());
            span.set("masque.spans.dropped", i64::from(dropped));
        }
        drop(span);
        export.sink.export(held.take().spans);
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
mod tests {
    use super::*;

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
}
