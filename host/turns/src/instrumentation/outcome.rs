//! How a turn ended, in the terms of metrics, traces and records. Pure.
//!
//! The store and the API know two ways for a turn to end without a complete reply, by whether a part of it is kept. Here the
//! reason decides: a model that fails in the middle of its reply is a failure whatever was said before it, and a user who
//! cancels is none.

use masque_problem::Kind;

use crate::log::TurnEnd;

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The reply is complete and stored.
    Completed,
    /// A plugin, the model, the store or the host failed, before or after the first content.
    Failed,
    /// The model refused the prompt, which a user's text can cause: its filter stopped it, it is too long, or its server does not
    /// accept it.
    Rejected,
    /// The host stopped, or lost the turn's lease.
    Interrupted,
    /// The client cancelled it, left, or deleted the conversation.
    Cancelled,
    /// A budget has no tokens for the reply. It counts as a turn that was not admitted.
    Refused,
}

impl Outcome {
    /// How a turn ended. `is_prompt_rejected` says whether the last model refused the prompt.
    pub(crate) fn of(end: &TurnEnd, is_prompt_rejected: bool) -> Self {
        let TurnEnd::Failed(problem) = end else { return Self::Completed };
        match problem.kind {
            Kind::TurnCancelled | Kind::ConversationNotFound => Self::Cancelled,
            Kind::TurnInterrupted | Kind::LeaseLost => Self::Interrupted,
            Kind::BudgetSpent => Self::Refused,
            Kind::ModelInvalid if is_prompt_rejected => Self::Rejected,
            _ => Self::Failed,
        }
    }

    /// The label in metrics, and the outcome in a record.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
        }
    }

    /// Whether the trace is kept for it, however few are.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Rejected | Self::Interrupted)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use masque_problem::Problem;
    use masque_telemetry::metrics::turns::TURN_OUTCOMES;
    use serde_json::json;

    use super::*;
    use crate::cancellation::CancelReason;

    #[test]
    fn the_reason_decides_how_a_turn_ended() {
        let failed = |problem: Problem| Outcome::of(&TurnEnd::Failed(problem), false);
        assert_eq!(Outcome::of(&TurnEnd::Completed(Arc::new(json!({}))), false), Outcome::Completed);
        for (reason, outcome) in [
            (CancelReason::ByClient, Outcome::Cancelled),
            (CancelReason::NoReader, Outcome::Cancelled),
            (CancelReason::ConversationDeleted, Outcome::Cancelled),
            (CancelReason::UserErased, Outcome::Cancelled),
            (CancelReason::Draining, Outcome::Interrupted),
            (CancelReason::LeaseLost, Outcome::Interrupted),
        ] {
            assert_eq!(failed(reason.problem()), outcome, "{reason:?}");
        }
        for kind in [Kind::ModelTruncated, Kind::PluginFailed, Kind::TurnTimeout, Kind::Internal] {
            assert_eq!(failed(kind.into()), Outcome::Failed, "{kind:?}");
        }
        assert_eq!(failed(Kind::BudgetSpent.into()), Outcome::Refused);
        assert_eq!(failed(Kind::ModelInvalid.into()), Outcome::Failed, "such as a model that does not exist");
        let rejected = |kind: Kind| Outcome::of(&TurnEnd::Failed(kind.into()), true);
        assert_eq!(rejected(Kind::ModelInvalid), Outcome::Rejected);
        assert_eq!(rejected(Kind::TurnCancelled), Outcome::Cancelled, "another reason came first");
    }

    #[test]
    fn every_outcome_of_a_turn_is_counted_from_zero() {
        for outcome in [Outcome::Completed, Outcome::Failed, Outcome::Interrupted, Outcome::Cancelled] {
            assert!(TURN_OUTCOMES.contains(&outcome.name()), "{outcome:?}");
        }
    }
}
