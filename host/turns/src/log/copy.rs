//! Copies of a log: its events as other hosts get them, and the local log that is made of these.

use super::event::{Event, EventKind};
use super::event_log::EventLog;
use super::reader::EventReader;

impl EventLog {
    /// Appends an event of the log that this one is a copy of, and makes the log visible. An event that it has already is
    /// passed over. Returns false, with nothing appended, if an event before it is missing.
    pub(crate) fn append_copy(&self, event: Event) -> bool {
        let mut state = self.state();
        let next = state.events.len() as u64;
        if event.sequence > next {
            return false;
        }
        state.is_open = true;
        if event.sequence == next && state.ended.is_none() {
            match &event.kind {
                EventKind::Created { .. } => {}
                EventKind::Delta { text } => {
                    state.has_begun = true;
                    state.bytes += text.len();
                }
                EventKind::Completed(_) | EventKind::Failed(_) => {
                    state.ended = Some(tokio::time::Instant::now());
                }
            }
            state.events.push(event.into());
        }
        drop(state);
        self.changed.send_replace(());
        true
    }

    /// How many events the log has.
    pub(crate) fn event_count(&self) -> u64 {
        self.state().events.len() as u64
    }

    /// The text of all deltas.
    pub(crate) fn text(&self) -> String {
        let state = self.state();
        let texts = state.events.iter().map(|event| match &event.kind {
            EventKind::Delta { text } => text.as_str(),
            _ => "",
        });
        texts.collect()
    }

    /// How many readers the turn has.
    pub(crate) fn reader_count(&self) -> usize {
        *self.readers.borrow()
    }

    /// The length of all deltas, in bytes.
    pub(crate) fn text_bytes(&self) -> usize {
        self.state().bytes
    }

    /// Resolves when the deltas have at least `bytes`, or the turn has ended.
    pub(crate) async fn wait_for_text(&self, bytes: usize) {
        self.wait_until(|state| state.bytes >= bytes).await;
    }

    /// A reader of all events that does not count as one: the turn does not go on for it.
    pub(crate) fn observer(self: &std::sync::Arc<Self>) -> EventReader {
        EventReader::new(self, None, false)
    }
}
