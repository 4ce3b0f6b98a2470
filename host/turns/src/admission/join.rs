//! Joins a turn of the same request that runs, on this host or another.

use std::sync::Arc;
use std::time::Duration;

use masque_problem::{Kind, Problem};
use masque_store::{TurnId, TurnStatus};
use tokio::time::Instant;
use uuid::Uuid;

use super::earlier::replay;
use super::pending::{Cause, Pending, Progress};
use crate::failure::store_problem;
use crate::host::{Host, LEASE};

/// The first wait before the store is asked again whether the turn has ended. The waits grow, since most replies take longer.
const MIN_INTERVAL: Duration = Duration::from_millis(250);
/// The longest of these waits.
const MAX_INTERVAL: Duration = Duration::from_secs(1);
/// How often the admission is repeated meanwhile. It alone notices that the lease of the turn has expired, since its host has
/// ended.
const ADMISSION_INTERVAL: Duration = Duration::from_secs(5);

impl Host {
    /// A reader of a turn that `host` runs for the same request. If its events can't be read here, waits for its end, which is
    /// replayed; a turn that ends without a complete reply is run again.
    pub(super) async fn join_running(
        self: &Arc<Self>,
        pending: &mut Pending,
        turn: TurnId,
        host: Uuid,
    ) -> Result<Progress<Cause>, Problem> {
        let owner = &pending.request.owner;
        if host == self.id {
            match self.registry.find(owner, turn) {
                Some(live) if !live.log.has_ended() => return Ok(Progress::Reader(live.log.reader(None))),
                None if self.is_orphan(pending, turn) => {
                    pending.place = None;
                    pending.waiting = self.waiters.register(turn);
                    return Ok(Progress::Next(Cause::Woken));
                }
                _ => {}
            }
        }
        let now = Instant::now();
        let ends = *pending.join_ends.get_or_insert(now + self.options.timeout + LEASE);
        let mut interval = MIN_INTERVAL;
        loop {
            let found = self.store.turn(owner, turn).await.map_err(|error| store_problem(&error))?;
            let Some(record) = found else { return Ok(Progress::Next(Cause::Woken)) };
            match record.status {
                TurnStatus::Running => {}
                TurnStatus::Completed => return replay(&pending.request, record).map(Progress::Reader),
                TurnStatus::Interrupted | TurnStatus::Failed => return Ok(Progress::Next(Cause::Woken)),
            }
            if self.shared_events(&record).await.is_some() {
                return Ok(Progress::Reader(self.mirror(owner, &record, None)));
            }
            if Instant::now() >= ends {
                return Err(Problem::from(Kind::ConversationBusy));
            }
            if now.elapsed() >= ADMISSION_INTERVAL {
                return Ok(Progress::Next(Cause::Poll));
            }
            tokio::time::sleep(interval).await;
            interval = (interval * 2).min(MAX_INTERVAL);
        }
    }
    /// Whether nobody runs this turn, which the store has started for this host and the registry does not know: the outcome of
    /// its admission stayed unknown. Under its id, the store starts it for the request at once. The slot of the key keeps
    /// others from doing the same meanwhile. A turn whose end is still being written has been run.
    fn is_orphan(&self, pending: &Pending, turn: TurnId) -> bool {
        pending.key_slot.is_some()
            && pending.waiting.turn() != turn
            && !self.finalizer.pending_turns().contains(&turn)
    }
}
