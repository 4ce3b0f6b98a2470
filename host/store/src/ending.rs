//! The three ends of a turn.

use serde_json::Value;

use crate::ids::{ConversationId, TurnId};
use crate::jobs::NewJob;
use crate::message::{MessageRecord, NewMessage};
use crate::owner::Owner;
use crate::turn::UsageRecord;

/// A turn's whole reply.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Whose turn.
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
    /// What is charged, and to whom.
    pub charge: Charge,
}

/// A turn that was cut short.
#[derive(Clone, Debug)]
pub struct Interruption {
    /// Whose turn.
    pub owner: Owner,
    /// Its conversation.
    pub conversation: ConversationId,
    /// Its id.
    pub turn: TurnId,
    /// [`crate::Started::epoch`].
    pub epoch: i64,
    /// What had been said; an empty content counts as nothing.
    pub reply: Option<NewMessage>,
    /// The tokens that it used so far.
    pub usage: UsageRecord,
    /// Background jobs to be enqueued.
    pub jobs: Vec<NewJob>,
    /// What is charged, and to whom.
    pub charge: Charge,
}

/// A turn that failed without a reply.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Whose turn.
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

/// Tokens to be counted for accounts: see [`crate::Spending`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Each account is charged once, however often it is named.
    pub accounts: Vec<String>,
    /// What the model reported, or the caller's estimate where it reported nothing.
    pub usage: UsageRecord,
}

/// The answer to an end.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// It ended as asked.
    Done {
        /// The companion's message, if one is kept.
        reply: Option<MessageRecord>,
    },
    /// Another turn has the lease, or the conversation is gone: nothing was written.
    LeaseLost,
}
