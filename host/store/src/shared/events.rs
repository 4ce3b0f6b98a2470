//! The events of turns, so that any host can stream a turn that another one runs.

use std::time::Duration;

use async_trait::async_trait;

use crate::ids::TurnId;

/// The logs of running turns and of those that ended less than [`TURN_EVENTS_RETENTION`] ago.
#[async_trait]
pub trait TurnEvents: Send + Sync {
    /// Appends events to the log of an attempt, the first of them with the sequence `first`. Events are opaque texts. An
    /// attempt with a higher number replaces the log of the one before. Where an event before `first` is missing, or a
    /// later attempt has begun, or the log of the attempt has ended with fewer events, nothing is written. Events that
    /// are in the log already are left as they are, so an append can be repeated.
    ///
    /// Returns whether the events are in the log. False also where the shared memory can't be reached: readers on other
    /// hosts then wait for the end of the turn in the store.
    async fn append(
        &self,
        turn: TurnId,
        attempt: u32,
        first: u64,
        events: &[String],
        has_ended: bool,
    ) -> bool;

    /// The events of the latest attempt from the sequence `from`, at most about [`EVENT_PAGE_BYTES`] of them. `None` if there is no log,
    /// or the shared memory can't be reached.
    async fn read(&self, turn: TurnId, from: u64) -> Option<EventPage>;

    /// Whether other hosts can read what is appended. If not, the caller need not append.
    fn is_shared(&self) -> bool;
}

/// How long the log of a turn is kept after its last event.
pub const TURN_EVENTS_RETENTION: Duration = Duration::from_secs(60);

/// How long the log of a turn that has not ended is kept without a further event: the longest time that a turn may be given,
/// an hour, and a minute. A model may be silent for long before it goes on.
pub const RUNNING_TURN_EVENTS_RETENTION: Duration = Duration::from_secs(3660);

/// About how many bytes of events one page has. A page has one event at least, whatever its size.
pub const EVENT_PAGE_BYTES: usize = 64 << 10;

/// A part of a turn's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// The attempt that the log is of.
    pub attempt: u32,
    /// Events in order. Empty if there is none yet at the asked sequence.
    pub events: Vec<String>,
    /// How many events the log has.
    pub total: u64,
    /// Whether the last event of the turn is in the log.
    pub has_ended: bool,
}
