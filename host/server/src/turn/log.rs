//! The log of one turn's reply: what the model writes goes in at one end, and any number of readers take it out at
//! their own pace. No reader holds the sandbox, and a slow one costs no more than the reply itself.
//!
//! Events are numbered from 0 without gaps and never change once a reader has seen them, so whoever comes late or
//! comes back reads the same. Nothing is visible before [`Log::open`]: an admission that is not on disk must not be
//! heard of. Whether a turn goes on, and what is kept of it, is decided elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use masque_store::{ConversationId, TurnId};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::problem::Problem;

/// Events that one log holds at most. Each costs some 150 bytes beside its text, and a model that writes one byte at a
/// time would otherwise multiply the reply limit by that.
const MAX_EVENTS: usize = 1 << 17;

/// What one read hands out: so many events, and text up to about so many bytes. A reader that comes late would otherwise
/// be handed a whole log at once, which takes many times its size by the time it is written down.
const READ_EVENTS: usize = 256;
const READ_BYTES: usize = 64 << 10;

/// What an event costs beside its text.
const EVENT_BYTES: usize = 160;
/// What the log and its last event cost beside the reply: the response as a tree, with a share for each plugin.
const LOG_BYTES: usize = 4 << 10;

/// One event of a turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// From 0, without gaps.
    pub(crate) sequence: u64,
    pub(crate) kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EventKind {
    /// Always the first. Acknowledges nothing.
    Created { turn_id: TurnId, conversation_id: ConversationId, companion: String },
    /// More of the reply.
    Delta { text: String },
    /// Last: the reply as JSON clients get it. The exchange is on disk.
    Completed(Arc<Value>),
    /// Last: why there is no complete reply.
    Failed(Box<Problem>),
}

impl EventKind {
    fn is_last(&self) -> bool {
        matches!(self, Self::Completed(_) | Self::Failed(_))
    }
}

/// How a turn ended, as its readers hear of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    Completed(Arc<Value>),
    Failed(Problem),
}

/// The reply has reached its limit; the rest of what was offered is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    /// Bytes of the text that still fitted.
    pub(crate) written: usize,
}

/// What follows an event of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Other events, in time.
    More,
    /// Nothing: it was the last.
    Nothing,
    /// The log has no such event.
    Unknown,
}

/// The log of one turn.
#[derive(Debug)]
pub(crate) struct Log {
    turn: TurnId,
    limit: usize,
    state: Mutex<State>,
    /// Raised by every change that a reader may wait for.
    changed: watch::Sender<()>,
    readers: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<Arc<Event>>,
    bytes: usize,
    /// Events before this one have been handed to a reader.
    seen: usize,
    open: bool,
    begun: bool,
    ended: Option<Instant>,
}

impl Log {
    /// A log that will hold `limit` bytes of reply at most.
    pub(crate) fn new(
        turn: TurnId,
        conversation: ConversationId,
        companion: String,
        limit: usize,
    ) -> Arc<Self> {
        let created = EventKind::Created { turn_id: turn, conversation_id: conversation, companion };
        let events = vec![Arc::new(Event { sequence: 0, kind: created })];
        Arc::new(Self {
            turn,
            limit,
            state: Mutex::new(State { events, ..State::default() }),
            changed: watch::Sender::new(()),
            readers: watch::Sender::new(0),
        })
    }

    /// A log that has ended already: what an answered request is replayed from.
    pub(crate) fn replay(
        turn: TurnId,
        conversation: ConversationId,
        companion: String,
        text: &str,
        response: Arc<Value>,
    ) -> Arc<Self> {
        let log = Self::new(turn, conversation, companion, usize::MAX);
        // A log without a limit takes everything.
        let _ = log.write(text);
        log.end(End::Completed(response));
        log
    }

    pub(crate) fn turn(&self) -> TurnId {
        self.turn
    }

    /// The admission is on disk: readers may see that the turn exists.
    pub(crate) fn open(&self) {
        self.state().open = true;
        self.changed.send_replace(());
    }

    /// The model gave a sign of life; from here on a failure is an event.
    pub(crate) fn begin(&self) {
        self.state().begun = true;
        self.changed.send_replace(());
    }

    /// Appends to the reply. Text that no reader has taken yet grows in place: that is one event for a reader that is
    /// slower than the model. Returns how many bytes were written: all of them.
    pub(crate) fn write(&self, text: &str) -> Result<usize, Full> {
        let mut state = self.state();
        let room = self.limit.saturating_sub(state.bytes);
        let fits = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
        let written = if state.append(fits) { fits.len() } else { 0 };
        drop(state);
        self.changed.send_replace(());
        if written == text.len() { Ok(written) } else { Err(Full { written }) }
    }

