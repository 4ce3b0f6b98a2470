//! One message of a conversation.

use serde_json::Value;

use crate::ids::{MessageId, TurnId};

/// A message to store. The operation that stores it decides its role and sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    /// Its id.
    pub id: MessageId,
    /// Its text.
    pub content: String,
    /// A JSON object.
    pub metadata: Value,
}

/// A message as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageRecord {
    /// Its id.
    pub id: MessageId,
    /// The turn it belongs to; a greeting has none.
    pub turn: Option<TurnId>,
    /// The message it answers or follows.
    pub parent: Option<MessageId>,
    /// Its place in the conversation, from 1, without gaps.
    pub sequence: i64,
    /// `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
    /// `complete`, `running` (its turn is running), `interrupted` or `failed`; follows from the status of its turn.
    pub status: String,
    /// When it was written, in milliseconds.
    pub created_at: i64,
    /// A JSON object.
    pub metadata: Value,
}

/// How many of the newest messages to read: up to the limit that is reached first. Messages are never cut.
#[derive(Clone, Copy, Debug)]
pub struct TailLimit {
    /// How many messages.
    pub messages: u32,
    /// How many bytes of content.
    pub bytes: usize,
}
