//! The closed list of problem types. `docs/errors.md` holds the same table for readers; a test compares the two.

use std::time::Duration;

use http::StatusCode;

use crate::definition::Definition;
use crate::definitions::{access, conversation, host, model, request};

/// Declares [`Kind`] with the definition of each variant, so that no variant can be missing from `ALL`.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $variant:ident = $definition:path,)+) => {
        /// A problem type. Names and statuses are part of the contract with clients and never change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[$doc])+ $variant,)+
        }

        impl Kind {
            /// Every problem type, in the order of the table in `docs/errors.md`.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn definition(self) -> &'static Definition {
                match self {
                    $(Self::$variant => &$definition,)+
                }
            }
        }
    };
}

kinds! {
    /// The body is not JSON.
    MalformedJson = request::MALFORMED_JSON,
    /// A field, a header or a query parameter has a value that is not allowed.
    InvalidRequest = request::INVALID_REQUEST,
    /// The body or the query has a field that the route does not know.
    UnknownField = request::UNKNOWN_FIELD,
    /// `message` has no visible character.
    MessageEmpty = request::MESSAGE_EMPTY,
    /// The text of `message` is over the host's limit.
    MessageTooLarge = request::MESSAGE_TOO_LARGE,
    /// The request's body is over the host's limit.
    BodyTooLarge = request::BODY_TOO_LARGE,
    /// The request's body was not complete in time.
    BodyTimeout = request::BODY_TIMEOUT,
    /// The path and query of the URL are over the host's limit.
    UriTooLong = request::URI_TOO_LONG,
    /// A request with a body does not say that it is JSON.
    UnsupportedMediaType = request::UNSUPPORTED_MEDIA_TYPE,
    /// Without authentication, `Host` is missing or is no loopback name, or the request came through a proxy.
    HostNotAllowed = access::HOST_NOT_ALLOWED,
    /// Without authentication, a web page of another origin made the request.
    OriginNotAllowed = access::ORIGIN_NOT_ALLOWED,
    /// The route needs a token or an API key, and none was sent.
    Unauthenticated = access::UNAUTHENTICATED,
    /// The token or API key is malformed, expired, revoked, or not this host's.
    InvalidToken = access::INVALID_TOKEN,
    /// The token or API key does not have the scope that the route needs.
    InsufficientScope = access::INSUFFICIENT_SCOPE,
    /// Without authentication, an admin route was requested over the network.
    AdminElsewhere = access::ADMIN_ELSEWHERE,
    /// The API key, or the one that made the token, does not allow the companion.
    CompanionNotAllowed = access::COMPANION_NOT_ALLOWED,
    /// The user, the API key or the address has asked too often.
    RateLimited = access::RATE_LIMITED,
    /// The user or the API key has used up the model tokens of the day.
    BudgetSpent = access::BUDGET_SPENT,
    /// The keys of the token's issuer can't be fetched, so the token can't be verified.
    IssuerUnavailable = access::ISSUER_UNAVAILABLE,
    /// The host has no secret to sign tokens with.
    MintingOff = access::MINTING_OFF,
    /// The id of the API key is unknown, or the key is revoked and can't be rotated.
    KeyNotFound = access::KEY_NOT_FOUND,
    /// The path is not part of the API.
    RouteNotFound = request::ROUTE_NOT_FOUND,
    /// The path is known, the method is not.
    MethodNotAllowed = request::METHOD_NOT_ALLOWED,
    /// `companion` names no companion of this host.
    CompanionNotFound = conversation::COMPANION_NOT_FOUND,
    /// The id of the conversation is unknown, deleted, another user's, or beyond the companions of the API key.
    ConversationNotFound = conversation::CONVERSATION_NOT_FOUND,
    /// The id of the user is unknown or erased, or another user's and beyond the caller's scopes.
    UserNotFound = conversation::USER_NOT_FOUND,
    /// The receipt of the erasure is unknown, or of another user.
    ErasureNotFound = conversation::ERASURE_NOT_FOUND,
    /// The id of the turn is unknown, deleted, another user's, or beyond the companions of the API key.
    TurnNotFound = conversation::TURN_NOT_FOUND,
    /// There is no record of the turn, from which it could be explained.
    ExplanationNotFound = conversation::EXPLANATION_NOT_FOUND,
    /// The events of the turn are no longer kept: it ended more than a minute ago, or its host has stopped since.
    EventsGone = conversation::EVENTS_GONE,
    /// A new conversation names no companion, and the host has more than one.
    CompanionNotNamed = conversation::COMPANION_NOT_NAMED,
    /// `model` is none of the companion's models.
    ModelNotOffered = conversation::MODEL_NOT_OFFERED,
    /// `companion` differs from the one that the conversation is with.
    OtherCompanion = conversation::OTHER_COMPANION,
    /// The `Idempotency-Key` was used with another body before.
    IdempotencyMismatch = conversation::IDEMPOTENCY_MISMATCH,
    /// Other turns of the conversation run or wait, and the wait was too long.
    ConversationBusy = conversation::CONVERSATION_BUSY,
    /// The host was paused for so long that another turn may have taken over.
    LeaseLost = conversation::LEASE_LOST,
    /// The host stopped before the reply was complete.
    TurnInterrupted = conversation::TURN_INTERRUPTED,
    /// A client cancelled the turn, or all its readers left.
    TurnCancelled = conversation::TURN_CANCELLED,
    /// A turn was cancelled, and the host that runs it did not end it in time.
    CancelPending = conversation::CANCEL_PENDING,
    /// The turn, or one step of it, passed its time limit.
    TurnTimeout = conversation::TURN_TIMEOUT,
    /// The model's server refused the connection or failed.
    ModelUnavailable = model::MODEL_UNAVAILABLE,
    /// The model's server did not accept the key it was given.
    ModelUnauthorized = model::MODEL_UNAUTHORIZED,
    /// The model's server limits the rate of requests.
    ModelRateLimited = model::MODEL_RATE_LIMITED,
    /// The model's server is overloaded.
    ModelOverloaded = model::MODEL_OVERLOADED,
    /// The model's server refused the request, or its answer can't be understood.
    ModelInvalid = model::MODEL_INVALID,
    /// The model's stream ended without its end marker.
    ModelTruncated = model::MODEL_TRUNCATED,
    /// The model sent nothing for too long.
    ModelStalled = model::MODEL_STALLED,
    /// The companion's persona, memory or model failed, or exceeded its limits.
    PluginFailed = host::PLUGIN_FAILED,
    /// No sandbox was free in time.
    Overloaded = host::OVERLOADED,
    /// The host has started, and is not ready yet.
    Loading = host::LOADING,
    /// The host takes no new turns, because it was told to stop.
    Draining = host::DRAINING,
    /// The host could not read or write its data; nothing was half written.
    StorageUnavailable = host::STORAGE_UNAVAILABLE,
    /// The host reached a state that should not occur.
    Internal = host::INTERNAL,
}

