//! The events of a turn that this host does not know, after the store has said that it is the owner's.

use std::sync::Arc;
use std::time::Duration;

use masque_problem::{Kind, Problem};
use masque_store::{Owner, TurnRecord, TurnStatus};

use crate::host::Host;
use crate::log::EventReader;

/// How long an event that a client has may take to appear in the shared log, and how often it is looked for. The host of the
/// turn gives an event to its own readers first.
const APPEND_WAIT: Duration = Duration::from_millis(500);
const APPEND_INTERVAL: Duration = Duration::from_millis(50);

impl Host {
    /// A reader of the events after `after`. `None` if that was the last. Without a shared log, a turn that runs is read from
    /// its first event alone, and nothing follows that before its end.
    pub(crate) async fn events_elsewhere(
        self: &Arc<Self>,
        owner: &Owner,
        record: &TurnRecord,
        after: Option<u64>,
    ) -> Result<Option<EventReader>, Problem> {
        let gone = || Err(Problem::from(Kind::EventsGone));
        let Some(id) = after else {
            let can_be_read =
                record.status == TurnStatus::Running || self.shared_events(record).await.is_some();
            return if can_be_read { Ok(Some(self.mirror(owner, record, None))) } else { gone() };
        };
        // Every attempt counts its events from 0, so the id may belong to an earlier attempt with another text.
        if record.attempt > 1 {
            return gone();
        }
        let mut waited = Duration::ZERO;
        loop {
            let Some(page) = self.shared_events(record).await else { return gone() };
            let next = id.saturating_add(1);
            if next < page.total || (next == page.total && !page.has_ended) {
                return Ok(Some(self.mirror(owner, record, after)));
            }
            if next == page.total {
                return Ok(None);
            }
            if page.has_ended || waited >= APPEND_WAIT {
                return Err(unknown_event(id));
            }
            tokio::time::sleep(APPEND_INTERVAL).await;
            waited += APPEND_INTERVAL;
        }
    }
}

/// The answer to a reader that names an event which the turn never had.
pub(crate) fn unknown_event(id: u64) -> Problem {
    let detail =
        format!("The turn has had no event {id}; leave `Last-Event-ID` out to read it from the first.");
    Problem::new(Kind::InvalidRequest, detail).with("field", "Last-Event-ID")
}
