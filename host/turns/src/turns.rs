//! The turns of one host, as the API uses them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use masque_companions::Active;
use masque_problem::{Kind, Problem};
use masque_store::{
    BudgetAccount, ConversationId, MessageId, NewMessage, Owner, Store, TurnId, TurnRecord, TurnStatus,
    UserProfile,
};
use serde_json::json;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::admission::{CHAT_ROUTE, only_companion};
use crate::cancellation::CancelReason;
use crate::failure::store_problem;
use crate::host::Host;
use crate::log::{EventReader, ResumePoint, TurnEnd};
use crate::options::Options;
use crate::request::ChatRequest;

/// How long turns that have ended or were cancelled may take, when the host stops, to store what there is of them.
const FINALIZE_GRACE: Duration = Duration::from_secs(5);

/// All turns of one host. Cheap to clone.
#[derive(Clone)]
pub struct Turns(Arc<Host>);

impl Turns {
    /// Turns that are stored in `store` and answered by the companions of `active`. `host` names this process in the
    /// store.
    pub fn new(store: Arc<dyn Store>, active: Arc<Active>, options: Options, host: Uuid) -> Self {
        Self(Arc::new(Host::new(store, active, options, host)))
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

    /// Whether a request with this idempotency key was answered or is being answered. Sending it again costs nothing then.
    ///
    /// # Errors
    /// `StorageUnavailable`.
    pub async fn is_answered(&self, owner: &Owner, key: &str) -> Result<bool, Problem> {
        if self.0.registry.find_running(owner, key).is_some() {
            return Ok(true);
        }
        let found =
            self.0.store.keyed(owner, CHAT_ROUTE, key).await.map_err(|error| store_problem(&error))?;
        Ok(found.is_some_and(|turn| turn.status == TurnStatus::Completed))
    }

    /// A reader of the events of a turn after the event `after`. `None` if that was the last.
    ///
    /// # Errors
    /// `TurnNotFound`, `EventsGone` if the log is no longer kept, `InvalidRequest` for an event that the turn never had,
    /// `StorageUnavailable`.
    pub async fn events(
        &self,
        owner: &Owner,
        turn: TurnId,
        after: Option<u64>,
    ) -> Result<Option<EventReader>, Problem> {
        if let Some(live) = self.0.registry.find(owner, turn) {
            return match after {
                // Every attempt counts its events from 0, so the id may belong to an earlier attempt with another text.
                Some(_) if live.attempt > 1 => Err(Problem::from(Kind::EventsGone)),
                Some(id) => match live.log.resume_point(id) {
                    ResumePoint::MoreEvents => Ok(Some(live.log.reader(after))),
                    ResumePoint::End => Ok(None),
                    ResumePoint::Unknown => Err(Problem::new(
                        Kind::InvalidRequest,
                        format!("The turn has had no event {id}; leave `Last-Event-ID` out to read it from the first."),
                    )
                    .with("field", "Last-Event-ID")),
                },
                None => Ok(Some(live.log.reader(None))),
            };
        }
        self.record(owner, turn).await?;
        Err(Problem::from(Kind::EventsGone))
    }

    /// Cancels a turn, waits for its end and returns its record. A turn that has ended already stays as it is.
    ///
    /// # Errors
    /// `TurnNotFound`, `StorageUnavailable`.
    pub async fn cancel(&self, owner: &Owner, turn: TurnId) -> Result<TurnRecord, Problem> {
        if let Some(live) = self.0.registry.find(owner, turn) {
            live.cancellation.cancel(CancelReason::ByClient);
            live.log.wait_for_end().await;
        }
        self.record(owner, turn).await
    }

    /// Cancels the turn that runs in a conversation which the owner has deleted from the store. Its readers are told so.
    ///
    /// A turn that the store has just admitted, and that has not begun, is not cancelled here. It ends when its lease is
    /// renewed or its end is stored, whichever comes first, with the same problem.
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

    /// The greeting of a companion for a conversation that is about to begin: the one with this index, or the first.
    /// `None` if the companion has no greetings and no index was given. If the persona asks the model, `accounts` pay.
    ///
    /// # Errors
    /// `CompanionNotFound`, `InvalidRequest` if there is no such greeting, `BudgetSpent` if the persona could not ask the
    /// model for that reason, or why its call failed.
    pub async fn greet(
        &self,
        owner: &Owner,
        profile: &UserProfile,
        companion: &str,
        conversation: ConversationId,
        index: Option<usize>,
        accounts: Vec<BudgetAccount>,
    ) -> Result<Option<NewMessage>, Problem> {
        let greeting = self.0.greeting(owner, profile, companion, conversation, index, accounts).await?;
        Ok(greeting.map(|content| NewMessage { id: MessageId::new(), content, metadata: json!({}) }))
    }

    /// How many turns run or are being admitted.
    pub fn running(&self) -> usize {
        self.0.tasks.len()
    }

    /// Notified when a turn has left background jobs.
    pub fn new_jobs(&self) -> Arc<Notify> {
        self.0.finalizer.new_jobs()
    }

    /// Renews the leases of running turns until `stop` is cancelled. Without it, turns that run for longer than 30 s lose
    /// their conversation.
    pub async fn keep_leases(&self, stop: CancellationToken) {
        self.0.keep_leases(stop).await;
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

    async fn record(&self, owner: &Owner, turn: TurnId) -> Result<TurnRecord, Problem> {
        let found = self.0.store.turn(owner, turn).await.map_err(|error| store_problem(&error))?;
        found.ok_or_else(|| Problem::from(Kind::TurnNotFound))
    }
}
