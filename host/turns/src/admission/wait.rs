//! Waiting before admission: for other requests with the same key, for slots of the user and the host, and for the
//! conversation.

use std::time::{Duration, Instant};

use futures::FutureExt;
use masque_problem::{Kind, Problem};
use masque_store::{ConversationId, MessageId, SharedStatus, Target, TurnId};
use masque_telemetry::metrics::turns::{REFUSED, WAITING};
use masque_telemetry::trace::SpanParent;

use super::capacity::Capacity;
use super::earlier::{EarlierTurn, join};
use super::pending::{Cause, Pending, Progress};
use crate::host::Host;
use crate::keyed_queue::QueueBusy;
use crate::request::ChatRequest;
use crate::reserved_place::ReservedPlace;
use crate::waiters::Wait;

/// How often a waiting turn asks the store if a message wakes it in time nearly always: a message can be lost, and a host that
/// ended sends none. Each question is a transaction that locks the conversation.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The same if other hosts can't send messages to this one: the time that the end of a turn elsewhere goes unnoticed.
const POLL_INTERVAL_ALONE: Duration = Duration::from_millis(250);

impl Host {
    /// Waits for other requests with the same key, and finds out what the request means.
    ///
    /// An earlier turn of the same request is not looked for here: the store finds it during admission, and most requests have
    /// none. If there is a wait or a refusal, it is looked for first, since a request that was answered once is answered again
    /// at once.
    pub(super) async fn prepare(
        &self,
        request: ChatRequest,
        arrived: Instant,
        trace: SpanParent,
    ) -> Result<Progress<Box<Pending>>, Problem> {
        let set = self.active.current();
        let key_slot = match &request.idempotency {
            Some(key) => {
                let mut entering = Box::pin(self.keys.enter((request.owner.clone(), key.key.clone())));
                let slot = match (&mut entering).now_or_never() {
                    Some(slot) => slot,
                    None => {
                        // Whoever waits holds no place of the user.
                        drop(request.place.as_ref().and_then(ReservedPlace::take));
                        let _span = trace.span("wait for idempotency key");
                        entering.await
                    }
                };
                let slot = slot.map_err(|_: QueueBusy| Problem::from(Kind::ConversationBusy))?;
                if let Some(live) = self.registry.find_running(&request.owner, &key.key) {
                    return join(&live, &request, &key.digest).map(Progress::Reader);
                }
                Some(slot)
            }
            None => None,
        };
        let target = match self.select_target(&request, &set).await {
            Ok(target) => target,
            Err(problem) => {
                let Some(key) = &request.idempotency else { return Err(problem) };
                return match self.find_earlier(&request, key).await? {
                    Some(EarlierTurn::Completed(reader)) => Ok(Progress::Reader(reader)),
                    Some(EarlierTurn::Unfinished(_)) | None => Err(problem),
                };
            }
        };
        Ok(Progress::Next(Box::new(Pending {
            conversation: target.conversation(),
            request,
            arrived,
            trace,
            set,
            target,
            resume: false,
            key_slot,
            waiting: self.waiters.register(TurnId::new()),
            message: MessageId::new(),
            place: None,
            wait_ends: None,
            join_ends: None,
        })))
    }

    /// Takes the slots that the turn needs, and pins the active set after that: a turn that has waited uses the plugins of
    /// now.
    ///
    /// Without a free slot, a request whose conversation is busy waits for the conversation, as it would with a slot.
    pub(super) async fn take_capacity(
        &self,
        pending: &mut Pending,
        mut cause: Cause,
    ) -> Result<Progress<Capacity>, Problem> {
        let capacity = loop {
            if let Some(capacity) = self.try_capacity(&pending.request).await {
                break capacity;
            }
            if let Some(reader) = self.find_earlier_once(pending).await? {
                return Ok(Progress::Reader(reader));
            }
            let is_busy = match cause {
                Cause::Poll => true,
                Cause::Arrived => self.is_busy_here(pending.conversation),
                Cause::Woken => false,
            };
            if !is_busy {
                match self.wait_for_capacity(&pending.request, &pending.trace).await {
                    Ok(capacity) => break capacity,
                    // Another turn of the conversation got the slot.
                    Err(_) if self.is_busy_here(pending.conversation) => {}
                    Err(missing) => {
                        REFUSED.increment(&[missing.reason()]);
                        return Err(missing.problem());
                    }
                }
            }
            cause = self.wait_for_conversation(pending).await?;
        };
        self.pin(pending).await?;
        Ok(Progress::Next(capacity))
    }

    /// Waits until it makes sense to ask the store for the conversation again.
    ///
    /// # Errors
    /// `ConversationBusy` if the turn has waited for long enough, or as many turns wait without a place as may wait.
    pub(super) async fn wait_for_conversation(&self, pending: &mut Pending) -> Result<Cause, Problem> {
        let busy = || Problem::from(Kind::ConversationBusy);
        let wait = Wait { conversation: pending.conversation, has_place: pending.place.is_some() };
        if !wait.has_place && self.waiters.count(wait.conversation) >= self.options.max_waiting {
            return Err(busy());
        }
        let (_waiting, _span) =
            (WAITING.raise(&["conversation"]), pending.trace.span("wait for conversation"));
        let now = tokio::time::Instant::now();
        let ends = *pending.wait_ends.get_or_insert(now + self.options.max_wait);
        tokio::select! {
            biased;
            () = pending.waiting.woken(wait) => Ok(Cause::Woken),
            () = tokio::time::sleep_until(ends) => Err(busy()),
            () = tokio::time::sleep(self.poll_interval()) => Ok(Cause::Poll),
        }
    }

    /// How often a waiting turn asks the store without being woken.
    fn poll_interval(&self) -> Duration {
        match self.shared.health.status() {
            SharedStatus::Connected => POLL_INTERVAL,
            // This host alone ends turns, and wakes those that wait itself.
            SharedStatus::InProcess if self.shared.live_hosts.get() == 1 => POLL_INTERVAL,
            SharedStatus::InProcess | SharedStatus::Unavailable { .. } => POLL_INTERVAL_ALONE,
        }
    }

    /// Whether a turn of this host runs in the conversation, or waits for it.
    fn is_busy_here(&self, conversation: ConversationId) -> bool {
        self.waiters.count(conversation) > 0 || self.registry.runs_in(conversation)
    }

    /// The active set that the turn uses from here on. It may have changed while the request waited. Then the request is
    /// checked again, since its companion or model may be gone.
    async fn pin(&self, pending: &mut Pending) -> Result<(), Problem> {
        let set = self.active.current();
        if set.generation == pending.set.generation {
            return Ok(());
        }
        let again = self.select_target(&pending.request, &set).await?;
        if let (
            Target::New { companion, title, .. },
            Target::New { companion: now_with, title: now_titled, .. },
        ) = (&mut pending.target, again)
        {
            // The id stays.
            (*companion, *title) = (now_with, now_titled);
        }
        pending.set = set;
        Ok(())
    }
}
