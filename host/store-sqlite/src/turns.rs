//! [`Turns`].

use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    Admission, Admitted, Commit, ConversationId, Ending, Failed, Heartbeat, Interruption, KeyedTurn, Owner,
    StoreError, TurnId, TurnRecord, Turns,
};
use uuid::Uuid;

use crate::admission::Admit;
use crate::columns::now;
use crate::leases::{RecordHeartbeat, Recover, RequestCancel};
use crate::store::SqliteStore;
use crate::sweep::Sweep;
use crate::turn_rows::{find_keyed, load_turn};

#[async_trait]
impl Turns for SqliteStore {
    async fn admit(&self, admission: Admission) -> Result<Admitted, StoreError> {
        let admit = Admit { admission, tickets: self.tickets().clone() };
        let (outcome, durable) = self.submit(admit).await?;
        Ok(Admitted { outcome, durable })
    }

    async fn commit(&self, commit: Commit) -> Result<Ending, StoreError> {
        let conversation = commit.conversation;
        let ending = self.write(commit).await?;
        Ok(self.with_next(ending, conversation))
    }

    async fn interrupt(&self, interruption: Interruption) -> Result<Ending, StoreError> {
        let conversation = interruption.conversation;
        let ending = self.write(interruption).await?;
        Ok(self.with_next(ending, conversation))
    }

    async fn fail(&self, failure: Failed) -> Result<Ending, StoreError> {
        let conversation = failure.conversation;
        let ending = self.write(failure).await?;
        Ok(self.with_next(ending, conversation))
    }

    async fn turn(&self, owner: &Owner, id: TurnId) -> Result<Option<TurnRecord>, StoreError> {
        let owner = owner.clone();
        self.read(move |connection| load_turn(connection, &owner, id)).await
    }

    async fn keyed(&self, owner: &Owner, route: &str, key: &str) -> Result<Option<KeyedTurn>, StoreError> {
        let (owner, route, key) = (owner.clone(), route.to_owned(), key.to_owned());
        self.read(move |connection| find_keyed(connection, &owner, &route, &key, now())).await
    }

    async fn stop_waiting(&self, _conversation: ConversationId, turn: TurnId) -> Result<(), StoreError> {
        self.tickets().remove(turn);
        Ok(())
    }

    async fn heartbeat(
        &self,
        host: Uuid,
        turns: &[TurnId],
        lease: Duration,
    ) -> Result<Heartbeat, StoreError> {
        if turns.is_empty() {
            // No other host asks whether this one lives.
            return Ok(Heartbeat { live_hosts: 1, ..Heartbeat::default() });
        }
        self.write(RecordHeartbeat { host, turns: turns.to_vec(), lease }).await
    }

    async fn request_cancel(&self, owner: &Owner, turn: TurnId) -> Result<Option<Uuid>, StoreError> {
        self.write(RequestCancel { owner: owner.clone(), turn }).await
    }

    async fn recover(&self, host: Uuid) -> Result<u64, StoreError> {
        self.write(Recover { host }).await
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        self.tickets().sweep();
        let (mut removed, mut failure) = (0, None);
        for kind in Sweep::ALL {
            match self.write(kind).await {
                Ok(rows) => removed += rows,
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if removed == 0 => Err(error),
            // The failure shows again when nothing else is left to remove.
            _ => Ok(removed),
        }
    }
}

impl SqliteStore {
    /// The end of a turn with the turn that waits first by then.
    fn with_next(&self, ending: Ending, conversation: ConversationId) -> Ending {
        match ending {
            Ending::Done { reply, .. } => Ending::Done { reply, next: self.tickets().next(conversation) },
            Ending::LeaseLost => Ending::LeaseLost,
        }
    }
}
