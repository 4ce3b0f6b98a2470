//! Finds the turn that the same request began before.

use std::sync::Arc;

use masque_problem::{Kind, Problem};
use masque_store::{ConversationId, TurnRecord, TurnStatus};

use crate::failure::store_problem;
use crate::host::Host;
use crate::log::{EventLog, EventReader};
use crate::registry::LiveTurn;
use crate::request::{ChatRequest, IdempotencyKey};

use super::pending::Pending;
use super::selection::check_earlier;

/// The route of `Idempotency-Key`s. A key belongs to one owner and one route.
pub(crate) const CHAT_ROUTE: &str = "POST /chat";

/// A turn that the same request began before, and that does not run on this host.
pub(super) enum EarlierTurn {
    /// It is complete and can be replayed.
    Completed(EventReader),
    /// It runs on another host or is to be run again, in this conversation.
    Unfinished(ConversationId),
}

impl Host {
    /// The earlier turn with the same idempotency key, if there is one. A complete one is replayed at once, however busy
    /// its conversation is.
    pub(super) async fn find_earlier(
        &self,
        request: &ChatRequest,
        key: &IdempotencyKey,
    ) -> Result<Option<EarlierTurn>, Problem> {
        let owner = &request.owner;
        let found =
            self.store.keyed(owner, CHAT_ROUTE, &key.key).await.map_err(|error| store_problem(&error))?;
        let Some(found) = found else { return Ok(None) };
        // Checked before the digest, which would tell of a request that the caller may not know.
        check_earlier(request, &found.companion)?;
        if found.digest != key.digest {
            return Err(Problem::from(Kind::IdempotencyMismatch));
        }
        if found.status == TurnStatus::Completed {
            let record = self.store.turn(owner, found.turn).await.map_err(|error| store_problem(&error))?;
            // There is none if the conversation was deleted in between, and the turn with it.
            return record.map(|record| replay(request, record).map(EarlierTurn::Completed)).transpose();
        }
        Ok(Some(EarlierTurn::Unfinished(found.conversation)))
    }

    /// Looks for the earlier turn of the same request, if that was not done before: a reader of it if it is complete. One that
    /// is not complete will be joined or run again.
    pub(super) async fn find_earlier_once(
        &self,
        pending: &mut Pending,
    ) -> Result<Option<EventReader>, Problem> {
        let Some(key) = pending.request.idempotency.as_ref().filter(|_| !pending.resume) else {
            return Ok(None);
        };
        match self.find_earlier(&pending.request, key).await? {
            Some(EarlierTurn::Completed(reader)) => return Ok(Some(reader)),
            // A turn that is run again continues the conversation that its first attempt may have begun.
            Some(EarlierTurn::Unfinished(conversation)) => pending.move_to(conversation),
            None => {}
        }
        pending.resume = true;
        Ok(None)
    }
}

/// A reader of a running turn, for a request with the same idempotency key.
pub(super) fn join(live: &LiveTurn, request: &ChatRequest, digest: &[u8]) -> Result<EventReader, Problem> {
    check_earlier(request, live.log.companion())?;
    match &live.key {
        Some(key) if key.digest == digest => Ok(live.log.reader(None)),
        _ => Err(Problem::from(Kind::IdempotencyMismatch)),
    }
}

/// A reader of a turn that was completed before.
pub(super) fn replay(request: &ChatRequest, record: TurnRecord) -> Result<EventReader, Problem> {
    check_earlier(request, &record.companion)?;
    let Some(response) = record.response else { return Err(Problem::from(Kind::Internal)) };
    let text = record.reply.map(|reply| reply.content).unwrap_or_default();
    let log = EventLog::replay(record.id, record.conversation, record.companion, &text, Arc::new(response));
    Ok(log.reader(None))
}
