//! The records of turns: what every component received and returned, what it asked the host for, and what it cost.
//!
//! Left to others: where records are kept ([`TurnRecords`](masque_store::TurnRecords)); who may read them (the API).

mod queue;
mod shorten;

use std::fmt;

use masque_store::{Owner, RecordedTurn};

pub use queue::RecordQueue;

/// Takes the records of turns.
///
/// Called once for each attempt of a turn that is recorded, after its readers were told of its end. It must not wait: where
/// there is no room it drops the record and counts it.
pub trait RecordSink: fmt::Debug + Send + Sync {
    /// Stores the record soon, or drops it.
    fn push(&self, owner: &Owner, record: RecordedTurn);
}
