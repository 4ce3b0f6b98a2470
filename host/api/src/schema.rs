//! Schemas that appear in the OpenAPI description only: problems, scopes and events. Handlers write these values without
//! building these types.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::reply::ChatReply;

/// A problem (RFC 9457). Programs compare `type`; `detail` is for people.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemDetails {
    /// Stable. Its page says when the problem occurs and what to do.
    #[schema(example = "/docs/errors#conversation-busy")]
    r#type: String,
    #[schema(example = "Conversation is busy")]
    title: String,
    #[schema(example = 409)]
    status: u16,
    /// What to do.
    detail: String,
    /// The id that every log line about the request contains.
    request_id: String,
    /// Seconds to wait before a retry, if a retry makes sense.
    retry_after: Option<u64>,
    /// The field of the request that is wrong.
    field: Option<String>,
    /// The known name closest to the one that was sent.
    nearest: Option<String>,
    /// What is wrong with the token, as a stable word.
    reason: Option<String>,
    /// The claim of the token that is missing or wrong.
    claim: Option<String>,
    /// The missing scope.
    scope: Option<String>,
}

/// A scope of an API key or a token.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what is read and written as words")]
pub(crate) enum ScopeName {
    #[serde(rename = "chat")]
    Chat,
    #[serde(rename = "admin:read")]
    AdminRead,
    #[serde(rename = "admin:write")]
    AdminWrite,
    #[serde(rename = "content:read")]
    ContentRead,
    #[serde(rename = "metrics:read")]
    MetricsRead,
    #[serde(rename = "tokens:mint")]
    TokensMint,
    #[serde(rename = "users:act")]
    UsersAct,
}

/// One server-sent event (HTML standard, section 9.2.6). Comment lines between events keep idle connections open.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServerSentEvent {
    /// The `type` of `data`.
    #[schema(example = "reply.delta")]
    event: String,
    /// The `sequence` of `data`.
    #[schema(example = "1")]
    id: String,
    /// A `StreamEvent`, as JSON.
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// The `data` of one event. `event` repeats its `type`, `id` its `sequence`. Ignore unknown types and fields.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type")]
#[allow(dead_code, reason = "describes what `sse` writes")]
pub(crate) enum StreamEvent {
    /// The turn has begun. Nothing is acknowledged yet.
    #[serde(rename = "turn.created")]
    Created {
        /// Always 0.
        sequence: u64,
        turn_id: Uuid,
        conversation_id: Uuid,
        companion: String,
    },
    /// The next piece of the reply.
    #[serde(rename = "reply.delta")]
    Delta {
        /// From 1, without gaps.
        sequence: u64,
        text: String,
    },
    /// The last event of a successful turn: the complete reply. The exchange is on disk. If the text of the reply does not fit
    /// into a line of 64 KiB, `reply.content` is a list of parts `{"type": "text", "text": …}` instead of a string; their
    /// texts follow one another with nothing in between.
    #[serde(rename = "turn.completed")]
    Completed {
        sequence: u64,
        #[serde(flatten)]
        reply: ChatReply,
    },
    /// The last event of a failed turn: the reason.
    #[serde(rename = "turn.failed")]
    Failed { sequence: u64, problem: ProblemDetails },
}
