//! A turn, from the request to the stored exchange, and the background jobs that it leaves behind.
//!
//! [`Turns`] is what the API uses. A request becomes a turn in `admission`, is answered by the plugins in `pipeline`
//! while `run` watches over it, and is stored by `finalizer`. Its readers follow its [`EventLog`]. A turn is a task of
//! its own: it goes on when its request is gone, for as long as someone reads it, and it is ended through `cancellation`.
//! Hosts that use one store serve each other's turns: `publisher` copies the log of a running turn to the memory that they
//! share, and `elsewhere` reads, cancels and keeps alive a turn that another host runs.
//! [`JobWorker`] tells memories and personas about exchanges once they are stored. `capabilities` is what the plugins may
//! use during a call: state, history and models. `metering` counts the tokens of every model call. `instrumentation` traces and
//! counts turns, and `records` explains them afterwards.
//!
//! Left to others: who the user is, how requests and replies look on the wire (the API), what is stored and who holds a
//! conversation (the store), what a plugin may do (the sandbox).

#![deny(missing_docs)]

mod admission;
mod cancellation;
mod capabilities;
mod clock;
mod contract;
mod draft;
mod elsewhere;
mod end_guard;
mod failure;
mod finalizer;
mod greeting;
mod host;
mod instrumentation;
mod jobs;
mod keyed_queue;
mod leases;
mod log;
mod metering;
mod mirrors;
mod options;
mod pipeline;
mod publisher;
mod records;
mod registry;
mod reply;
mod request;
mod reserved_place;
mod run;
mod summary;
mod timing;
mod tokens;
mod turns;
mod unknown_outcome;
mod user_slots;
mod waiters;

#[cfg(test)]
mod test_support;
#[cfg(test)]
mod tests;

pub use host::LEASE;
pub use jobs::{JobOptions, JobWorker};
pub use log::{Event, EventKind, EventLog, EventReader, LogFull, TurnEnd};
pub use options::Options;
pub use records::{BuiltRecord, RecordContent, RecordOptions, RecordQueue, RecordSink};
pub use request::{ChatRequest, GreetingRequest, IdempotencyKey};
pub use reserved_place::ReservedPlace;
pub use turns::Turns;
