//! What a client asks for.

use std::collections::BTreeSet;

use masque_store::{BudgetAccount, ConversationId, Owner, UserProfile};
use masque_telemetry::trace::TraceContext;
use serde_json::{Map, Value};

use crate::reserved_place::ReservedPlace;

/// A request for a turn. The API has checked everything in it that can be checked without the store or the active set.
#[derive(Clone, Debug)]
pub struct ChatRequest {
    /// The user.
    pub owner: Owner,
    /// What is known of the user, for the plugins.
    pub profile: UserProfile,
    /// The user's message, neither empty nor too long.
    pub message: String,
    /// The companion's name. Can be absent if the conversation exists or only one companion may answer.
    pub companion: Option<String>,
    /// The conversation to continue; `None` begins a new one.
    pub conversation: Option<ConversationId>,
    /// The name of one of the companion's models; `None` for its usual order.
    pub model: Option<String>,
    /// Stored with the message and given to the plugins.
    pub metadata: Map<String, Value>,
    /// Identifies a repeated request.
    pub idempotency: Option<IdempotencyKey>,
    /// For log lines and problem objects.
    pub request_id: String,
    /// The position of the request in its trace. The span of the turn is at this position.
    pub trace: TraceContext,
    /// The only companions that may answer; `None` for all.
    pub allowed_companions: Option<BTreeSet<String>>,
    /// The accounts that are debited for the model's tokens, with their budgets.
    pub accounts: Vec<BudgetAccount>,
    /// A place of the user that was taken before. Without one, the turn takes its own.
    pub place: Option<ReservedPlace>,
}

/// A request for the greeting of a companion, for a conversation that is about to begin.
#[derive(Clone, Debug)]
pub struct GreetingRequest {
    /// The user.
    pub owner: Owner,
    /// What is known of the user, for the persona.
    pub profile: UserProfile,
    /// The companion's name.
    pub companion: String,
    /// The conversation.
    pub conversation: ConversationId,
    /// The index of the greeting; `None` for the first, or none where the companion has no greetings.
    pub index: Option<usize>,
    /// The accounts that pay if the persona asks the model.
    pub accounts: Vec<BudgetAccount>,
    /// The position of the request in its trace. The span of the greeting is at this position.
    pub trace: TraceContext,
}

/// A client's `Idempotency-Key`, and a digest of the request that was sent with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key as the client sent it.
    pub key: String,
    /// Differs between two requests that ask for different things.
    pub digest: Vec<u8>,
}
