//! Traces: the position of a request in a trace, and the spans of a turn.

mod context;
mod eviction;
mod held;
pub mod otlp;
mod span;
mod tracer;

pub use context::{TRACEPARENT, TraceContext};
pub use held::{FinishedSpans, HeldSpans, MAX_SPANS};
pub use opentelemetry::Value;
pub use opentelemetry::trace::SpanKind;
pub use opentelemetry_sdk::trace::SpanData;
pub use span::{SpanParent, TraceSpan};
pub use tracer::{RootSpan, Sampling, SpanSink, Tracer};
