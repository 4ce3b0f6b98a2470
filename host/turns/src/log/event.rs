//! One event of a turn, and how a turn ends.

use std::sync::Arc;

use masque_problem::Problem;
use masque_store::{ConversationId, TurnId};
use serde_json::Value;

/// One event of a turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Counts from 0 without gaps.
    pub sequence: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// Always the first event. It acknowledges nothing.
    Created {
        /// The turn.
        turn_id: TurnId,
        /// Its conversation.
        conversation_id: ConversationId,
        /// The companion that answers.
        companion: String,
    },
    /// A further part of the reply.
    Delta {
        /// The text.
        text: String,
    },
    /// The last event: the reply as JSON clients get it. The exchange is on disk.
    Completed(Arc<Value>),
    /// The last event: why there is no complete reply.
    Failed(Box<Problem>),
}

impl EventKind {
    pub(crate) fn is_last(&self) -> bool {
        matches!(self, Self::Completed(_) | Self::Failed(_))
    }
}

/// How a turn ended, as its readers are told.
#[derive(Clone, Debug, PartialEq)]
pub enum TurnEnd {
    /// With a complete reply, as JSON clients get it.
    Completed(Arc<Value>),
    /// Without one, for this reason.
    Failed(Problem),
}
