//! Why a turn is to end before its reply is whole: the first reason given counts.

use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;

use crate::problem::{Kind, Problem};

/// Who wants the turn to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// A client asked for it.
    Cancelled,
    /// No one reads it any more.
    Deserted,
    /// The host stops.
    Draining,
    /// Another host may have the conversation.
    LeaseLost,
}

impl Reason {
    /// What readers are told.
    pub(crate) fn problem(self) -> Problem {
        Problem::from(match self {
            Self::Cancelled | Self::Deserted => Kind::TurnCancelled,
            Self::Draining => Kind::TurnInterrupted,
            Self::LeaseLost => Kind::LeaseLost,
        })
    }
}

/// Asks a turn to end; can be asked by anyone, at any time, any number of times.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    token: CancellationToken,
    reason: OnceLock<Reason>,
}

impl Stop {
    pub(crate) fn ask(&self, reason: Reason) {
        self.reason.get_or_init(|| reason);
        self.token.cancel();
    }

    /// Resolves once someone has asked.
    pub(crate) async fn asked(&self) -> Reason {
        self.token.cancelled().await;
        // Set before the token is.
        self.reason.get().copied().unwrap_or(Reason::Cancelled)
    }
}
