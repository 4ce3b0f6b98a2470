//! The turns of other hosts that are read on this one: a copy of the log of each, which all its readers share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use masque_problem::{Kind, Problem};
use masque_store::{TurnId, TurnRecord};

use crate::log::{EventLog, EventReader, TurnEnd};

/// The copied logs that are being read, by turn.
#[derive(Default)]
pub(crate) struct Mirrors(Mutex<HashMap<TurnId, Mirror>>);

struct Mirror {
    log: Arc<EventLog>,
    /// The attempt that the log is of.
    attempt: u32,
}

impl Mirrors {
    /// A reader of the events of a running attempt after `after`. If there is no copy yet, also the empty log that the caller
    /// has to fill.
    pub(crate) fn reader(
        &self,
        record: &TurnRecord,
        after: Option<u64>,
    ) -> (EventReader, Option<Arc<EventLog>>) {
        let mut mirrors = self.mirrors();
        let present = mirrors.get(&record.id).filter(|mirror| mirror.attempt == record.attempt);
        if let Some(mirror) = present {
            return (mirror.log.reader(after), None);
        }
        let log = EventLog::new(record.id, record.conversation, record.companion.clone(), usize::MAX);
        let reader = log.reader(after);
        mirrors.insert(record.id, Mirror { log: Arc::clone(&log), attempt: record.attempt });
        (reader, Some(log))
    }

    /// Removes a copy, unless it has a reader. Returns whether it has none.
    pub(crate) fn remove_unread(&self, log: &Arc<EventLog>) -> bool {
        let mut mirrors = self.mirrors();
        // A reader begins under the same lock.
        if log.reader_count() > 0 {
            return false;
        }
        remove(&mut mirrors, log);
        true
    }

    /// Removes a copy. Its readers keep it.
    pub(crate) fn remove(&self, log: &Arc<EventLog>) {
        remove(&mut self.mirrors(), log);
    }

    /// Ends the streams of all readers, since the host stops.
    pub(crate) fn interrupt_all(&self) {
        for mirror in self.mirrors().values() {
            mirror.log.end(TurnEnd::Failed(Problem::from(Kind::TurnInterrupted)));
        }
    }

    fn mirrors(&self) -> MutexGuard<'_, HashMap<TurnId, Mirror>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The copy of a later attempt stays.
fn remove(mirrors: &mut HashMap<TurnId, Mirror>, log: &Arc<EventLog>) {
    if mirrors.get(&log.turn()).is_some_and(|present| Arc::ptr_eq(&present.log, log)) {
        mirrors.remove(&log.turn());
    }
}
