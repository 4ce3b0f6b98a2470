//! A turn that runs, as metrics and traces see it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use masque_problem::{Kind, Problem};
use masque_telemetry::metrics::Raised;
use masque_telemetry::metrics::state::LEASES_LOST;
use masque_telemetry::metrics::turns::{DURATION, FIRST_CONTENT, HOST_OVERHEAD, REFUSED, RUNNING, TURNS};
use masque_telemetry::trace::{RootSpan, SpanParent};

use super::chat_span::{set_usage, string_list};
use super::outcome::Outcome;
use crate::draft::ReplyDraft;
use crate::log::TurnEnd;
use crate::records::CallLog;

/// A turn that has no content for so long is late, however it ends. It is the bound of a bucket, and what the objective for the first
/// content allows.
const LATE: Duration = Duration::from_secs(5);

/// A turn that runs. It is counted once: when it ends, or as a failure when this is dropped before, since its task panicked.
pub(crate) struct ObservedTurn {
    /// `None` once the turn was counted.
    root: Option<RootSpan>,
    parent: SpanParent,
    companion: String,
    arrived: Instant,
    _running: Raised,
}

impl ObservedTurn {
    /// A turn of this companion that the store has started, whose request came at `arrived`.
    pub(crate) fn begin(root: RootSpan, companion: &str, arrived: Instant) -> Self {
        Self {
            parent: root.parent(),
            root: Some(root),
            companion: companion.to_owned(),
            arrived,
            _running: RUNNING.raise(&[]),
        }
    }

    /// For the steps of the turn.
    pub(crate) fn parent(&self) -> SpanParent {
        self.parent.clone()
    }

    /// The turn has ended, and its readers know. Returns how, for its record.
    pub(crate) fn end(mut self, end: &TurnEnd, draft: &ReplyDraft, calls: &Arc<CallLog>) -> Outcome {
        let outcome = Outcome::of(end, draft.is_prompt_rejected);
        let companion = self.companion.as_str();
        let trace = match &self.root {
            Some(root) => root.context_at_end(outcome.is_failure()),
            None => self.parent.context(),
        };
        if let Some(wait) = self.wait_for_content(outcome, draft) {
            FIRST_CONTENT.observe_traced(&[companion], wait.as_secs_f64(), trace);
        }
        if outcome == Outcome::Completed {
            let overhead = self.arrived.elapsed().saturating_sub(calls.upstream_wait());
            HOST_OVERHEAD.observe_traced(&[companion], overhead.as_secs_f64(), trace);
        }
        if let Some(root) = &self.root
            && root.span().is_recorded()
        {
            let span = root.span();
            span.set("masque.turn.outcome", outcome.name());
            if let Some(model) = &draft.model {
                span.set("gen_ai.request.model", model.clone());
                set_usage(span, draft.usage);
            }
            if let Some(finish) = draft.finish {
                span.set("gen_ai.response.finish_reasons", string_list(finish));
            }
            if let Some(first) = draft.first_content {
                let wait = first.saturating_duration_since(self.arrived);
                span.set("masque.turn.time_to_first_content", wait.as_secs_f64());
            }
        }
        let problem = match end {
            TurnEnd::Failed(problem) => Some(problem),
            TurnEnd::Completed(_) => None,
        };
        self.count(outcome, problem);
        outcome
    }

    /// How long the client waited for the first content. Of a turn without any, how long it waited in vain, if that is too long:
    /// a model that says nothing is seen even where every client gives up before the turn's own limit.
    fn wait_for_content(&self, outcome: Outcome, draft: &ReplyDraft) -> Option<Duration> {
        match draft.first_content {
            Some(first) => Some(first.saturating_duration_since(self.arrived)),
            None if outcome == Outcome::Refused => None,
            None => Some(self.arrived.elapsed()).filter(|wait| *wait > LATE),
        }
    }

    /// Counts the turn and ends its trace, the first time.
    fn count(&mut self, outcome: Outcome, problem: Option<&Problem>) {
        let Some(root) = self.root.take() else { return };
        if outcome == Outcome::Refused {
            REFUSED.increment(&["budget"]);
        } else {
            let labels = [self.companion.as_str(), outcome.name()];
            TURNS.increment(&labels);
            let trace = root.context_at_end(outcome.is_failure());
            DURATION.observe_traced(&labels, self.arrived.elapsed().as_secs_f64(), trace);
        }
        if let Some(problem) = problem {
            if problem.kind == Kind::LeaseLost {
                LEASES_LOST.increment(&[]);
            }
            root.span().fail(problem.kind.name());
        }
        root.finish(outcome.is_failure());
    }
}

