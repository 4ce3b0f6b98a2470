//! What a Masque host must not lose: conversations, turns, background jobs and the state of plugins.
//!
//! The rooms [`Turns`], [`Conversations`], [`Jobs`] and [`PluginState`] say what a database has to do, as traits without
//! a word of SQL; [`Store`] is all four. [`SqliteStore`] keeps them in one file. The tests in `tests/` run over
//! the traits alone, so that another database is held to the same sentences.
//!
//! Left to the caller: who the user is, what a reply looks like, how long a turn may wait, what is sent to whom. Times
//! are milliseconds since the Unix epoch by the database's clock, never by the host's.
#![deny(missing_docs)]

mod conversations;
mod error;
mod ids;
mod jobs;
mod owner;
mod rates;
mod sqlite;
mod state;
mod turns;

pub use conversations::{
    ConversationRecord, Conversations, MessageRecord, NewConversation, NewMessage, Page, Paged, title_of,
};
pub use error::{OpenError, StoreError};
pub use ids::{ConversationId, JobId, MessageId, TurnId};
pub use jobs::{Ability, JobCounts, JobRecord, Jobs, NewJob};
pub use owner::Owner;
pub use rates::{InProcess, Quota, RateLimits, Taken};
pub use sqlite::{ParkedJob, ParkedJobs, SqliteStore};
pub use state::{
    ConflictReason, PluginState, StateChange, StateConflict, StateKey, StateResult, StateScope, StateSpace,
    StateValue, StateWrite,
};
pub use turns::{
    Admission, Admitted, Commit, Durable, Ending, Failed, Idempotency, Interruption, KeyedTurn, Outcome,
    Started, TailLimit, Target, TurnRecord, TurnStatus, Turns, UsageRecord,
};

/// Everything a host keeps, behind one handle: `Arc<dyn Store>`.
pub trait Store: Turns + Conversations + Jobs + PluginState {}

impl<S: Turns + Conversations + Jobs + PluginState> Store for S {}
