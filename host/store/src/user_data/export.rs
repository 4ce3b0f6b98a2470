//! What an export contains.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::audit::AuditRecord;
use crate::conversations::ConversationRecord;
use crate::error::StoreError;
use crate::ids::{ConversationId, JobId, TurnId};
use crate::message::MessageRecord;
use crate::recorded_turn::RecordedTurn;
use crate::turn::TurnRecord;

/// A part of an export. Sections are read one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExportSection {
    /// Conversations, the oldest first.
    Conversations,
    /// The messages of all conversations, by conversation and sequence.
    Messages,
    /// The turns of all conversations, in the order of their messages.
    Turns,
    /// What plugins keep for the user, memories among it.
    UserState,
    /// What plugins keep for conversations of the user.
    ConversationState,
    /// Background jobs that wait, run or are parked.
    Jobs,
    /// Idempotency keys that have not expired.
    IdempotencyKeys,
    /// Tokens spent by the user's own account, by day. Days without any are left out.
    Spending,
    /// Entries of the audit log whose actor is the user.
    Audit,
    /// Records of turns.
    TurnRecords,
}

impl ExportSection {
    /// All sections, in the order of the export.
    pub const ALL: [Self; 10] = [
        Self::Conversations,
        Self::Messages,
        Self::Turns,
        Self::UserState,
        Self::ConversationState,
        Self::Jobs,
        Self::IdempotencyKeys,
        Self::Spending,
        Self::Audit,
        Self::TurnRecords,
    ];
}

/// One item of an export.
#[derive(Clone, Debug, PartialEq)]
pub enum ExportItem {
    /// A conversation.
    Conversation(ConversationRecord),
    /// A message.
    Message {
        /// Its conversation.
        conversation: ConversationId,
        /// The message.
        message: MessageRecord,
    },
    /// A turn. Its reply is among the messages, so `reply` and `response` are `None`.
    Turn(TurnRecord),
    /// A value that a plugin keeps.
    State(ExportedState),
    /// A background job.
    Job(ExportedJob),
    /// An idempotency key.
    IdempotencyKey(ExportedKey),
    /// A day of spending.
    Spending(ExportedSpending),
    /// An entry of the audit log.
    Audit(AuditRecord),
    /// The record of a turn, whole. It has texts that are not the user's, such as prompts; whoever hands it out removes them.
    TurnRecord(Box<RecordedTurn>),
    /// The record of a turn that this program can't read.
    UnreadableTurnRecord(UnreadableTurnRecord),
}

/// What is known of a record that this program can't read: it is damaged, or a later program has written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreadableTurnRecord {
    /// The turn.
    pub turn: TurnId,
    /// Its attempt.
    pub attempt: i64,
    /// Its conversation.
    pub conversation: ConversationId,
    /// The number of its format, if that is why. `None` for a record that is damaged.
    pub newer_format: Option<u32>,
}

impl ExportItem {
    /// The record of a turn from its JSON. One that can't be read does not end the export: `turn`, `attempt` and `conversation`,
    /// which the store has beside it, stand for it.
    pub fn turn_record(body: &[u8], turn: TurnId, attempt: i64, conversation: ConversationId) -> Self {
        let newer_format = match RecordedTurn::from_json(body) {
            Ok(record) => return Self::TurnRecord(Box::new(record)),
            Err(StoreError::NewerFormat(format)) => Some(format),
            Err(_) => None,
        };
        Self::UnreadableTurnRecord(UnreadableTurnRecord { turn, attempt, conversation, newer_format })
    }
}

/// A value that a plugin keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedState {
    /// The conversation that it is kept for; `None` for the user.
    pub conversation: Option<ConversationId>,
    /// The plugin's name.
    pub plugin: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// When it expires, in milliseconds; `None` for never.
    pub expires_at: Option<i64>,
}

/// A background job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedJob {
    /// Its id.
    pub id: JobId,
    /// Its conversation.
    pub conversation: Option<ConversationId>,
    /// Its turn.
    pub turn: Option<TurnId>,
    /// The plugin's name.
    pub plugin: String,
    /// What the plugin is to do.
    pub kind: String,
    /// What the plugin is told: JSON.
    pub payload: String,
    /// `queued`, `running` or `parked`.
    pub status: String,
    /// The error of the last try.
    pub error: Option<String>,
    /// When its turn ended, in milliseconds.
    pub created_at: i64,
}

/// An idempotency key. The digest of its request is left out: it says nothing that the messages don't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedKey {
    /// The route it was sent to.
    pub route: String,
    /// The key.
    pub key: String,
    /// The turn that it stands for.
    pub turn: TurnId,
    /// When it expires, in milliseconds.
    pub expires_at: i64,
}

/// A day of spending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportedSpending {
    /// The day (UTC), as days since the Unix epoch.
    pub day: i64,
    /// Tokens read by the model.
    pub input_tokens: u64,
    /// Tokens written by the model.
    pub output_tokens: u64,
}

/// A cursor: the place of the last item of a page as a JSON array.
pub fn encode_cursor<T: Serialize>(place: &T) -> String {
    // Places are tuples of ids, texts and numbers, which always have a JSON form.
    serde_json::to_string(place).unwrap_or_default()
}

/// The place in a cursor; `None` for the first page.
///
/// # Errors
/// [`StoreError::Refused`] if it is not a cursor of this section.
pub fn decode_cursor<T: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<T>, StoreError> {
    let refused = |cursor: &str| StoreError::Refused(format!("`{cursor}` is not a cursor of this section"));
    cursor.map(|cursor| serde_json::from_str(cursor).map_err(|_| refused(cursor))).transpose()
}
