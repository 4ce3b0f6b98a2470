//! The log of one turn's reply: the model's text goes in at one end, and any number of readers take it out at their own
//! pace. No reader holds the sandbox, and a slow reader costs no more memory than the reply itself.
//!
//! Events are numbered from 0 without gaps and never change once a reader has seen them, so a reader that comes late or
//! comes back reads the same. Nothing is visible before [`EventLog::open`]: an admission that is not on disk must not be
//! visible to a client. Nothing is visible either once the lease of the running turn may have ended: another attempt may say
//! something else by then. Whether a turn goes on, and what is stored of it, is decided elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use masque_store::{ConversationId, TurnId};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::event::{Event, EventKind, TurnEnd};

/// The most events of one log. An event costs about 160 bytes beside its text, so a model that writes single bytes would
/// otherwise multiply the reply limit by that.
const MAX_EVENTS: usize = 1 << 17;

/// The longest text of one event, in bytes. Written as JSON it has at most six times as many, which is less than the 64 KiB
/// that clients and proxies read as one line.
const MAX_DELTA_BYTES: usize = 10 << 10;

/// How long before the possible end of the turn's lease nothing more is given to readers. What a reader was given may still
/// be on its way to the connection.
pub(super) const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// What an event costs beside its text, in bytes.
const EVENT_OVERHEAD_BYTES: usize = 160;
/// What the log and its last event cost beside the reply, in bytes: the response as a JSON tree with the timing of each
/// plugin.
const LOG_OVERHEAD_BYTES: usize = 4 << 10;

/// The reply has reached its limit; the rest of the text is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogFull {
    /// The bytes of the text that still fitted.
    pub written: usize,
}

/// Whether a reader can resume after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResumePoint {
    /// More events follow, now or later.
    MoreEvents,
    /// It was the last event.
    End,
    /// The log has no such event.
    Unknown,
}

/// The log of one turn.
#[derive(Debug)]
pub struct EventLog {
    turn: TurnId,
    conversation: ConversationId,
    companion: String,
    max_bytes: usize,
    state: Mutex<LogState>,
    /// Notified of every change that a reader may wait for.
    pub(super) changed: watch::Sender<()>,
    pub(super) readers: watch::Sender<usize>,
}

#[derive(Debug, Default)]
pub(super) struct LogState {
    pub(super) events: Vec<Arc<Event>>,
    pub(super) bytes: usize,
    /// The number of events that a reader has seen. Later ones may still grow.
    pub(super) seen: usize,
    pub(super) is_open: bool,
    /// Whether the model has given a sign of life.
    pub(super) has_begun: bool,
    pub(super) ended: Option<Instant>,
    /// When the lease of the running turn may end; `None` if the events need no lease: those of a turn that ended with it,
    /// and those of another log.
    pub(super) lease_ends: Option<Instant>,
}

impl EventLog {
    /// A log that holds at most `max_bytes` of reply. Its first event is there but not yet visible.
    pub fn new(turn: TurnId, conversation: ConversationId, companion: String, max_bytes: usize) -> Arc<Self> {
        let created =
            EventKind::Created { turn_id: turn, conversation_id: conversation, companion: companion.clone() };
        let events = vec![Arc::new(Event { sequence: 0, kind: created })];
        Arc::new(Self {
            turn,
            conversation,
            companion,
            max_bytes,
            state: Mutex::new(LogState { events, ..LogState::default() }),
            changed: watch::Sender::new(()),
            readers: watch::Sender::new(0),
        })
    }

    /// The log of a turn that has ended before, to replay it, with as few events as its text needs.
    pub(crate) fn replay(
        turn: TurnId,
        conversation: ConversationId,
        companion: String,
        text: &str,
        response: Arc<Value>,
    ) -> Arc<Self> {
        let log = Self::new(turn, conversation, companion, usize::MAX);
        // Can't fail: the log has no limit.
        let _ = log.write(text);
        log.end(TurnEnd::Completed(response));
        log
    }

    pub(crate) fn turn(&self) -> TurnId {
        self.turn
    }

    pub(crate) fn conversation(&self) -> ConversationId {
        self.conversation
    }

    /// The companion that answers.
    pub(crate) fn companion(&self) -> &str {
        &self.companion
    }

    /// Makes the events visible. To be called once the admission is on disk.
    pub fn open(&self) {
        self.state().is_open = true;
        self.changed.send_replace(());
    }

    /// Records the model's first sign of life. From here on a failure is reported as an event, not as an HTTP error.
    pub(crate) fn begin(&self) {
        self.state().has_begun = true;
        self.changed.send_replace(());
    }

    /// Appends to the reply and returns the number of bytes. Text that no reader has seen grows in place, so a reader that
    /// is slower than the model gets few large events. Longer text is divided among several events.
    ///
    /// # Errors
    /// [`LogFull`] if the text did not fit; what fits, cut between two characters, is written.
    pub fn write(&self, text: &str) -> Result<usize, LogFull> {
        let mut state = self.state();
        let room = self.max_bytes.saturating_sub(state.bytes);
        let fitting = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
        let written = state.append(fitting);
        drop(state);
        self.changed.send_replace(());
        if written == text.len() { Ok(written) } else { Err(LogFull { written }) }
    }

