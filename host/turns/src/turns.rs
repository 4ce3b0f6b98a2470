//! The turns of one host, as the API uses them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use masque_companions::Active;
use masque_problem::{Kind, Problem};
use masque_store::{
    Budgets, ConversationId, MessageId, NewMessage, Owner, Shared, Store, TurnId, TurnRecord, TurnStatus,
};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::admission::{CHAT_ROUTE, only_companion};
use crate::cancellation::CancelReason;
use crate::elsewhere::unknown_event;
use crate::failure::store_problem;
use crate::host::Host;
use crate::log::{EventReader, ResumePoint, TurnEnd};
use crate::options::Options;
use crate::request::{ChatRequest, GreetingRequest};
use crate::reserved_place::ReservedPlace;

/// How long turns that have ended or were cancelled may take, when the host stops, to store what there is of them.
const FINALIZE_GRACE: Duration = Duration::from_secs(5);

/// All turns of one host. Cheap to clone.
#[derive(Clone)]
pub struct Turns(Arc<Host>);

impl Turns {
    /// Turns that are stored in `store` and answered by the companions of `active`. `shared` is what the hosts of the
    /// installation share in memory, and `host` names this process in it and in the store.
    pub fn new(
        store: Arc<dyn Store>,
        active: Arc<Active>,
        options: Options,
        shared: Shared,
        host: Uuid,
    ) -> Self {
        Self(Arc::new(Host::new(store, active, options, shared, host)))
    }

    /// Takes a place of the user for a turn that is about to be asked for, if users are bounded and a place is free at once.
    /// Without one, [`Turns::chat`] waits for it.
    pub async fn reserve(&self, owner: &Owner) -> Option<ReservedPlace> {
        self.0.users.as_ref()?.take(owner).await.map(ReservedPlace::new)
    }

    /// Begins a turn, joins one that runs, or replays one that is complete. Resolves when the head of the response may be
    /// sent: at the model's first sign of life, at the end of the turn, or after [`Options::stream_hold`]. If the future is
    /// dropped after the turn has begun, the turn counts it as a reader that has left.
    ///
    /// # Errors
    /// What ended the turn before the head of the response could be sent, or why it did not begin.
    pub async fn chat(&self, request: ChatRequest) -> Result<EventReader, Problem> {
        let host = &self.0;
        let reader = Arc::clone(host).admit(request).await?;
        match reader.wait_for_headers(host.options.stream_hold).await {
            Some(TurnEnd::Failed(problem)) => Err(problem),
            Some(TurnEnd::Completed(_)) | None => Ok(reader),
        }
    }

    /// Whether a request with this idempotency key was answered or is being answered, on whichever host. Sending it again costs
    /// nothing then.
    ///
    /// # Errors
    /// `StorageUnavailable`.
    pub async fn is_answered(&self, owner: &Owner, key: &str) -> Result<bool, Problem> {
        if self.0.registry.find_running(owner, key).is_some() {
            return Ok(true);
        }
        let found =
            self.0.store.keyed(owner, CHAT_ROUTE, key).await.map_err(|error| store_problem(&error))?;
        Ok(found.is_some_and(|turn| matches!(turn.status, TurnStatus::Completed | TurnStatus::Running)))
    }

    /// A reader of the events of a turn after the event `after`, on whichever host the turn runs. `None` if that was the last.
    ///
    /// # Errors
    /// `TurnNotFound`, `EventsGone` if the log is no longer kept or can't be read from here, `InvalidRequest` for an event that
    /// the turn never had, `StorageUnavailable`.
    pub async fn events(
        &self,
        owner: &Owner,
        turn: TurnId,
        after: Option<u64>,
    ) -> Result<Option<EventReader>, Problem> {
        let host = &self.0;
        let Some(live) = host.registry.find(owner, turn) else {
            let record = host.turn_record(owner, turn).await?;
            return host.events_elsewhere(owner, &record, after).await;
        };
        if live.log.has_ended() || host.shared.live_hosts.get() > 1 {
            // Another process may have erased the user or deleted the conversation since, and another host may have run the
            // turn again.
            let record = host.turn_record(owner, turn).await?;
            if record.attempt > live.attempt {
                return host.events_elsewhere(owner, &record, after).await;
            }
        }
        match after {
            // Every attempt counts its events from 0, so the id may belong to an earlier attempt with another text.
            Some(_) if live.attempt > 1 => Err(Problem::from(Kind::EventsGone)),
            Some(id) => match live.log.resume_point(id) {
                ResumePoint::MoreEvents => Ok(Some(live.log.reader(after))),
                ResumePoint::End => Ok(None),
                ResumePoint::Unknown => Err(unknown_event(id)),
            },
            None => Ok(Some(live.log.reader(None))),
        }
    }

    /// Cancels a turn, on whichever host it runs, waits for its end and returns its record. A turn that has ended already stays
    /// as it is.
    ///
    /// # Errors
    /// `TurnNotFound`, `CancelPending` if the turn does not end in time, `StorageUnavailable`.
    pub async fn cancel(&self, owner: &Owner, turn: TurnId) -> Result<TurnRecord, Problem> {
        let host = &self.0;
        match host.registry.find(owner, turn).filter(|live| !live.log.has_ended()) {
            Some(live) => {
                live.cancellation.cancel(CancelReason::ByClient);
                live.log.wait_for_end().await;
            }
            None => host.request_cancel(owner, turn).await?,
        }
        host.ended_record(owner, turn).await
    }

