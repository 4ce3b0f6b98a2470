//! Ends a turn before its reply is complete, with a reason. The first reason counts.

use std::sync::OnceLock;

use masque_problem::{Kind, Problem};
use tokio_util::sync::CancellationToken;

/// Why a turn is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CancelReason {
    /// A client asked for it.
    ByClient,
    /// Nobody reads the turn any more.
    NoReader,
    /// The host stops.
    Draining,
    /// Another host may hold the conversation's lease.
    LeaseLost,
    /// The conversation was deleted.
    ConversationDeleted,
    /// The user was erased.
    UserErased,
}

impl CancelReason {
    /// What readers are told.
    pub(crate) fn problem(self) -> Problem {
        match self {
            Self::ByClient | Self::NoReader => Kind::TurnCancelled.into(),
            Self::Draining => Kind::TurnInterrupted.into(),
            Self::LeaseLost => Kind::LeaseLost.into(),
            Self::UserErased => {
                let detail =
                    "The user's data was erased before the reply was complete; begin a new conversation.";
                Problem::new(Kind::ConversationNotFound, detail)
            }
            Self::ConversationDeleted => {
                let detail = "The conversation was deleted before the reply was complete; begin a new one.";
                Problem::new(Kind::ConversationNotFound, detail)
            }
        }
    }
}

/// A request to end one turn. Anyone who knows the turn can cancel it, at any time and any number of times.
#[derive(Debug, Default)]
pub(crate) struct Cancellation {
    token: CancellationToken,
    reason: OnceLock<CancelReason>,
}

impl Cancellation {
    pub(crate) fn cancel(&self, reason: CancelReason) {
        self.reason.get_or_init(|| reason);
        self.token.cancel();
    }

    /// Resolves once the turn is cancelled.
    pub(crate) async fn cancelled(&self) -> CancelReason {
        self.token.cancelled().await;
        // `cancel` sets the reason before it cancels the token.
        self.reason.get().copied().unwrap_or(CancelReason::ByClient)
    }
}