    /// Appends the last event and makes the log visible. Calls after the first have no effect.
    pub fn end(&self, end: TurnEnd) {
        let mut state = self.state();
        if state.ended.is_none() {
            // A complete exchange was stored under the lease. What else was said after the lease may be another attempt's.
            if matches!(end, TurnEnd::Completed(_)) || !state.is_lease_over() {
                state.lease_ends = None;
            }
            state.push(match end {
                TurnEnd::Completed(response) => EventKind::Completed(response),
                TurnEnd::Failed(problem) => EventKind::Failed(Box::new(problem)),
            });
            state.is_open = true;
            state.ended = Some(Instant::now());
        }
        drop(state);
        self.changed.send_replace(());
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state().ended.is_some()
    }

    /// How the turn ended, once it has.
    pub(crate) fn turn_end(&self) -> Option<TurnEnd> {
        match &self.state().events.last()?.kind {
            EventKind::Completed(response) => Some(TurnEnd::Completed(Arc::clone(response))),
            EventKind::Failed(problem) => Some(TurnEnd::Failed((**problem).clone())),
            EventKind::Created { .. } | EventKind::Delta { .. } => None,
        }
    }

    /// Roughly the memory that the log takes, in bytes. The reply counts twice: it is in the deltas and, once complete, in
    /// the last event.
    pub(crate) fn memory_bytes(&self) -> usize {
        let state = self.state();
        LOG_OVERHEAD_BYTES + 2 * state.bytes + state.events.len() * EVENT_OVERHEAD_BYTES
    }

    /// Whether a reader can resume after the event `id`.
    pub(crate) fn resume_point(&self, id: u64) -> ResumePoint {
        let state = self.state();
        match state.events.last() {
            Some(last) if id == last.sequence && last.kind.is_last() => ResumePoint::End,
            Some(last) if id <= last.sequence => ResumePoint::MoreEvents,
            _ => ResumePoint::Unknown,
        }
    }

    /// Resolves when the turn has had no reader for `linger`.
    pub async fn abandoned(&self, linger: Duration) {
        let mut readers = self.readers.subscribe();
        loop {
            // The sender lives as long as `self`, so neither wait can fail.
            if readers.wait_for(|readers| *readers == 0).await.is_err()
                || tokio::time::timeout(linger, readers.wait_for(|readers| *readers > 0)).await.is_err()
            {
                return;
            }
        }
    }

    /// Resolves when the response's head may be sent: at the model's first sign of life, at the end of the turn, or after
    /// `hold`, but never before the log is open. Returns the end if the turn ended before the model began.
    pub(crate) async fn wait_for_headers(&self, hold: Duration) -> Option<TurnEnd> {
        let until = Instant::now() + hold;
        let early =
            tokio::time::timeout_at(until, self.wait_until(|state| state.is_open && state.has_begun)).await;
        if early.is_err() {
            self.wait_until(|state| state.is_open).await;
        }
        let has_begun = self.state().has_begun;
        if has_begun { None } else { self.turn_end() }
    }

    /// Resolves at the end of the turn.
    pub(crate) async fn wait_for_end(&self) {
        self.wait_until(|_| false).await;
    }

    /// Waits until `condition` holds or the log has ended.
    pub(super) async fn wait_until(&self, condition: impl Fn(&LogState) -> bool) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            {
                let state = self.state();
                if state.ended.is_some() || condition(&state) {
                    return;
                }
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// No code panics while it holds the lock, so a poisoned state would still be consistent.
    pub(super) fn state(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogState {
    /// Appends text and returns how much of it had room, in bytes.
    fn append(&mut self, text: &str) -> usize {
        let mut rest = text;
        while !rest.is_empty() {
            let grown = self.grow_last(rest);
            rest = rest.get(grown..).unwrap_or_default();
            if rest.is_empty() || self.events.len() >= MAX_EVENTS {
                break;
            }
            let (piece, next) = rest.split_at(rest.floor_char_boundary(MAX_DELTA_BYTES));
            self.push(EventKind::Delta { text: piece.to_owned() });
            rest = next;
        }
        let written = text.len() - rest.len();
        self.bytes += written;
        written
    }

    /// Appends the beginning of a text to the last event, as much as fits, if no reader has seen that event. Returns how many
    /// bytes.
    fn grow_last(&mut self, text: &str) -> usize {
        if self.seen < self.events.len()
            && let Some(Event { kind: EventKind::Delta { text: last }, .. }) =
                self.events.last_mut().and_then(Arc::get_mut)
        {
            let room = MAX_DELTA_BYTES.saturating_sub(last.len());
            let piece = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
            last.push_str(piece);
            piece.len()
        } else {
            0
        }
    }

    /// Whether the lease of the running turn may have ended, so that nothing more may be given to readers.
    pub(super) fn is_lease_over(&self) -> bool {
        self.lease_ends.is_some_and(|ends| Instant::now() + LEASE_MARGIN >= ends)
    }

    fn push(&mut self, kind: EventKind) {
        self.events.push(Arc::new(Event { sequence: self.events.len() as u64, kind }));
    }
}
