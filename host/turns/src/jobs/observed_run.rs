//! One run of a job, as metrics and traces see it.
//!
//! A job has a trace of its own, since it may run long after its turn, on another host and several times. Its span is linked to
//! that of the turn.

use std::time::Instant;

use masque_store::{Ability, JobRecord};
use masque_telemetry::metrics::state::{JOB_DURATION, JOB_RUNS};
use masque_telemetry::trace::{RootSpan, SpanKind, SpanParent, TraceContext, Tracer};
use tracing::Span;

use super::payload::request_id;

/// A run that has begun. Dropping it before its end, as when the host stops, drops the trace and counts nothing.
pub(super) struct ObservedRun {
    root: RootSpan,
    began: Instant,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunOutcome {
    /// The job is done.
    Done,
    /// The job will be tried again.
    Retried,
    /// The job waits for an operator.
    Parked,
    /// The lease ended before, and another run has the job.
    Lost,
}

impl RunOutcome {
    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retried => "retried",
            Self::Parked => "parked",
            Self::Lost => "lost",
        }
    }
}

impl ObservedRun {
    /// Begins a run within the job's [`log_span`].
    pub(super) fn begin(tracer: &Tracer, job: &JobRecord) -> Self {
        let function = function(job.ability);
        let name = format!("{function} {}", job.plugin);
        // The turn has produced the job, and this run consumes it. No client waits for it.
        let root = tracer.begin_of_kind(TraceContext::root(), name, SpanKind::Consumer);
        let span = root.span();
        if span.is_recorded() {
            span.set("masque.job.id", job.id.to_string());
            span.set("masque.job.attempt", i64::from(job.attempt));
            span.set("masque.plugin.name", job.plugin.clone());
            span.set("masque.turn.id", job.turn.to_string());
            span.set("gen_ai.conversation.id", job.conversation.to_string());
        }
        let trace_id = span.context().trace_id();
        Span::current().record("trace_id", tracing::field::display(format_args!("{trace_id:032x}")));
        Self { root, began: Instant::now() }
    }

    /// Links the run to the turn that created the job.
    pub(super) fn link(&self, turn: TraceContext) {
        self.root.span().link(turn);
    }

    /// For the call of the plugin.
    pub(super) fn parent(&self) -> SpanParent {
        self.root.parent()
    }

    /// The run has ended.
    pub(super) fn end(self, job: &JobRecord, outcome: RunOutcome) {
        let function = function(job.ability);
        JOB_RUNS.increment(&[&job.plugin, function, outcome.name()]);
        JOB_DURATION.observe(&[&job.plugin, function], self.began.elapsed().as_secs_f64());
        let has_failed = matches!(outcome, RunOutcome::Retried | RunOutcome::Parked);
        if has_failed {
            self.root.span().fail(outcome.name());
        }
        self.root.finish(has_failed);
    }
}

/// For the lines that are logged of a job. They have the id of the request of its turn, and of the trace of the run once it has
/// begun within this span.
pub(super) fn log_span(job: &JobRecord) -> Span {
    tracing::error_span!(
        "job",
        job_id = %job.id,
        turn_id = %job.turn,
        plugin = job.plugin,
        request_id = request_id(&job.payload),
        trace_id = tracing::field::Empty,
    )
}

/// The function of the plugin that a job calls.
fn function(ability: Ability) -> &'static str {
    match ability {
        Ability::Observe => "observe",
        Ability::Reflect => "reflect",
    }
}

#[cfg(test)]
mod tests {
    use masque_telemetry::metrics::state::JOB_OUTCOMES;

    use super::RunOutcome;

    #[test]
    fn every_outcome_of_a_run_is_counted_from_zero() {
        for outcome in [RunOutcome::Done, RunOutcome::Retried, RunOutcome::Parked, RunOutcome::Lost] {
            assert!(JOB_OUTCOMES.contains(&outcome.name()), "{outcome:?}");
        }
    }
}
