//! One step of a trace. It costs next to nothing where no traces are exported.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::context::TraceContext;
use super::held::HeldSpans;
use crate::metrics::Histogram;

/// Where the steps of a turn begin: the position in the trace, and where finished spans are held. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SpanParent {
    context: TraceContext,
    held: Option<Arc<HeldSpans>>,
}

impl SpanParent {
    /// Spans below `context`. With `None` they are not recorded; their ids are still valid and are passed on.
    pub fn new(context: TraceContext, held: Option<Arc<HeldSpans>>) -> Self {
        Self { context, held }
    }

    /// A trace of its own that is not recorded.
    pub fn unrecorded() -> Self {
        Self { context: TraceContext::root(), held: None }
    }

    /// The position of the parent.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// Whether spans are recorded: where not, a caller need not compute attributes.
    pub fn is_recorded(&self) -> bool {
        self.held.is_some()
    }

    /// Begins a step within the host.
    pub fn span(&self, name: impl Into<Cow<'static, str>>) -> TraceSpan {
        self.span_of_kind(name, SpanKind::Internal)
    }

    /// Begins a step of a kind, such as a request to another server.
    pub fn span_of_kind(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind) -> TraceSpan {
        let Some(held) = &self.held else { return TraceSpan { context: self.context, recording: None } };
        let context = self.context.child();
        let recording = Recording {
            parent: self.context.span_id(),
            is_root: false,
            name: name.into(),
            kind,
            started: SystemTime::now(),
            details: Mutex::default(),
            held: Arc::clone(held),
        };
        TraceSpan { context, recording: Some(Arc::new(Guard { context, recording })) }
    }
}

/// A step of a trace. It ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct TraceSpan {
    context: TraceContext,
    recording: Option<Arc<Guard>>,
}

#[derive(Debug)]
struct Recording {
    parent: u64,
    /// Whether the parent is the caller's, if there is one.
    is_root: bool,
    name: Cow<'static, str>,
    kind: SpanKind,
    started: SystemTime,
    details: Mutex<Details>,
    held: Arc<HeldSpans>,
}

#[derive(Debug, Default)]
struct Details {
    attributes: Vec<KeyValue>,
    links: Vec<Link>,
    status: Status,
}

/// Ends the span when it is dropped.
#[derive(Debug)]
struct Guard {
    context: TraceContext,
    recording: Recording,
}

impl TraceSpan {
    /// The span at `context` itself, below the caller's span.
    pub(crate) fn root(
        context: TraceContext,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        held: Option<Arc<HeldSpans>>,
    ) -> Self {
        let recording = held.map(|held| {
            let recording = Recording {
                parent: context.parent_span_id(),
                is_root: true,
                name: name.into(),
                kind,
                started: SystemTime::now(),
                details: Mutex::default(),
                held,
            };
            Arc::new(Guard { context, recording })
        });
        Self { context, recording }
    }

    /// Whether attributes of this step are kept.
    pub fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// Whether attributes may contain what users and models wrote. Never where nothing is recorded.
    pub fn captures_content(&self) -> bool {
        self.recording.as_ref().is_some_and(|guard| guard.recording.held.captures_content())
    }

    /// The position of this step, for a `traceparent` or a log line.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// For steps within this one.
    pub fn parent(&self) -> SpanParent {
        let held = self.recording.as_ref().map(|guard| Arc::clone(&guard.recording.held));
        SpanParent { context: self.context, held }
    }

    /// Adds an attribute. Names are those of OpenTelemetry's semantic conventions, or begin with `masque.`.
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        self.change(|details| details.attributes.push(KeyValue::new(name, value)));
    }

    /// Counts a value of this step in a histogram. If the trace is kept, which is known at its end, its id becomes the exemplar of the
    /// value's bucket.
    pub fn observe(&self, histogram: &'static Histogram, labels: &[&str], value: f64) {
        match &self.recording {
            Some(guard) => {
                histogram.observe(labels, value);
                guard.recording.held.note_exemplar(histogram, labels, value);
            }
            None => histogram.observe_traced(labels, value, self.context),
        }
    }

    /// Refers to a span of another trace, such as the turn that created a job.
    pub fn link(&self, to: TraceContext) {
        self.change(|details| details.links.push(Link::with_context(span_context(to))));
    }

    /// The step failed; `code` is from a closed list and never text of a plugin or upstream.
    pub fn fail(&self, code: impl Into<Cow<'static, str>>) {
        let code = code.into();
        self.change(|details| {
            details.attributes.push(KeyValue::new("error.type", code.clone()));
            details.status = Status::error(code);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Details)) {
        if let Some(guard) = &self.recording {
            change(&mut guard.recording.details.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Recording { parent, is_root, name, kind, started, details, held } = &mut self.recording;
        let details = std::mem::take(details.get_mut().unwrap_or_else(PoisonError::into_inner));
        let mut links = SpanLinks::default();
        links.links = details.links;
        held.push(
            SpanData {
                span_context: span_context(self.context),
                parent_span_id: SpanId::from_bytes(parent.to_be_bytes()),
                parent_span_is_remote: *is_root && *parent != 0,
                span_kind: kind.clone(),
                name: std::mem::take(name),
                start_time: *started,
                end_time: SystemTime::now(),
                attributes: details.attributes,
                dropped_attributes_count: 0,
                events: SpanEvents::default(),
                links,
                status: details.status,
                instrumentation_scope: InstrumentationScope::builder("masque")
                    .with_version(env!("CARGO_PKG_VERSION"))
                    .build(),
            },
            *is_root,
        );
    }
}

fn span_context(context: TraceContext) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(context.trace_id().to_be_bytes()),
        SpanId::from_bytes(context.span_id().to_be_bytes()),
        TraceFlags::SAMPLED,
        false,
        TraceState::default(),
    )
}
