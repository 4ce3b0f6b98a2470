//! The line of the log that says how a turn ended.

use masque_store::{Started, UsageRecord};

use crate::clock::fractional_ms;
use crate::draft::ReplyDraft;
use crate::finalizer::FinalizedTurn;
use crate::log::TurnEnd;
use crate::timing::TurnTiming;

/// What the log says about a turn that has ended.
pub(crate) struct TurnSummary {
    attempt: u32,
    model: Option<String>,
    total_ms: f64,
    host_ms: f64,
    first_content_ms: Option<f64>,
    usage: UsageRecord,
}

impl TurnSummary {
    pub(crate) fn new(draft: &ReplyDraft, timing: &TurnTiming, started: &Started) -> Self {
        Self {
            attempt: started.attempt,
            model: draft.model.clone(),
            total_ms: fractional_ms(timing.total),
            host_ms: fractional_ms(timing.host()),
            first_content_ms: timing.first_content.map(fractional_ms),
            usage: draft.usage,
        }
    }

    pub(crate) fn log(&self, finalized: &FinalizedTurn) {
        let problem = match &finalized.end {
            TurnEnd::Failed(problem) => Some(problem.kind.name()),
            TurnEnd::Completed(_) => None,
        };
        tracing::info!(
            status = %finalized.status,
            problem,
            attempt = self.attempt,
            model = self.model,
            total_ms = self.total_ms,
            host_ms = self.host_ms,
            first_content_ms = self.first_content_ms,
            input_tokens = self.usage.input_tokens,
            output_tokens = self.usage.output_tokens,
            usage_estimated = self.usage.estimated,
            "turn ended"
        );
    }
}
