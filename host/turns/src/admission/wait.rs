//! Waiting before admission: for other requests with the same key, for the conversation, for the user, and for the host.

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use masque_companions::ActiveSet;
use masque_problem::{Kind, Problem};
use masque_store::{Owner, Target};

use super::earlier::{EarlierTurn, join};
use super::ticket::{Ticket, Waited};
use crate::host::Host;
use crate::keyed_queue::{QueueBusy, QueueSlot};
use crate::request::ChatRequest;

impl Host {
    /// Waits for everything that a turn has to wait for, and pins the active set after that: a turn that has waited uses
    /// the plugins of now. `was_seen` is true if the store knows the request.
    ///
    /// If nothing has to be waited for, an earlier turn of the same request is not looked for here: the store finds it
    /// during admission, and most requests have none. If there is a wait or a refusal, it is looked for first, since a
    /// request that was answered once is answered again at once.
    pub(super) async fn wait_for_slots(
        &self,
        request: ChatRequest,
        arrived: Instant,
        was_seen: bool,
    ) -> Result<Waited, Problem> {
        let set = self.active.current();
        let busy = |_: QueueBusy| Problem::from(Kind::ConversationBusy);
        let key_slot = match &request.idempotency {
            Some(key) => {
                let slot = self.keys.enter((request.owner.clone(), key.key.clone())).await.map_err(busy)?;
                if let Some(live) = self.registry.find_running(&request.owner, &key.key) {
                    return join(&live, &request, &key.digest).map(Waited::Reader);
                }
                Some(slot)
            }
            None => None,
        };
        let target = self.select_target(&request, &set).await;
        let free_slot = match &target {
            Ok(target) if !was_seen => self.conversations.enter(target.conversation()).now_or_never(),
            _ => None,
        };
        let (target, mut conversation_slot, mut resume) = match (target, free_slot, &request.idempotency) {
            (target, Some(Ok(slot)), _) => (target?, slot, false),
            (target, _, None) => {
                let target = target?;
                let conversation = target.conversation();
                (target, self.conversations.enter(conversation).await.map_err(busy)?, false)
            }
            (target, _, Some(key)) => {
                let unfinished = match self.find_earlier(&request, key).await? {
                    Some(EarlierTurn::Completed(reader)) => return Ok(Waited::Reader(reader)),
                    Some(EarlierTurn::Unfinished(conversation)) => Some(conversation),
                    None => None,
                };
                let target = target?;
                // A turn that is run again continues the conversation that its first attempt may have begun.
                let conversation = unfinished.unwrap_or(target.conversation());
                (target, self.conversations.enter(conversation).await.map_err(busy)?, true)
            }
        };
        let (user_slot, host_slot) =
            match (self.wait_for_capacity(&request).now_or_never(), &request.idempotency) {
                (Some(Ok(slots)), _) => slots,
                (_, Some(key)) if !resume => {
                    match self.find_earlier(&request, key).await? {
                        Some(EarlierTurn::Completed(reader)) => return Ok(Waited::Reader(reader)),
                        Some(EarlierTurn::Unfinished(conversation))
                            if conversation != target.conversation() =>
                        {
                            drop(conversation_slot);
                            conversation_slot = self.conversations.enter(conversation).await.map_err(busy)?;
                        }
                        Some(EarlierTurn::Unfinished(_)) | None => {}
                    }
                    resume = true;
                    self.wait_for_capacity(&request).await?
                }
                _ => self.wait_for_capacity(&request).await?,
            };
        let (set, target) = self.pin(&request, set, target).await?;
        Ok(Waited::Ticket(Box::new(Ticket {
            request,
            set,
            target,
            arrived,
            resume,
            key_slot,
            _conversation_slot: conversation_slot,
            _user_slot: user_slot,
            _host_slot: host_slot,
        })))
    }

    /// The active set that the turn uses from here on. It may have changed while the request waited. Then the request is
    /// checked again, since its companion or model may be gone.
    async fn pin(
        &self,
        request: &ChatRequest,
        before: Arc<ActiveSet>,
        target: Target,
    ) -> Result<(Arc<ActiveSet>, Target), Problem> {
        let set = self.active.current();
        if set.generation == before.generation {
            return Ok((set, target));
        }
        let target = match (target, self.select_target(request, &set).await?) {
            // The slot of the conversation was taken for the first id.
            (Target::New { id, .. }, Target::New { companion, title, .. }) => {
                Target::New { id, companion, title }
            }
            (before, _) => before,
        };
        Ok((set, target))
    }

    /// One of the user's slots, if users are bounded, and one of the host's.
    async fn wait_for_capacity(
        &self,
        request: &ChatRequest,
    ) -> Result<(Option<QueueSlot<Owner>>, QueueSlot<()>), Problem> {
        let user_busy = |_: QueueBusy| {
            Problem::new(
                Kind::Overloaded,
                "You have as many turns under way as a user may; wait for one to end.",
            )
        };
        let user_slot = match &self.users {
            Some(users) => Some(users.enter(request.owner.clone()).await.map_err(user_busy)?),
            None => None,
        };
        let host_slot = self.slots.enter(()).await.map_err(|_: QueueBusy| Problem::from(Kind::Overloaded))?;
        Ok((user_slot, host_slot))
    }
}
