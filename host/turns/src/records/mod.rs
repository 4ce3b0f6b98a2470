//! The records of turns: what every component received and returned, what it asked the host for, and what it cost.
//!
//! While a turn runs, its [`CallLog`] keeps hold of what the plugins were given and returned, which costs no copy of a text.
//! The record is built from it once the readers of the turn were told of its end. `docs/turn-records.md` describes the format.
//!
//! Left to others: where records are kept, how many, and for how long ([`RecordSink`], [`TurnRecords`](masque_store::TurnRecords)); who may read them (the API).

mod build;
mod call_log;
mod messages;
mod options;
mod queue;
mod shorten;
mod steps;

use std::fmt;

use masque_store::{Owner, RecordedHostCall, RecordedStep, RecordedTurn};
use serde_json::value::RawValue;

pub(crate) use build::{RecordedEnd, build};
pub(crate) use call_log::{CallInput, CallLog, CallOutput, OpenCall};
pub use options::{RecordContent, RecordOptions};
pub use queue::RecordQueue;

/// The record of a turn as it is built: its values are JSON already, so that none is held as a tree.
pub type BuiltRecord = RecordedTurn<Box<RawValue>>;
type BuiltStep = RecordedStep<Box<RawValue>>;
type BuiltHostCall = RecordedHostCall<Box<RawValue>>;

/// Takes the records of turns.
///
/// Called once for each attempt of a turn that is recorded, after its readers were told of its end. It must not wait: where
/// there is no room it drops the record and counts it.
pub trait RecordSink: fmt::Debug + Send + Sync {
    /// Stores the record soon, or drops it.
    fn push(&self, owner: &Owner, record: &BuiltRecord);
}
