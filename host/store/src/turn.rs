//! A turn as stored.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use uuid::Uuid;

use crate::error::StoreError;
use crate::ids::{ConversationId, TurnId};
use crate::message::MessageRecord;

/// A turn as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct TurnRecord {
    /// Its id.
    pub id: TurnId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The companion.
    pub companion: String,
    /// Its status.
    pub status: TurnStatus,
    /// How often it was started.
    pub attempt: u32,
    /// The process that started it last.
    pub host: Uuid,
    /// The companion's reply.
    pub reply: Option<MessageRecord>,
    /// Why the model stopped.
    pub finish: Option<String>,
    /// The tokens that it used.
    pub usage: Option<UsageRecord>,
    /// The reply as the client got it, for replay.
    pub response: Option<Value>,
    /// The problem that the client was given.
    pub problem: Option<Value>,
    /// When it was first admitted, in milliseconds.
    pub created_at: i64,
    /// When it ended, in milliseconds.
    pub ended_at: Option<i64>,
}

/// The status of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TurnStatus {
    /// It holds its conversation's lease, or its lease has expired and no other turn has taken it yet.
    Running,
    /// Its reply is complete.
    Completed,
    /// It ended before its reply was complete.
    Interrupted,
    /// It failed without a reply.
    Failed,
}

impl TurnStatus {
    /// The status of a message, from the status of its turn if it has one. A message out of the tail belongs to a failed
    /// turn, or to an interrupted one whose question was sent again. While a turn runs again, the reply that an earlier
    /// attempt left is still interrupted.
    pub fn of_message(in_tail: bool, turn: Option<Self>, is_users: bool) -> &'static str {
        match turn {
            Some(Self::Interrupted) => "interrupted",
            _ if !in_tail => "failed",
            None | Some(Self::Completed) => "complete",
            Some(Self::Running) if is_users => "running",
            Some(Self::Running) => "interrupted",
            Some(Self::Failed) => "failed",
        }
    }

    /// The word for it, as stored and as clients get it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for TurnStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for TurnStatus {
    type Err = StoreError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "running" => Ok(Self::Running),
            "completed" => Ok(Self::Completed),
            "interrupted" => Ok(Self::Interrupted),
            "failed" => Ok(Self::Failed),
            other => Err(StoreError::Corrupt(format!("`{other}` is no status of a turn"))),
        }
    }
}

/// Tokens, as the model counted them or as the host estimates them. Counts over 2^63 − 1 are stored as that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageRecord {
    /// Read by the model.
    pub input_tokens: u64,
    /// Written by the model.
    pub output_tokens: u64,
    /// Tokens of the input that the model had cached. Never an estimate: 0 where the model reports none.
    pub cached_tokens: u64,
    /// Whether a count is an estimate, because the model did not report it.
    pub estimated: bool,
}

/// The turn that an idempotency key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedTurn {
    /// Its id.
    pub turn: TurnId,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The companion that the conversation is with.
    pub companion: String,
    /// The digest of the request that started it.
    pub digest: Vec<u8>,
    /// Its status.
    pub status: TurnStatus,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_message_follows_from_its_turn() {
        let (running, interrupted) = (Some(TurnStatus::Running), Some(TurnStatus::Interrupted));
        let cases = [
            (true, None, false, "complete"),
            (true, running, true, "running"),
            (true, running, false, "interrupted"),
            (true, Some(TurnStatus::Completed), true, "complete"),
            (true, interrupted, false, "interrupted"),
            (false, Some(TurnStatus::Failed), true, "failed"),
            (false, running, false, "failed"),
            (false, interrupted, true, "interrupted"),
        ];
        for (in_tail, turn, is_users, expected) in cases {
            assert_eq!(
                TurnStatus::of_message(in_tail, turn, is_users),
                expected,
                "{in_tail} {turn:?} {is_users}"
            );
        }
    }
}