    /// The last event; what comes after the first end is ignored.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.state();
        if state.ended.is_none() {
            state.push(match end {
                End::Completed(response) => EventKind::Completed(response),
                End::Failed(problem) => EventKind::Failed(Box::new(problem)),
            });
            state.open = true;
            state.ended = Some(Instant::now());
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// How the turn ended and when, once it has.
    pub(crate) fn ended(&self) -> Option<(End, Instant)> {
        let state = self.state();
        let at = state.ended?;
        match &state.events.last()?.kind {
            EventKind::Completed(response) => Some((End::Completed(Arc::clone(response)), at)),
            EventKind::Failed(problem) => Some((End::Failed((**problem).clone()), at)),
            EventKind::Created { .. } | EventKind::Delta { .. } => None,
        }
    }

    /// Bytes of memory that the log takes, roughly: the reply stands in the deltas and, once it is whole, in the last
    /// event.
    pub(crate) fn cost(&self) -> usize {
        let state = self.state();
        LOG_BYTES + 2 * state.bytes + state.events.len() * EVENT_BYTES
    }

    /// A reader of everything after `after`; from the first event if `None`.
    pub(crate) fn reader(self: &Arc<Self>, after: Option<u64>) -> Reader {
        self.readers.send_modify(|readers| *readers += 1);
        let next = after.map_or(0, |after| usize::try_from(after).unwrap_or(usize::MAX).saturating_add(1));
        Reader { log: Arc::clone(self), changed: self.changed.subscribe(), next }
    }

    /// What follows the event `id`.
    pub(crate) fn after(&self, id: u64) -> After {
        let state = self.state();
        match state.events.last() {
            Some(last) if id == last.sequence && last.kind.is_last() => After::Nothing,
            Some(last) if id <= last.sequence => After::More,
            _ => After::Unknown,
        }
    }

    /// Resolves when the turn has had no reader for `linger`.
    pub(crate) async fn deserted(&self, linger: Duration) {
        let mut readers = self.readers.subscribe();
        loop {
            // The sender lives as long as `self`: neither wait can fail.
            if readers.wait_for(|readers| *readers == 0).await.is_err()
                || tokio::time::timeout(linger, readers.wait_for(|readers| *readers > 0)).await.is_err()
            {
                return;
            }
        }
    }

    /// Resolves when headers may leave: at the model's first sign of life, at the end, or after `hold`, though never
    /// before the log is open. Says how the turn ended if it did before the model had begun.
    pub(crate) async fn headers(&self, hold: Duration) -> Option<End> {
        let until = Instant::now() + hold;
        let early = tokio::time::timeout_at(until, self.when(|state| state.open && state.begun)).await;
        if early.is_err() {
            self.when(|state| state.open).await;
        }
        let begun = self.state().begun;
        if begun { None } else { self.ended().map(|(end, _)| end) }
    }

    /// Resolves with the end of the turn.
    pub(crate) async fn finished(&self) {
        self.when(|_| false).await;
    }

    /// Waits until `reached` holds or the log has ended.
    async fn when(&self, reached: impl Fn(&State) -> bool) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            {
                let state = self.state();
                if state.ended.is_some() || reached(&state) {
                    return;
                }
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// No code panics while it holds the lock; if one ever does, the state is still whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there was room for an event.
    fn append(&mut self, text: &str) -> bool {
        if text.is_empty() {
            return true;
        }
        if self.seen < self.events.len()
            && let Some(Event { kind: EventKind::Delta { text: last }, .. }) =
                self.events.last_mut().and_then(Arc::get_mut)
        {
            last.push_str(text);
        } else if self.events.len() < MAX_EVENTS {
            self.push(EventKind::Delta { text: text.to_owned() });
        } else {
            return false;
        }
        self.bytes += text.len();
        true
    }

    fn push(&mut self, kind: EventKind) {
        self.events.push(Arc::new(Event { sequence: self.events.len() as u64, kind }));
    }
}

/// Reads a turn's log at its own pace. Dropping it counts as leaving.
#[derive(Debug)]
pub(crate) struct Reader {
    log: Arc<Log>,
    changed: watch::Receiver<()>,
    next: usize,
}

impl Reader {
    pub(crate) fn turn(&self) -> TurnId {
        self.log.turn
    }

    /// See [`Log::headers`].
    pub(crate) async fn headers(&self, hold: Duration) -> Option<End> {
        self.log.headers(hold).await
    }

    /// The events that are ready, at least one and no more than a bounded part of them. `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Vec<Arc<Event>>> {
        loop {
            self.changed.borrow_and_update();
            {
                let mut state = self.log.state();
                if state.open {
                    let ready = part(state.events.get(self.next..).unwrap_or_default());
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

/// What one read takes of the events that are ready.
fn part(ready: &[Arc<Event>]) -> Vec<Arc<Event>> {
    let mut bytes: usize = 0;
    let fits = |event: &&Arc<Event>| {
        let room = bytes < READ_BYTES;
        if let EventKind::Delta { text } = &event.kind {
            bytes = bytes.saturating_add(text.len());
        }
        room
    };
    ready.iter().take(READ_EVENTS).take_while(fits).cloned().collect()
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.log.readers.send_modify(|readers| *readers -= 1);
    }
}

#[cfg(test)]
mod tests;
