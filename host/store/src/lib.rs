//! What a Masque host must not lose: conversations, turns, background jobs, the state of plugins; and who may speak: API
//! keys, revocations, what was done with them and what was spent.
//!
//! The rooms [`Turns`], [`Conversations`], [`Jobs`], [`PluginState`], [`ApiKeys`], [`Revocations`], [`AuditLog`] and
//! [`Spending`] say what a database has to do, as traits without a word of SQL; [`Store`] is all of them. [`RateLimits`]
//! stands apart: what it counts may be lost. [`SqliteStore`] keeps them in one file. The tests in `tests/` run over
//! the traits alone, so that another database is held to the same sentences.
//!
//! Left to the caller: who the user is, what a reply looks like, how long a turn may wait, what is sent to whom. Times
//! are milliseconds since the Unix epoch by the database's clock, never by the host's.
#![deny(missing_docs)]

mod audit;
mod conversations;
mod error;
mod ids;
mod jobs;
mod keys;
mod owner;
mod rates;
mod revocations;
mod spending;
mod sqlite;
mod state;
mod turns;

pub use audit::{AuditEntry, AuditLog, AuditOutcome, AuditRecord};
pub use conversations::{
    ConversationRecord, Conversations, MessageRecord, NewConversation, NewMessage, Page, Paged, title_of,
};
pub use error::{OpenError, StoreError};
pub use ids::{ConversationId, JobId, MessageId, TurnId};
pub use jobs::{Ability, JobCounts, JobRecord, Jobs, NewJob};
pub use keys::{ApiKeyRecord, ApiKeys, KeyHash, KeyId, NewApiKey, NoKeyId};
pub use owner::Owner;
pub use rates::{InProcess, Quota, RateLimits, Taken};
pub use revocations::{NewRevocation, Revocation, Revocations, Revoked, Security};
pub use spending::{Spending, Spent};
pub use sqlite::{KeyRing, ParkedJob, ParkedJobs, SqliteStore};
pub use state::{
    ConflictReason, PluginState, StateChange, StateConflict, StateKey, StateResult, StateScope, StateSpace,
    StateValue, StateWrite,
};
pub use turns::{
    Admission, Admitted, Charge, Commit, Durable, Ending, Failed, Idempotency, Interruption, KeyedTurn,
    Outcome, Started, TailLimit, Target, TurnRecord, TurnStatus, Turns, UsageRecord,
};

/// Everything a host keeps, behind one handle: `Arc<dyn Store>`.
pub trait Store:
    Turns + Conversations + Jobs + PluginState + ApiKeys + Revocations + AuditLog + Spending
{
}

impl<S> Store for S where
    S: Turns + Conversations + Jobs + PluginState + ApiKeys + Revocations + AuditLog + Spending
{
}
