//! Wire shapes that the API's description names and no handler builds: problems, scopes and events.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::reply::ChatReply;

/// A problem by RFC 9457. Compare `type`; `detail` is for people.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProblemDetails {
    /// Stable; its page says when it is met and what to do.
    #[schema(example = "/docs/errors#conversation-busy")]
    r#type: String,
    #[schema(example = "Conversation is busy")]
    title: String,
    #[schema(example = 409)]
    status: u16,
    /// What to do.
    detail: String,
    /// What the host's log has on every line about the request.
    request_id: String,
    /// Seconds to wait, where there is something to wait for.
    retry_after: Option<u64>,
    /// The path of what is wrong in the request.
    field: Option<String>,
    /// The known name nearest to the one that was sent.
    nearest: Option<String>,
    /// A stable word for what is wrong with a token.
    reason: Option<String>,
    /// The scope that is missing.
    scope: Option<String>,
}

/// What a key or a token may do.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what is read and written as words")]
pub(crate) enum ScopeName {
    #[serde(rename = "chat")]
    Chat,
    #[serde(rename = "admin:read")]
    AdminRead,
    #[serde(rename = "admin:write")]
    AdminWrite,
    #[serde(rename = "tokens:mint")]
    TokensMint,
    #[serde(rename = "users:act")]
    UsersAct,
}

/// One event of a stream (the HTML standard, section 9.2.6). Between events, comment lines keep proxies from hanging up.
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

/// The `data` of one event; `event` repeats its `type`, `id` its `sequence`. Unknown types and fields are to be ignored.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type")]
#[allow(dead_code, reason = "describes what `sse` writes")]
pub(crate) enum StreamEvent {
    /// The turn has begun. Acknowledges nothing.
    #[serde(rename = "turn.created")]
    Created {
        /// 0.
        sequence: u64,
        turn_id: Uuid,
        conversation_id: Uuid,
        companion: String,
    },
    /// More of the reply.
    #[serde(rename = "reply.delta")]
    Delta {
        /// From 1, without gaps.
        sequence: u64,
        text: String,
    },
    /// Last: the whole reply. The exchange is on disk.
    #[serde(rename = "turn.completed")]
    Completed {
        sequence: u64,
        #[serde(flatten)]
        reply: ChatReply,
    },
    /// Last: why there is no whole reply.
    #[serde(rename = "turn.failed")]
    Failed { sequence: u64, problem: ProblemDetails },
}
