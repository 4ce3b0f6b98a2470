//! What a Masque host stores durably: conversations, turns, background jobs and the state of plugins; API keys,
//! revocations, the audit log, the tokens spent and the records of turns.
//!
//! The traits [`Turns`], [`Conversations`], [`Jobs`], [`ParkedJobs`], [`PluginState`], [`ApiKeys`], [`Revocations`],
//! [`AuditLog`], [`Spending`], [`UserData`] and [`TurnRecords`] define what a database has to do, independent of SQL. [`Store`] is all of them, and a
//! host holds only an `Arc<dyn Store>`. [`KeyRing`] is the part that the command line uses beside a running host.
//! [`Shared`] is separate: what it holds may be lost. So is [`ActiveSets`], which only a database that several hosts use has.
//!
//! [`columns`] and [`paging`] are what databases do alike with values and pages of lists. [`transfer`] moves everything from one database into another.
//!
//! The feature `conformance` adds the module `conformance`: the tests that every implementation has to pass.
//!
//! No store keeps the character U+0000 in a text; see [`CheckTexts`].
//!
//! The caller decides who the user is, what a reply looks like, and how long a turn may wait. All
//! times are milliseconds since the Unix epoch by the database's clock, never by the host's.
#![deny(missing_docs)]

mod active_sets;
mod admission;
mod audit;
pub mod columns;
#[cfg(feature = "conformance")]
pub mod conformance;
mod connection;
mod conversations;
mod ending;
mod error;
mod heartbeat;
mod ids;
mod jobs;
mod keys;
mod message;
mod open_error;
mod owner;
mod page;
pub mod paging;
mod parked_jobs;
mod profile;
mod rate_limits;
mod recorded_turn;
mod response;
mod revocations;
mod shared;
mod spending;
mod state;
mod state_values;
mod store;
mod text;
mod text_checks;
mod title;
pub mod transfer;
mod turn;
mod turns;
mod user_data;

pub use active_sets::{
    ActiveSets, COMPONENT_CHUNK_BYTES, ComponentChunk, Decision, Generation, GenerationStatus,
    MAX_STORED_COMPONENT_BYTES, NewGeneration, Preparation, PublishOutcome, SetHost, SetState,
};
pub use admission::{Admission, AdmissionOutcome, Admitted, Durable, Idempotency, Started, Target, Waiting};
pub use audit::{AuditEntry, AuditLog, AuditOutcome, AuditRecord};
pub use connection::{StoreConnection, StoreSize};
pub use conversations::{ConversationRecord, Conversations, NewConversation};
pub use ending::{Commit, Ending, Failed, Interruption, Waiter};
pub use error::StoreError;
pub use heartbeat::Heartbeat;
pub use ids::{ConversationId, JobId, MessageId, TurnId, make_ids_after};
pub use jobs::{Ability, JobCompletion, JobCounts, JobLimits, JobRecord, Jobs, NewJob, TakenJobs};
pub use keys::{ApiKeyRecord, ApiKeys, KeyHash, KeyId, NewApiKey, NoKeyId};
pub use message::{MessageRecord, NewMessage, TailLimit};
pub use open_error::OpenError;
pub use owner::Owner;
pub use page::{MAX_PAGE_BYTES, Page, Paged};
pub use parked_jobs::{ParkedJob, ParkedJobs};
pub use profile::UserProfile;
pub use rate_limits::{Bucket, InProcessRateLimits, Quota, RateLimits, Taken};
pub use recorded_turn::{
    EncodedTurnRecord, OwnedTurnRecord, RECORD_FORMAT, RecordBounds, RecordedHostCall, RecordedStep,
    RecordedTurn, TurnRecords,
};
pub use response::StoredResponse;
pub use revocations::{ENDED_KEY_RETENTION, NewRevocation, Revocation, Revocations, Revoked, Security};
pub use shared::{
    EVENT_PAGE_BYTES, EventPage, InProcessInbox, InProcessTurnEvents, InProcessTurnSlots, Inbox,
    InboxMessage, LiveHosts, RUNNING_TURN_EVENTS_RETENTION, Recipient, Shared, SharedHealth, SharedStatus,
    TURN_EVENTS_RETENTION, TURN_SLOT_LIFETIME, TurnEvents, TurnSlots,
};
pub use spending::{
    BlockRequest, BudgetAccount, BudgetSpent, BudgetUse, Budgets, Correction, DebitOutcome, DebitTime,
    HeldBlock, ReportAnswer, Spending, SpendingDay, SpendingReport, Spent, UsedTokens, owner_of_account,
    user_account,
};
pub use state::PluginState;
pub use state_values::{
    ConflictReason, STATE_ROW_BYTES, StateChange, StateConflict, StateFence, StateKey, StateResult,
    StateScope, StateSpace, StateValue, StateWrite, StateWritten,
};
pub use store::{ExplainedTurns, KeyRing, Store, UserRecords};
pub use text::{CheckTexts, check_json, check_text, push_storable};
pub use title::title_of;
pub use turn::{KeyedTurn, TurnRecord, TurnStatus, UsageRecord};
pub use turns::Turns;
pub use user_data::{
    ErasedName, ErasedRows, Erasure, ErasureEntry, ErasureList, ErasureListError, ErasureReplay,
    ErasureRequest, ExportItem, ExportSection, ExportedJob, ExportedKey, ExportedSpending, ExportedState,
    Installation, UnreadableTurnRecord, UserData, decode_cursor, encode_cursor,
};
