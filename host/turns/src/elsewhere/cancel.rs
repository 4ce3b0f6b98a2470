//! Ends turns that other hosts run.

use std::time::Duration;

use masque_problem::{Kind, Problem};
use masque_store::{
    ConversationId, InboxMessage, Owner, Recipient, TailLimit, TurnId, TurnRecord, TurnStatus,
};
use tokio::time::Instant;

use crate::failure::store_problem;
use crate::host::Host;

/// How long a cancelled turn may take to end in the store. A host that gets no messages learns of a cancellation with its next
/// heartbeat, after a few seconds.
const END_WAIT: Duration = Duration::from_secs(10);
/// The first wait before the store is asked again. The waits grow.
const MIN_INTERVAL: Duration = Duration::from_millis(25);
/// The longest of these waits.
const MAX_INTERVAL: Duration = Duration::from_millis(400);

impl Host {
    /// Asks the host that runs the owner's turn to end it, if there is one.
    pub(crate) async fn request_cancel(&self, owner: &Owner, turn: TurnId) -> Result<(), Problem> {
        let host = self.store.request_cancel(owner, turn).await.map_err(|error| store_problem(&error))?;
        if let Some(host) = host {
            self.shared.inbox.send(Recipient::Host(host), InboxMessage::CancelTurn(turn)).await;
        }
        Ok(())
    }

    /// The record of a turn that was cancelled, once it has ended.
    ///
    /// # Errors
    /// `CancelPending` if it does not end in time.
    pub(crate) async fn ended_record(&self, owner: &Owner, turn: TurnId) -> Result<TurnRecord, Problem> {
        let until = Instant::now() + END_WAIT;
        let mut interval = MIN_INTERVAL;
        loop {
            let record = self.turn_record(owner, turn).await?;
            if record.status != TurnStatus::Running {
                return Ok(record);
            }
            if Instant::now() >= until {
                return Err(Problem::from(Kind::CancelPending));
            }
            tokio::time::sleep(interval).await;
            interval = (interval * 2).min(MAX_INTERVAL);
        }
    }

    /// One turn of this owner, as stored.
    pub(crate) async fn turn_record(&self, owner: &Owner, turn: TurnId) -> Result<TurnRecord, Problem> {
        let found = self.store.turn(owner, turn).await.map_err(|error| store_problem(&error))?;
        found.ok_or_else(|| Problem::from(Kind::TurnNotFound))
    }

    /// The turn that another host runs in a conversation, if its message is the newest there. `None` also if that can't be
    /// found out.
    pub(crate) async fn running_elsewhere(&self, owner: &Owner, id: ConversationId) -> Option<TurnId> {
        if self.shared.live_hosts.get() < 2 {
            return None;
        }
        let newest = TailLimit { messages: 1, bytes: 0 };
        let newest = self.store.messages_before(owner, id, None, newest).await.ok()?.pop()?;
        let turn = newest.turn.filter(|_| newest.status == TurnStatus::Running.as_str())?;
        self.registry.running_turn(turn).is_none().then_some(turn)
    }

    /// Asks all hosts to end a turn whose conversation was deleted.
    pub(crate) async fn cancel_everywhere(&self, turn: TurnId) {
        self.shared.inbox.send(Recipient::All, InboxMessage::CancelTurn(turn)).await;
    }
}