impl Kind {
    /// The name in kebab case: the fragment of [`Kind::uri`].
    pub fn name(self) -> &'static str {
        self.definition().name
    }

    /// The `type` member: a relative reference to this host's own page of errors. It has the full path, as RFC 9457,
    /// section 3.1.1 recommends for relative references.
    pub fn uri(self) -> String {
        format!("/docs/errors#{}", self.name())
    }

    /// The HTTP status of the response.
    pub fn status(self) -> StatusCode {
        self.definition().status
    }

    /// The `title` member.
    pub fn title(self) -> &'static str {
        self.definition().title
    }

    /// The condition under which the problem occurs, as `docs/errors.md` says it.
    pub fn when(self) -> &'static str {
        self.definition().when
    }

    /// What the client can do. The `detail` member of an occurrence that has no better text.
    pub fn advice(self) -> &'static str {
        self.definition().advice
    }

    /// How long the client should wait before it tries again, unless the occurrence knows better. Every 429 and 503 has
    /// a value.
    pub fn retry_after(self) -> Option<Duration> {
        self.definition().retry_after.map(Duration::from_secs)
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
        let page = include_str!("../../../docs/errors.md");
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
        // `Internal` is declared last, so its discriminant is the number of the other kinds.
        assert_eq!(Kind::Internal as usize + 1, Kind::ALL.len());
    }
}
