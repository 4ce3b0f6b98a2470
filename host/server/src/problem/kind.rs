//! The closed list of what can go wrong. Its table for readers is `docs/errors.md`; a test holds the two together.

use std::time::Duration;

use http::StatusCode;

/// A type of problem. Names and statuses are part of the contract with clients and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    MalformedJson,
    InvalidRequest,
    UnknownField,
    MessageEmpty,
    MessageTooLarge,
    BodyTooLarge,
    BodyTimeout,
    UriTooLong,
    UnsupportedMediaType,
    HostNotAllowed,
    OriginNotAllowed,
    Unauthenticated,
    InvalidToken,
    InsufficientScope,
    AdminElsewhere,
    CompanionNotAllowed,
    RateLimited,
    BudgetSpent,
    IssuerUnavailable,
    MintingOff,
    KeyNotFound,
    RouteNotFound,
    MethodNotAllowed,
    CompanionNotFound,
    ConversationNotFound,
    TurnNotFound,
    EventsGone,
    CompanionNotNamed,
    ModelNotOffered,
    OtherCompanion,
    IdempotencyMismatch,
    ConversationBusy,
    LeaseLost,
    TurnInterrupted,
    TurnCancelled,
    TurnTimeout,
    ModelUnavailable,
    ModelUnauthorized,
    ModelRateLimited,
    ModelOverloaded,
    ModelInvalid,
    ModelTruncated,
    ModelStalled,
    PluginFailed,
    Overloaded,
    Loading,
    Draining,
    StorageUnavailable,
    Internal,
}

/// What is fixed about a kind.
struct Entry {
    name: &'static str,
    status: StatusCode,
    title: &'static str,
    /// When it is met.
    when: &'static str,
    /// What to do about it: the detail where an occurrence has nothing better to say.
    advice: &'static str,
    /// Seconds to wait where an occurrence does not know better.
    retry_after: Option<u64>,
}

const fn entry(
    name: &'static str,
    status: StatusCode,
    title: &'static str,
    when: &'static str,
    advice: &'static str,
) -> Entry {
    Entry { name, status, title, when, advice, retry_after: None }
}

impl Entry {
    const fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl Kind {
    pub(crate) const ALL: &'static [Kind] = &[
        Self::MalformedJson,
        Self::InvalidRequest,
        Self::UnknownField,
        Self::MessageEmpty,
        Self::MessageTooLarge,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::UriTooLong,
        Self::UnsupportedMediaType,
        Self::HostNotAllowed,
        Self::OriginNotAllowed,
        Self::Unauthenticated,
        Self::InvalidToken,
        Self::InsufficientScope,
        Self::AdminElsewhere,
        Self::CompanionNotAllowed,
        Self::RateLimited,
        Self::BudgetSpent,
        Self::IssuerUnavailable,
        Self::MintingOff,
        Self::KeyNotFound,
        Self::RouteNotFound,
        Self::MethodNotAllowed,
        Self::CompanionNotFound,
        Self::ConversationNotFound,
        Self::TurnNotFound,
        Self::EventsGone,
        Self::CompanionNotNamed,
        Self::ModelNotOffered,
        Self::OtherCompanion,
        Self::IdempotencyMismatch,
        Self::ConversationBusy,
        Self::LeaseLost,
        Self::TurnInterrupted,
        Self::TurnCancelled,
        Self::TurnTimeout,
        Self::ModelUnavailable,
        Self::ModelUnauthorized,
        Self::ModelRateLimited,
        Self::ModelOverloaded,
        Self::ModelInvalid,
        Self::ModelTruncated,
        Self::ModelStalled,
        Self::PluginFailed,
        Self::Overloaded,
        Self::Loading,
        Self::Draining,
        Self::StorageUnavailable,
        Self::Internal,
    ];

