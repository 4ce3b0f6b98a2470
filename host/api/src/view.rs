//! The JSON views of stored records. Clients see these types, never the store's records.

use std::time::{Duration, UNIX_EPOCH};

use masque_store::{ConversationRecord, MessageRecord, Paged, TurnRecord};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::reply::{ReplyView, UsageView};

/// One message of a conversation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
pub(crate) struct MessageView {
    pub(crate) id: Uuid,
    /// The turn it belongs to. A greeting has none.
    pub(crate) turn_id: Option<Uuid>,
    /// The previous message.
    pub(crate) parent_id: Option<Uuid>,
    /// Its position in the conversation, from 1, without gaps.
    #[schema(minimum = 1)]
    pub(crate) sequence: i64,
    #[schema(example = "user")]
    pub(crate) role: String,
    pub(crate) content: String,
    /// `complete`, `running`, `interrupted` or `failed`.
    #[schema(example = "complete")]
    pub(crate) status: String,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(value_type = Object)]
    pub(crate) metadata: Value,
}

impl From<MessageRecord> for MessageView {
    fn from(record: MessageRecord) -> Self {
        Self {
            id: record.id.into(),
            turn_id: record.turn.map(Into::into),
            parent_id: record.parent.map(Into::into),
            sequence: record.sequence,
            role: record.role,
            content: record.content,
            status: record.status,
            created_at: timestamp(record.created_at),
            metadata: record.metadata,
        }
    }
}

/// A conversation of the caller.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Conversation {
    pub(crate) id: Uuid,
    pub(crate) companion: String,
    /// By default the beginning of the first message.
    pub(crate) title: Option<String>,
    /// The number of messages.
    pub(crate) message_count: i64,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(format = DateTime)]
    pub(crate) updated_at: String,
}

impl From<ConversationRecord> for Conversation {
    fn from(record: ConversationRecord) -> Self {
        Self {
            id: record.id.into(),
            companion: record.companion,
            title: record.title,
            message_count: record.messages,
            created_at: timestamp(record.created_at),
            updated_at: timestamp(record.updated_at),
        }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
    /// The value of `after` for the next page. `null` on the last page.
    pub(crate) next: Option<String>,
}

impl<R, T: From<R>> From<Paged<R>> for Items<T> {
    fn from(paged: Paged<R>) -> Self {
        Self { items: paged.items.into_iter().map(T::from).collect(), next: paged.next }
    }
}

/// The state of a turn.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Turn)]
pub(crate) struct TurnView {
    pub(crate) turn_id: Uuid,
    pub(crate) conversation_id: Uuid,
    pub(crate) companion: String,
    /// `running`, `completed`, `interrupted` or `failed`.
    #[schema(example = "completed")]
    pub(crate) status: String,
    /// The number of times it was started.
    #[schema(minimum = 1)]
    pub(crate) attempt: u32,
    /// The reply. Of an interrupted turn, the part that was written.
    pub(crate) reply: Option<ReplyView>,
    /// `stop`, `length`, `filtered`, `tool_calls` or `interrupted`. `null` while the turn runs.
    pub(crate) finish: Option<String>,
    pub(crate) usage: Option<UsageView>,
    /// The timing of a completed turn.
    #[schema(value_type = Option<super::reply::TimingView>)]
    pub(crate) timing: Option<Value>,
    /// Why the turn failed or was interrupted.
    #[schema(value_type = Option<super::schema::ProblemDetails>)]
    pub(crate) problem: Option<Value>,
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    #[schema(format = DateTime)]
    pub(crate) ended_at: Option<String>,
}

impl From<TurnRecord> for TurnView {
    fn from(record: TurnRecord) -> Self {
        Self {
            turn_id: record.id.into(),
            conversation_id: record.conversation.into(),
            companion: record.companion,
            status: record.status.to_string(),
            attempt: record.attempt,
            reply: record.reply.map(|reply| ReplyView { role: reply.role, content: reply.content }),
            finish: record.finish,
            usage: record.usage.map(|usage| UsageView {
                input_tokens: usage.input_tokens,
                output_tokens: usage.output_tokens,
                cached_tokens: usage.cached_tokens,
                estimated: usage.estimated,
            }),
            timing: record.response.as_ref().and_then(|response| response.get("timing")).cloned(),
            problem: record.problem,
            created_at: timestamp(record.created_at),
            ended_at: record.ended_at.map(timestamp),
        }
    }
}

/// Formats milliseconds since the Unix epoch as RFC 3339 in UTC.
pub(crate) fn timestamp(milliseconds: i64) -> String {
    let since = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(super::timestamp(1_764_000_000_123), "2025-11-24T16:00:00.123Z");
    }
}
