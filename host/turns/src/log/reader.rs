//! A reader of one turn's event log.

use std::sync::Arc;
use std::time::Duration;

use masque_problem::{Kind, Problem};
use masque_store::TurnId;
use tokio::sync::watch;

use super::event::{Event, EventKind, TurnEnd};
use super::event_log::EventLog;

/// What one read returns at most: this many events, and text of about this many bytes. A reader that comes late would
/// otherwise get a whole log at once, which takes many times its size while it is written to the connection.
pub(super) const MAX_EVENTS_PER_READ: usize = 256;
pub(super) const MAX_BYTES_PER_READ: usize = 64 << 10;

/// Reads a turn's log at its own pace. The turn counts its readers: dropping the last one may end the turn.
#[derive(Debug)]
pub struct EventReader {
    log: Arc<EventLog>,
    changed: watch::Receiver<()>,
    next: usize,
    /// Whether the turn counts it.
    is_counted: bool,
    /// Whether it was told that the turn has lost its lease. Nothing follows.
    is_cut: bool,
}

impl EventLog {
    /// A reader of the events after `after`, or of all events if `None`.
    pub fn reader(self: &Arc<Self>, after: Option<u64>) -> EventReader {
        EventReader::new(self, after, true)
    }
}

impl EventReader {
    pub(super) fn new(log: &Arc<EventLog>, after: Option<u64>, is_counted: bool) -> Self {
        if is_counted {
            log.readers.send_modify(|readers| *readers += 1);
        }
        let next = after.map_or(0, |after| usize::try_from(after).unwrap_or(usize::MAX).saturating_add(1));
        Self { log: Arc::clone(log), changed: log.changed.subscribe(), next, is_counted, is_cut: false }
    }

    /// The turn that is read.
    pub fn turn(&self) -> TurnId {
        self.log.turn()
    }

    /// See [`EventLog::wait_for_headers`].
    pub(crate) async fn wait_for_headers(&self, hold: Duration) -> Option<TurnEnd> {
        self.log.wait_for_headers(hold).await
    }

    /// Waits for events and returns those that are ready: at least one, and a bounded number. `None` after the last. No
    /// event is lost when the future is dropped.
    ///
    /// Once the lease of the running turn may have ended, the rest is the event [`EventKind::Failed`] with `LeaseLost`, in
    /// the place of the events that this reader was not given yet.
    pub async fn next(&mut self) -> Option<Vec<Arc<Event>>> {
        loop {
            if self.is_cut {
                return None;
            }
            self.changed.borrow_and_update();
            {
                let mut state = self.log.state();
                if state.is_open {
                    if state.is_lease_over() {
                        self.is_cut = true;
                        let kind = EventKind::Failed(Box::new(Problem::from(Kind::LeaseLost)));
                        return Some(vec![Arc::new(Event { sequence: self.next as u64, kind })]);
                    }
                    let ready = one_read(state.events.get(self.next..).unwrap_or_default());
                    if !ready.is_empty() {
                        self.next += ready.len();
                        state.seen = state.seen.max(self.next);
                        return Some(ready);
                    }
                    if state.events.last().is_some_and(|event| event.kind.is_last()) {
                        return None;
                    }
                }
            }
            self.changed.changed().await.ok()?;
        }
    }
}

impl Drop for EventReader {
    fn drop(&mut self) {
        if self.is_counted {
            self.log.readers.send_modify(|readers| *readers -= 1);
        }
    }
}

/// The events that one read returns.
fn one_read(ready: &[Arc<Event>]) -> Vec<Arc<Event>> {
    let mut bytes: usize = 0;
    let fits = |event: &&Arc<Event>| {
        let has_room = bytes < MAX_BYTES_PER_READ;
        if let EventKind::Delta { text } = &event.kind {
            bytes = bytes.saturating_add(text.len());
        }
        has_room
    };
    ready.iter().take(MAX_EVENTS_PER_READ).take_while(fits).cloned().collect()
}
