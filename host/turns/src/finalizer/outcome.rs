//! How the pipeline of a turn ended, and how the turn ended.

use masque_companions::Companion;
use masque_problem::Problem;
use masque_store::{BudgetAccount, Owner, Started, StoreError, TurnStatus, UserProfile};
use masque_telemetry::trace::TraceContext;

use crate::cancellation::CancelReason;
use crate::draft::ReplyDraft;
use crate::log::TurnEnd;
use crate::timing::TurnTiming;

/// How the pipeline of a turn ended.
#[derive(Debug)]
pub(crate) enum TurnOutcome {
    /// The reply is complete.
    Completed,
    /// A plugin or the host failed.
    Failed(Problem),
    /// The turn was cancelled.
    Cancelled(CancelReason),
    /// The store did not confirm the admission. With [`StoreError::OutcomeUnknown`] the turn may be stored all the
    /// same.
    NotAdmitted(StoreError),
}

/// A turn whose pipeline has ended, with everything that is needed to store it.
pub(crate) struct FinishedTurn<'a> {
    pub(crate) owner: &'a Owner,
    /// What the turn's plugins were told of the user, for the background jobs.
    pub(crate) profile: &'a UserProfile,
    /// Its plugins get background jobs. `None` if the companion no longer exists.
    pub(crate) companion: Option<&'a Companion>,
    pub(crate) started: &'a Started,
    pub(crate) draft: &'a ReplyDraft,
    pub(crate) timing: &'a TurnTiming,
    pub(crate) request_id: &'a str,
    /// The accounts that pay for its background jobs.
    pub(crate) accounts: &'a [BudgetAccount],
    /// The position of the turn's span, for the links of its background jobs.
    pub(crate) trace: TraceContext,
}

/// How a turn has ended.
#[derive(Debug)]
pub(crate) struct FinalizedTurn {
    /// For its readers.
    pub(crate) end: TurnEnd,
    /// For the log.
    pub(crate) status: TurnStatus,
}

impl FinalizedTurn {
    pub(super) fn failed(problem: Problem, status: TurnStatus) -> Self {
        Self { end: TurnEnd::Failed(problem), status }
    }
}
