//! The JSON of an export. The document is written piece by piece; [`UserDataView`] describes it as a whole.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use masque_store::{ExportItem, ExportSection};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::record_view::{RecordEntry, RecordView, UnreadableRecordView};
use crate::admin::audit::AuditView;
use crate::view::{Conversation, MessageView, TurnView, timestamp};

/// The name of the document's form.
pub(super) const FORMAT: &str = "masque-user-data-1";

/// Everything that is kept of a user. Read while the host runs, so it is not of one moment.
#[derive(Serialize, ToSchema)]
#[schema(as = UserData)]
#[allow(dead_code, reason = "describes what `export` writes")]
pub(super) struct UserDataView {
    #[schema(example = "masque-user-data-1")]
    format: String,
    #[schema(format = DateTime)]
    exported_at: String,
    user: UserView,
    conversations: Vec<Conversation>,
    messages: Vec<ExportedMessage>,
    /// Without replies, which are among the messages.
    turns: Vec<TurnView>,
    /// What plugins keep for the user, memories among it.
    user_state: Vec<StateView>,
    /// What plugins keep for conversations.
    conversation_state: Vec<StateView>,
    jobs: Vec<JobView>,
    idempotency_keys: Vec<KeyView>,
    /// Where users have a budget.
    spending: Vec<SpendingView>,
    /// Recorded actions of the user.
    audit: Vec<AuditView>,
    /// What was recorded of turns, without texts.
    turn_records: Vec<RecordEntry>,
}

/// The identity of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = UserIdentity)]
pub(super) struct UserView {
    /// The host's id. `null` if nothing was ever stored for the user.
    pub(super) user_id: Option<Uuid>,
    pub(super) tenant: String,
    pub(super) issuer: String,
    pub(super) subject: String,
}

/// A message with its conversation.
#[derive(Serialize, ToSchema)]
struct ExportedMessage {
    conversation_id: Uuid,
    #[serde(flatten)]
    message: MessageView,
}

/// A value that a plugin keeps.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportedState)]
struct StateView {
    #[serde(skip_serializing_if = "Option::is_none")]
    conversation_id: Option<Uuid>,
    plugin: String,
    key: String,
    /// In base64 (RFC 4648, section 4).
    value: String,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// A background job.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportedJob)]
struct JobView {
    id: Uuid,
    conversation_id: Option<Uuid>,
    turn_id: Option<Uuid>,
    plugin: String,
    #[schema(example = "observe")]
    kind: String,
    /// What the plugin is told.
    payload: String,
    /// `queued`, `running` or `parked`.
    status: String,
    error: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
}

/// An idempotency key.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportedIdempotencyKey)]
struct KeyView {
    route: String,
    key: String,
    turn_id: Uuid,
    #[schema(format = DateTime)]
    expires_at: String,
}

/// The model's tokens of one day (UTC).
#[derive(Serialize, ToSchema)]
#[schema(as = ExportedSpending)]
struct SpendingView {
    /// The beginning of the day.
    #[schema(format = DateTime)]
    day: String,
    input_tokens: u64,
    output_tokens: u64,
}

/// The member of the document that a section is.
pub(super) fn member(section: ExportSection) -> &'static str {
    match section {
        ExportSection::Conversations => "conversations",
        ExportSection::Messages => "messages",
        ExportSection::Turns => "turns",
        ExportSection::UserState => "user_state",
        ExportSection::ConversationState => "conversation_state",
        ExportSection::Jobs => "jobs",
        ExportSection::IdempotencyKeys => "idempotency_keys",
        ExportSection::Spending => "spending",
        ExportSection::Audit => "audit",
        ExportSection::TurnRecords => "turn_records",
    }
}

/// Writes an item as JSON.
///
/// # Errors
/// It has no JSON form.
pub(super) fn write_item(text: &mut Vec<u8>, item: ExportItem) -> serde_json::Result<()> {
    const DAY: i64 = 86_400_000;
    match item {
        ExportItem::Conversation(record) => serde_json::to_writer(text, &Conversation::from(record)),
        ExportItem::Message { conversation, message } => serde_json::to_writer(
            text,
            &ExportedMessage { conversation_id: conversation.into(), message: message.into() },
        ),
        ExportItem::Turn(record) => serde_json::to_writer(text, &TurnView::from(record)),
        ExportItem::State(state) => serde_json::to_writer(
            text,
            &StateView {
                conversation_id: state.conversation.map(Into::into),
                plugin: state.plugin,
                key: state.key,
                value: STANDARD.encode(state.value),
                expires_at: state.expires_at.map(timestamp),
            },
        ),
        ExportItem::Job(job) => serde_json::to_writer(
            text,
            &JobView {
                id: job.id.as_uuid(),
                conversation_id: job.conversation.map(Into::into),
                turn_id: job.turn.map(Into::into),
                plugin: job.plugin,
                kind: job.kind,
                payload: job.payload,
                status: job.status,
                error: job.error,
                created_at: timestamp(job.created_at),
            },
        ),
        ExportItem::IdempotencyKey(key) => serde_json::to_writer(
            text,
            &KeyView {
                route: key.route,
                key: key.key,
                turn_id: key.turn.into(),
                expires_at: timestamp(key.expires_at),
            },
        ),
        ExportItem::Spending(spending) => serde_json::to_writer(
            text,
            &SpendingView {
                day: timestamp(spending.day.saturating_mul(DAY)),
                input_tokens: spending.input_tokens,
                output_tokens: spending.output_tokens,
            },
        ),
        ExportItem::Audit(record) => serde_json::to_writer(text, &AuditView::from(record)),
        ExportItem::TurnRecord(record) => serde_json::to_writer(text, &RecordView::from(*record)),
        ExportItem::UnreadableTurnRecord(record) => {
            serde_json::to_writer(text, &UnreadableRecordView::from(record))
        }
    }
}
