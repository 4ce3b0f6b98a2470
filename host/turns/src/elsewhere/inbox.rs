//! What other hosts ask of this one.
//!
//! Threat: whoever can write to the shared memory can send messages. Policy: a message never brings data, and none makes a turn
//! more than it is: it ends one, wakes one that asks the store by itself, or keeps one running for a few seconds. Accepted
//! consequence: such a writer can end turns, as it can everything else that hosts share.

use std::sync::Arc;
use std::time::Duration;

use masque_store::{InboxMessage, TurnId};
use tokio_util::sync::CancellationToken;

use crate::cancellation::CancelReason;
use crate::host::Host;

/// How long a reader on another host counts as a reader after it was last heard of. It is heard of every 5 s.
const READER_LIFETIME: Duration = Duration::from_secs(10);

impl Host {
    /// Handles messages until `stop` is cancelled.
    pub(crate) async fn follow_inbox(&self, stop: CancellationToken) {
        stop.run_until_cancelled(self.handle_messages()).await;
    }

    async fn handle_messages(&self) {
        loop {
            match self.shared.inbox.receive().await {
                InboxMessage::CancelTurn(turn) => {
                    if let Some(live) = self.registry.running_turn(turn) {
                        live.cancellation.cancel(CancelReason::ByClient);
                    }
                }
                InboxMessage::WakeTurn(turn) => self.waiters.wake(turn),
                InboxMessage::Reading(turn) => self.count_reader(turn),
                // Cancellations come with the next heartbeat, and readers say again that they are there.
                InboxMessage::MayHaveMissed => self.waiters.wake_all(),
            }
        }
    }

    /// Counts a reader on another host for its lifetime.
    fn count_reader(&self, turn: TurnId) {
        let Some(live) = self.registry.running_turn(turn) else { return };
        let log = Arc::clone(&live.log);
        let reader = log.reader(None);
        self.tasks.spawn(async move {
            tokio::select! {
                () = log.wait_for_end() => {}
                () = tokio::time::sleep(READER_LIFETIME) => {}
            }
            drop(reader);
        });
    }
}