impl Drop for ObservedTurn {
    fn drop(&mut self) {
        self.count(Outcome::Failed, Some(&Problem::from(Kind::Internal)));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use masque_telemetry::trace::{TraceContext, Tracer};
    use serde_json::json;

    use super::*;
    use crate::test_support::KeptSpans;

    fn begin(companion: &str, tracer: &Tracer) -> ObservedTurn {
        ObservedTurn::begin(tracer.begin(TraceContext::root(), "invoke_agent"), companion, Instant::now())
    }

    fn counted(companion: &str) -> Vec<(&'static str, u64)> {
        let outcomes = ["completed", "failed", "rejected", "interrupted", "cancelled", "refused"];
        let counted = outcomes.map(|outcome| (outcome, TURNS.value(&[companion, outcome])));
        counted.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    #[test]
    fn a_turn_whose_task_panics_is_counted_as_a_failure_and_its_trace_is_kept() {
        let spans = KeptSpans::default();
        let tracer = spans.tracer(0.0);
        let turn = Mutex::new(Some(begin("panics", &tracer)));
        let task = std::panic::catch_unwind(|| {
            let _turn = turn.lock().unwrap().take();
            panic!("the turn's task fails");
        });
        assert!(task.is_err());
        assert_eq!(counted("panics"), [("failed", 1)]);
        assert_eq!(spans.names(), ["invoke_agent"]);
    }

    #[test]
    fn a_turn_that_has_ended_is_counted_once() {
        let end = TurnEnd::Completed(Arc::new(json!({})));
        let turn = begin("ends", &Tracer::off());
        turn.end(&end, &ReplyDraft::default(), &CallLog::unrecorded());
        assert_eq!(counted("ends"), [("completed", 1)]);
    }

    #[test]
    fn a_turn_that_ends_without_content_after_five_seconds_counts_as_late_however_it_ends() {
        let end = |companion: &str, seconds: u64, kind: Kind, draft: &ReplyDraft| {
            let root = Tracer::off().begin(TraceContext::root(), "invoke_agent");
            let arrived = Instant::now() - Duration::from_secs(seconds);
            let turn = ObservedTurn::begin(root, companion, arrived);
            turn.end(&TurnEnd::Failed(kind.into()), draft, &CallLog::unrecorded());
            FIRST_CONTENT.with(&[companion]).unwrap()
        };
        let silent = ReplyDraft::default();
        for (companion, kind) in [
            ("silent, client left", Kind::TurnCancelled),
            ("silent, failed", Kind::ModelStalled),
            ("silent, host stopped", Kind::TurnInterrupted),
        ] {
            assert_eq!(
                end(companion, 4, kind, &silent).get_sample_count(),
                0,
                "{companion}: it may still begin in time"
            );
            let late = end(companion, 12, kind, &silent);
            assert_eq!(late.get_sample_count(), 1, "{companion}");
            assert!((12.0..13.0).contains(&late.get_sample_sum()), "{companion}: {}", late.get_sample_sum());
        }
        let spoke = ReplyDraft { first_content: Some(Instant::now() - Duration::from_secs(11)), ..silent };
        let wait = end("spoke", 12, Kind::TurnCancelled, &spoke).get_sample_sum();
        assert!((0.9..2.0).contains(&wait), "{wait}");
    }

    #[test]
    fn a_turn_whose_prompt_the_model_refuses_does_not_count_as_failed() {
        let draft = ReplyDraft { is_prompt_rejected: true, ..ReplyDraft::default() };
        let end = TurnEnd::Failed(Kind::ModelInvalid.into());
        begin("rejects", &Tracer::off()).end(&end, &draft, &CallLog::unrecorded());
        assert_eq!(counted("rejects"), [("rejected", 1)]);
    }

    #[test]
    fn a_turn_without_tokens_counts_as_refused_and_not_as_ended() {
        let end = TurnEnd::Failed(Kind::BudgetSpent.into());
        begin("spent", &Tracer::off()).end(&end, &ReplyDraft::default(), &CallLog::unrecorded());
        assert!(counted("spent").is_empty());
    }
}