    /// The last part of `type`, in kebab case.
    pub(crate) fn name(self) -> &'static str {
        self.entry().name
    }

    /// The `type` member: a reference to this host's own page of errors, with its full path as RFC 9457, section 3.1.1
    /// asks of relative ones.
    pub(crate) fn uri(self) -> String {
        format!("/docs/errors#{}", self.name())
    }

    pub(crate) fn status(self) -> StatusCode {
        self.entry().status
    }

    pub(crate) fn title(self) -> &'static str {
        self.entry().title
    }

    pub(crate) fn when(self) -> &'static str {
        self.entry().when
    }

    pub(crate) fn advice(self) -> &'static str {
        self.entry().advice
    }

    pub(crate) fn retry_after(self) -> Option<Duration> {
        self.entry().retry_after.map(Duration::from_secs)
    }

    fn entry(self) -> Entry {
        match self {
            Self::MalformedJson => entry(
                "malformed-json",
                StatusCode::BAD_REQUEST,
                "Malformed JSON",
                "the body is not JSON",
                "Send one JSON object in UTF-8; the detail names the line and column where parsing stopped.",
            ),
            Self::InvalidRequest => entry(
                "invalid-request",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid request",
                "a field, a header or a query parameter has a value that is not allowed",
                "Change the value that the detail names.",
            ),
            Self::UnknownField => entry(
                "unknown-field",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Unknown field",
                "the body or the query has a field that the route does not know",
                "Remove or rename the field; the detail names the nearest one that is known.",
            ),
            Self::MessageEmpty => entry(
                "message-empty",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Empty message",
                "`message` has no text, or nothing but white space",
                "Send a message with at least one visible character.",
            ),
            Self::MessageTooLarge => entry(
                "message-too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "Message too large",
                "the text of `message` is over the host's limit",
                "Shorten the message, or raise the host's limit on messages.",
            ),
            Self::BodyTooLarge => entry(
                "body-too-large",
                StatusCode::PAYLOAD_TOO_LARGE,
                "Body too large",
                "the request's body is over the host's limit",
                "Send a smaller body, or raise the host's limit on bodies.",
            ),
            Self::BodyTimeout => entry(
                "body-timeout",
                StatusCode::REQUEST_TIMEOUT,
                "Body did not arrive",
                "the request's body was not complete in time",
                "Send the whole body without pauses.",
            ),
            Self::UriTooLong => entry(
                "uri-too-long",
                StatusCode::URI_TOO_LONG,
                "URI too long",
                "the path and query of the URL are over the host's limit",
                "Shorten the URL, or raise the host's limit on URLs.",
            ),
            Self::UnsupportedMediaType => entry(
                "unsupported-media-type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "Unsupported media type",
                "a request with a body does not say that it is JSON",
                "Send `Content-Type: application/json`.",
            ),
            Self::HostNotAllowed => entry(
                "host-not-allowed",
                StatusCode::MISDIRECTED_REQUEST,
                "Host not allowed",
                "without authentication, `Host` is missing or no loopback name, or the request came through a proxy",
                "Use localhost, 127.0.0.1 or [::1] as the host of the URL.",
            ),
            Self::OriginNotAllowed => entry(
                "origin-not-allowed",
                StatusCode::FORBIDDEN,
                "Origin not allowed",
                "without authentication, a web page of another origin made the request",
                "Call the host from a program, or from a page that this host serves.",
            ),
            Self::Unauthenticated => entry(
                "unauthenticated",
                StatusCode::UNAUTHORIZED,
                "Not authenticated",
                "the route needs a token or an API key, and none was sent",
                "Send `Authorization: Bearer` with a token or an API key.",
            ),
            Self::InvalidToken => entry(
                "invalid-token",
                StatusCode::UNAUTHORIZED,
                "Invalid token",
                "the token or API key is malformed, expired, revoked, or not this host's",
                "Get a new token; `reason` says what is wrong with this one.",
            ),
            Self::InsufficientScope => entry(
                "insufficient-scope",
                StatusCode::FORBIDDEN,
                "Insufficient scope",
                "the token or API key does not have the scope that the route needs",
                "Use a token or key with the scope that `scope` names.",
            ),
            Self::AdminElsewhere => entry(
                "admin-elsewhere",
                StatusCode::FORBIDDEN,
                "Administration is elsewhere",
                "without authentication, an admin route was asked over the network",
                "Use the socket `admin.sock` in the host's data folder, or turn authentication on.",
            ),
            Self::CompanionNotAllowed => entry(
                "companion-not-allowed",
                StatusCode::FORBIDDEN,
                "Companion not allowed",
                "the API key, or the one that made the token, is for other companions",
                "See GET /companions for those that it allows.",
            ),
            Self::RateLimited => entry(
                "rate-limited",
                StatusCode::TOO_MANY_REQUESTS,
                "Too many requests",
                "the user, the API key or the address has asked too often",
                "Wait for `retry_after` seconds; the headers `RateLimit` and `RateLimit-Policy` say what is left.",
            )
            .after(1),
            Self::BudgetSpent => entry(
                "budget-spent",
                StatusCode::TOO_MANY_REQUESTS,
                "Token budget spent",
                "the user or the API key has used the model's tokens of the day",
                "Wait for the next day (UTC), or have the budget raised.",
            )
            .after(60),
            Self::IssuerUnavailable => entry(
                "issuer-unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "Issuer unavailable",
                "the keys of the token's issuer can't be had, so the token can't be judged",
                "Try again later; the host's log says what it ran into.",
            )
            .after(5),
            Self::MintingOff => entry(
                "minting-off",
                StatusCode::NOT_FOUND,
                "No tokens here",
                "the host has no secret to sign tokens with",
                "Get tokens from the identity provider, or set JWT_SECRET_KEY where the host is started.",
            ),
            Self::KeyNotFound => entry(
                "key-not-found",
                StatusCode::NOT_FOUND,
                "No such API key",
                "the id is unknown, or the key is revoked and can't be rotated",
                "See GET /admin/keys for the ids.",
            ),
            Self::RouteNotFound => entry(
                "route-not-found",
                StatusCode::NOT_FOUND,
                "No such route",
                "the path is not part of the API",
                "See /docs for the routes of this host.",
            ),
            Self::MethodNotAllowed => entry(
                "method-not-allowed",
                StatusCode::METHOD_NOT_ALLOWED,
                "Method not allowed",
                "the path is known, the method is not",
                "Use one of the methods in the `Allow` header.",
            ),
            Self::CompanionNotFound => entry(
                "companion-not-found",
                StatusCode::NOT_FOUND,
                "No such companion",
                "`companion` names none that this host plays",
                "See GET /companions for the names.",
            ),
            Self::ConversationNotFound => entry(
                "conversation-not-found",
                StatusCode::NOT_FOUND,
                "No such conversation",
                "the id is unknown, deleted, or another user's",
                "See GET /conversations for yours, or leave `conversation_id` out to begin one.",
            ),
            Self::TurnNotFound => entry(
                "turn-not-found",
                StatusCode::NOT_FOUND,
                "No such turn",
                "the id is unknown, deleted, or another user's",
                "Use the `turn_id` that `turn.created` or the reply gave.",
            ),
            Self::EventsGone => entry(
                "events-gone",
                StatusCode::GONE,
                "Events are gone",
                "the turn ended more than a minute ago, or on a host that has stopped since",
                "Read the outcome from GET /turns/{id}.",
            ),
            Self::CompanionNotNamed => entry(
                "companion-not-named",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Companion not named",
                "a conversation begins, and the host plays more than one companion",
                "Name one in `companion`; the detail lists them.",
            ),
            Self::ModelNotOffered => entry(
                "model-not-offered",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Model not offered",
                "`model` is none of the companion's models",
                "Leave `model` out, or choose one that GET /companions lists for the companion.",
            ),
            Self::OtherCompanion => entry(
                "other-companion",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Conversation with another companion",
                "`companion` differs from the one that the conversation is with",
                "Leave `companion` out, or begin a new conversation.",
            ),
            Self::IdempotencyMismatch => entry(
                "idempotency-mismatch",
                StatusCode::UNPROCESSABLE_ENTITY,
                "Idempotency key used for another request",
                "the `Idempotency-Key` came with another body before",
                "Use a new key for a new request, and the same body for a retry.",
            ),
            Self::ConversationBusy => entry(
                "conversation-busy",
                StatusCode::CONFLICT,
                "Conversation is busy",
                "other turns of the conversation run or wait, and the wait was too long",
                "Wait for the reply before sending the next message, or try again later.",
            )
            .after(2),
            Self::LeaseLost => entry(
                "lease-lost",
                StatusCode::SERVICE_UNAVAILABLE,
                "Turn lost its conversation",
                "the host was paused for so long that another turn may have taken over",
                "Look at the conversation, then send the message again.",
            )
            .after(1),
            Self::TurnInterrupted => entry(
                "turn-interrupted",
                StatusCode::SERVICE_UNAVAILABLE,
                "Turn was interrupted",
                "the host stopped before the reply was complete",
                "Send the message again; with the same `Idempotency-Key` it is not doubled.",
            )
            .after(1),
            Self::TurnCancelled => entry(
                "turn-cancelled",
                StatusCode::CONFLICT,
                "Turn was cancelled",
                "a client cancelled the turn, or all its readers left",
                "Send the message again if a reply is still wanted.",
            ),
            Self::TurnTimeout => entry(
                "turn-timeout",
                StatusCode::GATEWAY_TIMEOUT,
                "Turn took too long",
                "the turn, or one step of it, passed its time limit",
                "Try again; if it lasts, see the host's log for the plugin that was slow.",
            ),
            Self::ModelUnavailable => entry(
                "model-unavailable",
                StatusCode::BAD_GATEWAY,
                "Model is not available",
                "the model's server refused the connection or failed",
                "Try again later; the operator finds the cause in the host's log.",
            ),
            Self::ModelUnauthorized => entry(
                "model-unauthorized",
                StatusCode::BAD_GATEWAY,
                "Model refused the host's credential",
                "the model's server did not accept the key it was given",
                "Ask the operator to check the credential of the model.",
            ),
            Self::ModelRateLimited => entry(
                "model-rate-limited",
                StatusCode::SERVICE_UNAVAILABLE,
                "Model is rate limited",
                "the model's server wants fewer requests",
                "Wait as long as `Retry-After` says, then try again.",
            )
            .after(10),
            Self::ModelOverloaded => entry(
                "model-overloaded",
                StatusCode::SERVICE_UNAVAILABLE,
                "Model is overloaded",
                "the model's server has no room for the request",
                "Wait as long as `Retry-After` says, then try again.",
            )
            .after(5),
            Self::ModelInvalid => entry(
                "model-invalid",
                StatusCode::BAD_GATEWAY,
                "Model could not take the request",
                "the model's server refused the request, or answered what is no answer",
                "Shorten the conversation or begin a new one; if it lasts, ask the operator to check the model's settings.",
            ),
            Self::ModelTruncated => entry(
                "model-truncated",
                StatusCode::BAD_GATEWAY,
                "Reply was cut off",
                "the model's stream ended without saying that it was complete",
                "Try again.",
            ),
            Self::ModelStalled => entry(
                "model-stalled",
                StatusCode::GATEWAY_TIMEOUT,
                "Model stopped answering",
                "nothing came from the model for too long",
                "Try again later.",
            ),
            Self::PluginFailed => entry(
                "plugin-failed",
                StatusCode::INTERNAL_SERVER_ERROR,
                "A plugin failed",
                "the companion's persona, memory or model broke, or ran into its limits",
                "Try again; if it lasts, the operator finds the cause in the host's log under the request's id.",
            ),
            Self::Overloaded => entry(
                "overloaded",
                StatusCode::SERVICE_UNAVAILABLE,
                "Host is overloaded",
                "no sandbox was free in time",
                "Wait as long as `Retry-After` says, then try again.",
            )
            .after(1),
            Self::Loading => entry(
                "loading",
                StatusCode::SERVICE_UNAVAILABLE,
                "Host is loading",
                "the host has started, and is not ready yet",
                "Wait as long as `Retry-After` says, then try again.",
            )
            .after(1),
            Self::Draining => entry(
                "draining",
                StatusCode::SERVICE_UNAVAILABLE,
                "Host is stopping",
                "the host takes no new turns, because it was told to stop",
                "Try again on another host, or on this one when it is back.",
            )
            .after(5),
            Self::StorageUnavailable => entry(
                "storage-unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                "Storage is not available",
                "the host could not read or write its data; nothing was half written",
                "Try again later; if it lasts, ask the operator to look at the disk and the host's log.",
            )
            .after(5),
            Self::Internal => entry(
                "internal",
                StatusCode::INTERNAL_SERVER_ERROR,
                "Internal error",
                "the host met something that it should not have",
                "Report it with the request's id; the operator finds the cause in the host's log.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn the_table_for_readers_is_the_table_of_the_code() {
        let mut table = String::from("| type | status | when | what to do |\n| --- | --- | --- | --- |\n");
        for kind in Kind::ALL {
            let (name, status, when, advice) = (kind.name(), kind.status(), kind.when(), kind.advice());
            writeln!(table, "| <a id=\"{name}\"></a>`{name}` | {} | {when} | {advice} |", status.as_u16())
                .unwrap();
        }
        let page = include_str!("../../../../docs/errors.md");
        assert!(page.contains(&table), "docs/errors.md should hold this table:\n\n{table}");
    }

    #[test]
    fn no_two_kinds_share_a_name() {
        let mut names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Kind::ALL.len());
    }

    #[test]
    fn names_can_be_the_fragment_of_a_uri() {
        for kind in Kind::ALL {
            assert!(kind.name().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", kind.name());
        }
    }

    #[test]
    fn every_kind_is_listed() {
        // `Internal` is declared last: its place is the number of the others.
        assert_eq!(Kind::Internal as usize + 1, Kind::ALL.len());
    }
}
