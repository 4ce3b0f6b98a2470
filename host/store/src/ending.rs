//! How a turn ends: completed, interrupted or failed.

use serde_json::Value;
use uuid::Uuid;

use crate::ids::{ConversationId, TurnId};
use crate::jobs::NewJob;
use crate::message::{MessageRecord, NewMessage};
use crate::owner::Owner;
use crate::turn::UsageRecord;

/// A completed turn.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The user.
    pub owner: Owner,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its id.
    pub turn: TurnId,
    /// [`crate::Started::epoch`].
    pub epoch: i64,
    /// The reply.
    pub reply: NewMessage,
    /// Why the model stopped.
    pub finish: String,
    /// The tokens that it used.
    pub usage: UsageRecord,
    /// The reply as the client got it, for replay.
    pub response: Value,
    /// Background jobs to be enqueued.
    pub jobs: Vec<NewJob>,
}

/// An interrupted turn.
#[derive(Clone, Debug)]
pub struct Interruption {
    /// The user.
    pub owner: Owner,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its id.
    pub turn: TurnId,
    /// [`crate::Started::epoch`].
    pub epoch: i64,
    /// The part of the reply that was sent. An empty one is not stored.
    pub reply: Option<NewMessage>,
    /// The tokens that it used so far.
    pub usage: UsageRecord,
    /// Background jobs to be enqueued.
    pub jobs: Vec<NewJob>,
}

/// A turn that failed without a reply.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The user.
    pub owner: Owner,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its id.
    pub turn: TurnId,
    /// [`crate::Started::epoch`].
    pub epoch: i64,
    /// The problem that the client is given.
    pub problem: Value,
}

/// The result of ending a turn.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every turn ends as the large variant, and it is moved once"
)]
pub enum Ending {
    /// The turn has ended.
    Done {
        /// The companion's message, if one is kept.
        reply: Option<MessageRecord>,
        /// The turn that waits first for the conversation. Its host should hear of it; until then it waits for its next
        /// look.
        next: Option<Waiter>,
    },
    /// The lease has expired, another turn has it, or the conversation is gone: nothing was written.
    /// [`crate::Conversations::conversation`] tells whether it is gone.
    LeaseLost,
}

/// A turn that waits for its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The host that it waits on.
    pub host: Uuid,
    /// The id of its admission.
    pub turn: TurnId,
}