    /// Deletes a conversation and cancels the turn that runs in it, on whichever host. False if there is no such conversation.
    ///
    /// # Errors
    /// `StorageUnavailable`.
    pub async fn delete_conversation(
        &self,
        owner: &Owner,
        conversation: ConversationId,
    ) -> Result<bool, Problem> {
        let host = &self.0;
        // Its turns can't be found any more once it is deleted.
        let elsewhere = host.running_elsewhere(owner, conversation).await;
        if !host.store.delete(owner, conversation).await.map_err(|error| store_problem(&error))? {
            return Ok(false);
        }
        self.conversation_deleted(owner, conversation);
        if let Some(turn) = elsewhere {
            host.cancel_everywhere(turn).await;
        }
        Ok(true)
    }

    /// Cancels the turn that runs in a conversation which the owner has deleted from the store. Its readers are told so.
    ///
    /// A turn that the store has just admitted, and that has not begun, is not cancelled here, nor is one of another host. It
    /// ends when its lease is renewed or its end is stored, whichever comes first, with the same problem.
    pub fn conversation_deleted(&self, owner: &Owner, conversation: ConversationId) {
        self.0.registry.cancel_if(CancelReason::ConversationDeleted, |live| {
            live.log.conversation() == conversation && live.owner == *owner
        });
    }

    /// Cancels all turns of a user who was erased from the store, and forgets the events of those that have ended.
    pub fn user_erased(&self, owner: &Owner) {
        self.0.registry.cancel_if(CancelReason::UserErased, |live| live.owner == *owner);
        self.0.registry.forget_ended(owner);
    }

    /// The name of the companion that a new conversation without a name is with: the only one. `allowed` are the companions
    /// that the caller may talk to; `None` for all.
    ///
    /// # Errors
    /// `CompanionNotNamed` if there are several, whose names are in the detail; `CompanionNotFound` or `CompanionNotAllowed`
    /// if there is none.
    pub fn only_companion(&self, allowed: Option<&BTreeSet<String>>) -> Result<String, Problem> {
        only_companion(&self.0.active.current(), allowed).map(|companion| companion.name.clone())
    }

    /// The greeting of a companion for a conversation that is about to begin: the one with the index of the request, or the
    /// first. `None` if the companion has no greetings and no index was given. It has a trace if the persona is called.
    ///
    /// # Errors
    /// `CompanionNotFound`, `InvalidRequest` if there is no such greeting, `BudgetSpent` if the persona could not ask the
    /// model for that reason, or why its call failed.
    pub async fn greet(&self, request: GreetingRequest) -> Result<Option<NewMessage>, Problem> {
        let greeting = self.0.greeting(request).await?;
        Ok(greeting.map(|content| NewMessage { id: MessageId::new(), content, metadata: json!({}) }))
    }

    /// How many turns run, are being admitted, or are read here while another host runs them.
    pub fn running(&self) -> usize {
        self.0.tasks.len()
    }

    /// Notified when a turn has left background jobs.
    pub fn new_jobs(&self) -> Arc<Notify> {
        self.0.finalizer.new_jobs()
    }

    /// The budgets that the host's turns and jobs debit. Their tokens reach the store while [`Budgets::keep_reporting`] runs.
    pub fn budgets(&self) -> Arc<Budgets> {
        Arc::clone(&self.0.budgets)
    }

    /// Tells the store that this host lives and renews the leases of running turns until `stop` is cancelled. Without it, turns
    /// that run for longer than 30 s lose their conversation.
    pub async fn keep_leases(&self, stop: CancellationToken) {
        self.0.keep_leases(stop).await;
    }

    /// Does what other hosts ask for until `stop` is cancelled. Without it, they wait until this host looks into the store.
    pub async fn follow_inbox(&self, stop: CancellationToken) {
        self.0.follow_inbox(stop).await;
    }

    /// What the turns of this host share.
    #[cfg(test)]
    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.0
    }

    /// Takes no new turns, and resolves when none runs and the ends of all are stored. At `deadline`, or when `interrupt`
    /// is cancelled, the remaining turns are interrupted; what was said is kept. If the store does not answer, it gets a few
    /// more seconds.
    pub async fn drain(&self, deadline: Instant, interrupt: CancellationToken) {
        let host = &self.0;
        host.closing.cancel();
        host.tasks.close();
        let has_ended = tokio::select! {
            // A host without turns interrupts none, also if it has no time.
            biased;
            () = host.tasks.wait() => true,
            () = tokio::time::sleep_until(deadline.into()) => false,
            () = interrupt.cancelled() => false,
        };
        if !has_ended {
            tracing::warn!(turns = host.tasks.len(), "interrupting the turns that still run");
            host.registry.cancel_all(CancelReason::Draining);
            host.mirrors.interrupt_all();
        }
        let stored = async {
            host.tasks.wait().await;
            host.finalizer.wait_for_writes().await;
        };
        if tokio::time::timeout(FINALIZE_GRACE, stored).await.is_err() {
            let (turns, unstored) = (host.tasks.len(), host.finalizer.pending_turns().len());
            tracing::error!(turns, unstored, "turns were left behind; the next start marks them interrupted");
        }
        host.finalizer.give_up();
    }
}
