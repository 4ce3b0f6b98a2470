//! The trace of a request for a turn, until the store has started the turn or it is known that there will be none.

use std::borrow::Cow;

use masque_problem::Problem;
use masque_store::Started;
use masque_telemetry::trace::{RootSpan, SpanParent, TraceContext, TraceSpan, Tracer};

/// The span of a turn that may begin, and that of its admission within it.
///
/// Dropping it drops the trace: the client has left before the request was looked at.
pub(crate) struct RequestTrace {
    // Fields are dropped in order: a step ends before the whole.
    admission: TraceSpan,
    root: RootSpan,
}

impl RequestTrace {
    /// Begins the trace of a request that has arrived, at its position. `companion` is the name of one of the active set.
    pub(crate) fn begin(tracer: &Tracer, position: TraceContext, companion: Option<&str>) -> Self {
        let name: Cow<'static, str> = match companion {
            Some(companion) => format!("invoke_agent {companion}").into(),
            None => "invoke_agent".into(),
        };
        let root = tracer.begin(position, name);
        let admission = root.parent().span("admission");
        Self { admission, root }
    }

    /// For the steps of the admission.
    pub(crate) fn parent(&self) -> SpanParent {
        self.admission.parent()
    }

    /// The request got no turn. A refusal that is the host's own fault is kept like a turn that failed.
    pub(crate) fn refused(self, problem: &Problem) {
        let Self { admission, root } = self;
        let name = problem.kind.name();
        admission.fail(name);
        drop(admission);
        root.span().fail(name);
        root.finish(problem.kind.status().is_server_error());
    }

    /// The request begins no turn and was not refused: it has `joined` an earlier one, or its client has `left`.
    pub(crate) fn end_without_turn(self, outcome: &'static str) {
        let Self { admission, root } = self;
        admission.set("masque.admission.outcome", outcome);
        drop(admission);
        root.finish(false);
    }

    /// The store has started the turn, which has this span from here on.
    pub(crate) fn admitted(self, started: &Started) -> RootSpan {
        let Self { admission, root } = self;
        drop(admission);
        let span = root.span();
        if span.is_recorded() {
            span.set("gen_ai.operation.name", "invoke_agent");
            span.set("gen_ai.provider.name", "masque");
            span.set("gen_ai.agent.name", started.companion.clone());
            span.set("gen_ai.conversation.id", started.conversation.to_string());
            span.set("masque.turn.id", started.turn.to_string());
            span.set("masque.turn.attempt", i64::from(started.attempt));
        }
        root
    }
}
