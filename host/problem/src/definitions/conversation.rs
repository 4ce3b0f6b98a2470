//! Problems of companions, conversations and turns.

use http::StatusCode;

use crate::definition::{Definition, define};

pub(crate) const COMPANION_NOT_FOUND: Definition = define(
    "companion-not-found",
    StatusCode::NOT_FOUND,
    "No such companion",
    "`companion` names none that this host plays",
    "See GET /companions for the names.",
);

pub(crate) const CONVERSATION_NOT_FOUND: Definition = define(
    "conversation-not-found",
    StatusCode::NOT_FOUND,
    "No such conversation",
    "the id is unknown, deleted, another user's, or beyond the companions of the API key",
    "See GET /conversations for yours, or leave `conversation_id` out to begin one.",
);

pub(crate) const USER_NOT_FOUND: Definition = define(
    "user-not-found",
    StatusCode::NOT_FOUND,
    "No such user",
    "the id is unknown or erased, or another user's and the token or API key does not have the scope for others' data",
    "Use `me`, or the `user_id` that POST /auth/validate gives.",
);

pub(crate) const ERASURE_NOT_FOUND: Definition = define(
    "erasure-not-found",
    StatusCode::NOT_FOUND,
    "No such erasure",
    "the receipt is unknown, or of another user",
    "Use the path in `Location` of the answer to DELETE /users/{id}/data.",
);

pub(crate) const TURN_NOT_FOUND: Definition = define(
    "turn-not-found",
    StatusCode::NOT_FOUND,
    "No such turn",
    "the id is unknown, deleted, another user's, or beyond the companions of the API key",
    "Use the `turn_id` that `turn.created` or the reply gave.",
);

pub(crate) const EXPLANATION_NOT_FOUND: Definition = define(
    "explanation-not-found",
    StatusCode::NOT_FOUND,
    "No explanation",
    "the turn is there, and no record of it: it still runs, or records are off, expired or dropped",
    "The detail says what is the case; GET /turns/{id} has the outcome of the turn.",
);

pub(crate) const EVENTS_GONE: Definition = define(
    "events-gone",
    StatusCode::GONE,
    "Events are gone",
    "the turn ended more than a minute ago, or on a host that has stopped since",
    "Read the outcome from GET /turns/{id}.",
);

pub(crate) const COMPANION_NOT_NAMED: Definition = define(
    "companion-not-named",
    StatusCode::UNPROCESSABLE_ENTITY,
    "Companion not named",
    "a conversation begins, and the host plays more than one companion",
    "Name one in `companion`; the detail lists them.",
);

pub(crate) const MODEL_NOT_OFFERED: Definition = define(
    "model-not-offered",
    StatusCode::UNPROCESSABLE_ENTITY,
    "Model not offered",
    "`model` is none of the companion's models",
    "Leave `model` out, or choose one that GET /companions lists for the companion.",
);

pub(crate) const OTHER_COMPANION: Definition = define(
    "other-companion",
    StatusCode::UNPROCESSABLE_ENTITY,
    "Conversation with another companion",
    "`companion` differs from the one that the conversation is with",
    "Leave `companion` out, or begin a new conversation.",
);

pub(crate) const IDEMPOTENCY_MISMATCH: Definition = define(
    "idempotency-mismatch",
    StatusCode::UNPROCESSABLE_ENTITY,
    "Idempotency key used for another request",
    "the `Idempotency-Key` came with another body before",
    "Use a new key for a new request, and the same body for a retry.",
);

pub(crate) const CONVERSATION_BUSY: Definition = define(
    "conversation-busy",
    StatusCode::CONFLICT,
    "Conversation is busy",
    "other turns of the conversation run or wait, and the wait was too long",
    "Wait for the reply before sending the next message, or try again later.",
)
.retry_after(2);

pub(crate) const LEASE_LOST: Definition = define(
    "lease-lost",
    StatusCode::SERVICE_UNAVAILABLE,
    "Turn lost its conversation",
    "the host was paused for so long that another turn may have taken over",
    "Look at the conversation, then send the message again.",
)
.retry_after(1);

pub(crate) const TURN_INTERRUPTED: Definition = define(
    "turn-interrupted",
    StatusCode::SERVICE_UNAVAILABLE,
    "Turn was interrupted",
    "the host stopped before the reply was complete",
    "Send the message again; with the same `Idempotency-Key` it is not doubled.",
)
.retry_after(1);

pub(crate) const TURN_CANCELLED: Definition = define(
    "turn-cancelled",
    StatusCode::CONFLICT,
    "Turn was cancelled",
    "a client cancelled the turn, or all its readers left",
    "Send the message again if a reply is still wanted.",
);

pub(crate) const CANCEL_PENDING: Definition = define(
    "cancel-pending",
    StatusCode::SERVICE_UNAVAILABLE,
    "Turn has not ended yet",
    "a turn was told to end, and has not after 10 seconds",
    "Try again; the turn ends as soon as its host can be reached.",
)
.retry_after(2);

pub(crate) const TURN_TIMEOUT: Definition = define(
    "turn-timeout",
    StatusCode::GATEWAY_TIMEOUT,
    "Turn took too long",
    "the turn, or one step of it, passed its time limit",
    "Try again; if it lasts, see the host's log for the plugin that was slow.",
);
