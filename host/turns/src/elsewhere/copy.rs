//! Copies the log of a turn that another host runs, for as long as someone reads it here.
//!
//! The copy has the same events with the same numbers, so a reader can change the host in the middle. If the shared log ends
//! before the turn does, or there is none, the copy ends as the store says.

use std::sync::Arc;
use std::time::Duration;

use masque_problem::{Kind, Problem};
use masque_store::{EventPage, InboxMessage, Owner, Recipient, TurnId, TurnRecord, TurnStatus};
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use crate::cancellation::CancelReason;
use crate::failure::store_problem;
use crate::host::{Host, LEASE};
use crate::log::{EventLog, EventReader, TurnEnd, decode};

/// How often the shared log is asked for new events. The host of the turn appends as often.
const READ_INTERVAL: Duration = Duration::from_millis(50);
/// How often the store is asked whether the turn still runs.
const STORE_INTERVAL: Duration = Duration::from_secs(1);
/// The first of these intervals if there is no shared log. They grow, since most replies take longer.
const MIN_STORE_INTERVAL: Duration = Duration::from_millis(250);
/// How long the last events of a turn that has ended in the store may take to appear in the shared log.
const END_WAIT: Duration = Duration::from_millis(500);
/// How often the host of the turn is told that someone reads it. It counts as a reader for twice as long.
const READING_INTERVAL: Duration = Duration::from_secs(5);
/// How long a copy is kept without a reader: one that comes back continues it.
const LINGER: Duration = Duration::from_secs(1);

/// A turn whose log is copied.
struct Original {
    owner: Owner,
    turn: TurnId,
    attempt: u32,
    /// The host that runs it.
    host: Uuid,
}

/// Ends and removes a copy when it is dropped, also if the task that fills it panics.
struct CopyGuard {
    host: Arc<Host>,
    log: Arc<EventLog>,
}

impl Drop for CopyGuard {
    fn drop(&mut self) {
        // Has no effect if the copy has ended normally.
        self.log.end(TurnEnd::Failed(Problem::from(Kind::Internal)));
        self.host.mirrors.remove(&self.log);
    }
}

impl Host {
    /// The beginning of the shared log of an attempt; `None` if there is none.
    pub(crate) async fn shared_events(&self, record: &TurnRecord) -> Option<EventPage> {
        if !self.shared.events.is_shared() {
            return None;
        }
        let page = self.shared.events.read(record.id, 0).await;
        page.filter(|page| page.attempt == record.attempt)
    }

    /// A reader of the events after `after` of a turn that another host runs, or has run a moment ago. `record` is what the
    /// store has just said of the owner's turn.
    pub(crate) fn mirror(
        self: &Arc<Self>,
        owner: &Owner,
        record: &TurnRecord,
        after: Option<u64>,
    ) -> EventReader {
        let (reader, new) = self.mirrors.reader(record, after);
        if let Some(log) = new {
            // The record is on disk, so clients may see the first event.
            log.open();
            let original = Original {
                owner: owner.clone(),
                turn: record.id,
                attempt: record.attempt,
                host: record.host,
            };
            self.tasks.spawn(Arc::clone(self).copy(original, log).in_current_span());
        }
        reader
    }

    /// Fills `log` until the turn ends or nobody reads it any more.
    async fn copy(self: Arc<Self>, original: Original, log: Arc<EventLog>) {
        let _guard = CopyGuard { host: Arc::clone(&self), log: Arc::clone(&log) };
        loop {
            tokio::select! {
                () = self.copy_until_end(&original, &log) => {}
                () = log.abandoned(LINGER) => {}
            }
            if log.has_ended() || self.mirrors.remove_unread(&log) {
                return;
            }
        }
    }

    async fn copy_until_end(&self, original: &Original, log: &EventLog) {
        let is_shared = self.shared.events.is_shared();
        let begun = Instant::now();
        let mut reading_due = begun;
        let mut store_interval = if is_shared { STORE_INTERVAL } else { MIN_STORE_INTERVAL };
        let mut store_due = begun + store_interval;
        let mut store_failed = None;
        while !log.has_ended() {
            let now = Instant::now();
            if now >= reading_due {
                let message = InboxMessage::Reading(original.turn);
                self.shared.inbox.send(Recipient::Host(original.host), message).await;
                reading_due = now + READING_INTERVAL;
            }
            if self.copy_page(original, log).await {
                continue;
            }
            if now >= store_due {
                store_interval = (store_interval * 2).min(STORE_INTERVAL);
                store_due = now + store_interval;
                match self.store.turn(&original.owner, original.turn).await {
                    Ok(Some(found)) if is_running(&found, original) => store_failed = None,
                    Ok(found) => return self.copy_end(original, log, found).await,
                    Err(error) => {
                        let failed = *store_failed.get_or_insert(now);
                        if failed.elapsed() >= LEASE {
                            log.end(TurnEnd::Failed(store_problem(&error)));
                        }
                    }
                }
            }
            // A turn has ended by then, whatever the store says: its host would have ended it, and its lease is over.
            if begun.elapsed() >= self.options.timeout + 2 * LEASE {
                log.end(TurnEnd::Failed(Problem::from(Kind::TurnInterrupted)));
            }
            let next = if is_shared { now + READ_INTERVAL } else { store_due };
            tokio::time::sleep_until(next).await;
        }
    }

    /// Copies what the shared log has at this moment, up to a limit. Returns whether there is more.
    async fn copy_page(&self, original: &Original, log: &EventLog) -> bool {
        if !self.shared.events.is_shared() {
            return false;
        }
        let before = log.event_count();
        let page = self.shared.events.read(original.turn, before).await;
        let Some(page) = page.filter(|page| page.attempt == original.attempt) else { return false };
        for text in &page.events {
            // The store ends the copy of events that this release can't read.
            let Some(event) = decode(text) else { return false };
            if !log.append_copy(event) {
                return false;
            }
        }
        let copied = log.event_count();
        copied > before && copied < page.total
    }

    /// Ends the copy of a turn that does not run any more, which `found` is the record of: with its last events, or as the
    /// store says if these do not appear.
    async fn copy_end(&self, original: &Original, log: &EventLog, found: Option<TurnRecord>) {
        let until = Instant::now() + END_WAIT;
        while self.shared.events.is_shared() && !log.has_ended() && Instant::now() < until {
            if !self.copy_page(original, log).await {
                tokio::time::sleep(READ_INTERVAL).await;
            }
        }
        if !log.has_ended() {
            end_as_stored(log, original.attempt, found);
        }
    }
}

fn is_running(found: &TurnRecord, original: &Original) -> bool {
    found.status == TurnStatus::Running && found.attempt == original.attempt
}

/// Ends a copy by the record of its turn, which does not run any more.
fn end_as_stored(log: &EventLog, attempt: u32, found: Option<TurnRecord>) {
    let end = match found {
        Some(TurnRecord {
            status: TurnStatus::Completed,
            response: Some(response),
            reply,
            attempt: of,
            ..
        }) if of == attempt => {
            let text = reply.map(|reply| reply.content).unwrap_or_default();
            if let Some(rest) = text.strip_prefix(log.text().as_str()) {
                // Can't fail: a copy has no limit.
                let _ = log.write(rest);
            }
            TurnEnd::Completed(Arc::new(response))
        }
        Some(_) => TurnEnd::Failed(Problem::from(Kind::TurnInterrupted)),
        None => TurnEnd::Failed(CancelReason::ConversationDeleted.problem()),
    };
    log.end(end);
}
