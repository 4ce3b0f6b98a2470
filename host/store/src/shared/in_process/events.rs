//! The logs of turns in the memory of one host. Readers of the same host have the turn's own log, so a caller need not
//! append here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
#[cfg(feature = "conformance")]
use std::time::Duration;
use std::time::Instant;

use async_trait::async_trait;

use crate::ids::TurnId;
use crate::shared::events::{
    EVENT_PAGE_BYTES, EventPage, RUNNING_TURN_EVENTS_RETENTION, TURN_EVENTS_RETENTION, TurnEvents,
};

/// How many bytes all logs have together: 64 replies of the greatest size. What comes on top is refused.
const MAX_BYTES: usize = 64 << 20;

/// [`TurnEvents`] within this process.
#[derive(Debug, Default)]
pub struct InProcessTurnEvents {
    logs: Mutex<Logs>,
}

#[derive(Debug, Default)]
struct Logs {
    by_turn: HashMap<TurnId, Log>,
    bytes: usize,
}

#[derive(Debug)]
struct Log {
    attempt: u32,
    events: Vec<String>,
    has_ended: bool,
    bytes: usize,
    until: Instant,
}

impl Logs {
    fn remove_expired(&mut self) {
        let now = Instant::now();
        self.by_turn.retain(|_, log| log.until > now);
        self.bytes = self.by_turn.values().map(|log| log.bytes).sum();
    }

    fn append(
        &mut self,
        turn: TurnId,
        attempt: u32,
        first: usize,
        events: &[String],
        has_ended: bool,
    ) -> bool {
        let (total, is_new, is_closed) = match self.by_turn.get(&turn) {
            Some(log) if log.attempt > attempt => return false,
            Some(log) if log.attempt == attempt => (log.events.len(), false, log.has_ended),
            _ => (0, true, false),
        };
        // Events that are there already come again after an append whose answer was lost.
        let Some(known) = total.checked_sub(first) else { return false };
        let added = events.get(known..).unwrap_or_default();
        if is_closed && !added.is_empty() {
            return false;
        }
        let bytes: usize = added.iter().map(String::len).sum();
        if self.bytes + bytes > MAX_BYTES {
            return false;
        }
        let retention = if has_ended { TURN_EVENTS_RETENTION } else { RUNNING_TURN_EVENTS_RETENTION };
        let until = Instant::now() + retention;
        let empty = || Log { attempt, events: Vec::new(), has_ended: false, bytes: 0, until };
        let log = self.by_turn.entry(turn).or_insert_with(empty);
        if is_new {
            self.bytes -= log.bytes;
            *log = empty();
        }
        log.events.extend_from_slice(added);
        // A repetition of earlier events does not make the log of an ended turn stay longer.
        if has_ended || !log.has_ended {
            log.until = until;
        }
        log.has_ended |= has_ended;
        log.bytes += bytes;
        self.bytes += bytes;
        true
    }
}

impl InProcessTurnEvents {
    fn logs(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves all logs this far into the past.
    #[cfg(feature = "conformance")]
    pub fn pass_time(&self, time: Duration) {
        for log in self.logs().by_turn.values_mut() {
            log.until = log.until.checked_sub(time).unwrap_or_else(Instant::now);
        }
    }
}

#[async_trait]
impl TurnEvents for InProcessTurnEvents {
    async fn append(
        &self,
        turn: TurnId,
        attempt: u32,
        first: u64,
        events: &[String],
        has_ended: bool,
    ) -> bool {
        let Ok(first) = usize::try_from(first) else { return false };
        let mut logs = self.logs();
        logs.remove_expired();
        logs.append(turn, attempt, first, events, has_ended)
    }

    async fn read(&self, turn: TurnId, from: u64) -> Option<EventPage> {
        let logs = self.logs();
        let log = logs.by_turn.get(&turn).filter(|log| log.until > Instant::now())?;
        let rest = usize::try_from(from).ok().and_then(|from| log.events.get(from..)).unwrap_or_default();
        let mut bytes = 0;
        let fits = |event: &&String| {
            let is_first = bytes == 0;
            bytes += event.len();
            is_first || bytes <= EVENT_PAGE_BYTES
        };
        Some(EventPage {
            attempt: log.attempt,
            events: rest.iter().take_while(fits).cloned().collect(),
            total: u64::try_from(log.events.len()).unwrap_or(u64::MAX),
            has_ended: log.has_ended,
        })
    }

    fn is_shared(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_logs_of_all_turns_together_are_bounded() {
        let events = InProcessTurnEvents::default();
        let mebibyte = vec!["x".repeat(1 << 20)];
        for _ in 0..64 {
            assert!(events.append(TurnId::new(), 1, 0, &mebibyte, false).await);
        }
        assert!(!events.append(TurnId::new(), 1, 0, &mebibyte, false).await);
    }
}
