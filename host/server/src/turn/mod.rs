//! The turn: from a request to an exchange on disk, and everything that can come between.
//!
//! [`Turns`] is what the API sees. A request becomes a turn in `admit`, walks through the plugins in `path` under the
//! eyes of `run`, and ends in `settle`; its readers follow its `log`. The turn is a task of its own: it goes on when
//! the request that began it is gone, for as long as someone reads, and is asked to end through `stop`.
//!
//! Left to others: who the user is, how a request and a reply look on the wire (the API), what is kept and who holds a
//! conversation (the store), what a plugin may do (the sandbox).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use masque_store::{ConversationId, MessageId, NewMessage, Owner, Store, TurnId, TurnRecord, TurnStatus};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::active::Active;
use crate::config::Config;
use crate::problem::{Kind, Problem};

mod admit;
pub(crate) mod contract;
mod failure;
mod greet;
mod leases;
pub(crate) mod lend;
pub(crate) mod log;
mod path;
mod queue;
mod registry;
mod reply;
mod run;
mod settle;
mod stop;

pub(crate) use log::{End, Event, EventKind, Reader};
pub(crate) use path::{now_ms, whole_ms};
pub(crate) use registry::Key as IdempotencyKey;

use log::After;
use queue::Queue;
use registry::Registry;
use settle::Settler;
use stop::Reason;

/// How long a turn waits for a slot of a host that is at its bound. Longer would only hide the overload.
const SLOT_WAIT: std::time::Duration = std::time::Duration::from_secs(1);
/// How many turns wait for a slot at the same time, of so many slots: who would wait behind them would wait in vain.
fn waiting(slots: usize) -> usize {
    (slots / 4).max(1)
}
/// Requests with one idempotency key that wait for the first of them to be admitted.
const SAME_KEY: usize = 16;
/// How long a turn that was asked to end may take to store what there is of it.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(5);

/// A request for a turn, checked as far as it can be without asking anyone.
#[derive(Clone, Debug)]
pub(crate) struct ChatRequest {
    pub(crate) owner: Owner,
    /// Neither empty nor too long.
    pub(crate) message: String,
    pub(crate) companion: Option<String>,
    pub(crate) conversation: Option<ConversationId>,
    /// One of the companion's models.
    pub(crate) model: Option<String>,
    /// Stored with the message and handed to the plugins.
    pub(crate) metadata: Map<String, Value>,
    pub(crate) idempotency: Option<IdempotencyKey>,
    pub(crate) request_id: String,
    /// The only companions that may answer; `None` for all.
    pub(crate) only: Option<BTreeSet<String>>,
    /// To whose budgets the model's tokens are counted.
    pub(crate) accounts: Vec<String>,
}

/// All turns of this host. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Host>);

/// What the turns of one host share.
struct Host {
    store: Arc<dyn Store>,
    active: Arc<Active>,
    config: Arc<Config>,
    id: Uuid,
    registry: Registry,
    /// One turn at a time for a conversation.
    conversations: Queue<ConversationId>,
    /// One admission at a time for an idempotency key, so that the second finds what the first began.
    keys: Queue<(Owner, String)>,
    /// As many at a time for a user, and for the host, as their bounds say.
    users: Option<Queue<Owner>>,
    slots: Queue<()>,
    tasks: TaskTracker,
    /// No new turns.
    closing: CancellationToken,
    settler: Settler,
}

impl Turns {
    /// `host` names this process in the store.
    pub(crate) fn new(store: Arc<dyn Store>, active: Arc<Active>, config: Arc<Config>, host: Uuid) -> Self {
        let closing = CancellationToken::new();
        let settler = Settler::new(Arc::clone(&store), closing.clone());
        Self(Arc::new(Host {
            registry: Registry::new(config.turn.log_ttl),
            conversations: Queue::new(1, config.turn.waiting, config.turn.wait),
            keys: Queue::new(1, SAME_KEY, config.turn.wait),
            users: config.limits.turns.map(|turns| Queue::new(turns as usize, turns as usize, SLOT_WAIT)),
            slots: Queue::new(config.turn.max_concurrent, waiting(config.turn.max_concurrent), SLOT_WAIT),
            tasks: TaskTracker::new(),
            store,
            active,
            config,
            id: host,
            closing,
            settler,
        }))
    }

    /// Begins a turn, joins one that runs, or replays one that is done. Resolves when headers may be sent: at the
    /// model's first sign of life, at the end, or after `stream.hold`.
    ///
    /// # Errors
    /// Whatever happened before that.
    pub(crate) async fn chat(&self, request: ChatRequest) -> Result<Reader, Problem> {
        let host = &self.0;
        let reader = Arc::clone(host).admit(request).await?;
        match reader.headers(host.config.stream.hold).await {
            Some(End::Failed(problem)) => Err(problem),
            Some(End::Completed(_)) | None => Ok(reader),
        }
    }

    /// Whether a request with this key has its answer, or is getting it: then it costs nothing to send it again.
    ///
    /// # Errors
    /// `StorageUnavailable`.
    pub(crate) async fn is_answered(&self, owner: &Owner, key: &str) -> Result<bool, Problem> {
        if self.0.registry.running(owner, key).is_some() {
            return Ok(true);
        }
        let found =
            self.0.store.keyed(owner, admit::ROUTE, key).await.map_err(|error| settle::storage(&error))?;
        Ok(found.is_some_and(|turn| turn.status == TurnStatus::Completed))
    }

    /// The events of a turn after `after`, while its log is kept. `None` if that was the last.
    ///
    /// # Errors
    /// `TurnNotFound`, `EventsGone`, `InvalidRequest` for an event that the turn has not had, `StorageUnavailable`.
    pub(crate) async fn events(
        &self,
        owner: &Owner,
        turn: TurnId,
        after: Option<u64>,
    ) -> Result<Option<Reader>, Problem> {
        if let Some(live) = self.0.registry.find(owner, turn) {
            // Every attempt counts its events from 0: an id may be one of the attempt before, whose words were others.
            return match after {
                Some(_) if live.attempt > 1 => Err(Problem::from(Kind::EventsGone)),
                Some(id) => match live.log.after(id) {
                    After::More => Ok(Some(live.log.reader(after))),
                    After::Nothing => Ok(None),
                    After::Unknown => Err(Problem::new(
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

    /// Asks a turn to end and returns what it came to. One that has ended already stays as it is.
    ///
    /// # Errors
    /// `TurnNotFound`, `StorageUnavailable`.
    pub(crate) async fn cancel(&self, owner: &Owner, turn: TurnId) -> Result<TurnRecord, Problem> {
        if let Some(live) = self.0.registry.find(owner, turn) {
            live.stop.ask(Reason::Cancelled);
            live.log.finished().await;
        }
        self.record(owner, turn).await
    }

    /// The first words of a companion in a conversation that is about to begin: the greeting `index`, or the first.
    /// `None` if it has none.
    ///
    /// # Errors
    /// `CompanionNotFound`, `InvalidRequest` if there is no such greeting, or what became of the persona's call.
    pub(crate) async fn greet(
        &self,
        owner: &Owner,
        companion: &str,
        conversation: ConversationId,
        index: Option<usize>,
    ) -> Result<Option<NewMessage>, Problem> {
        let greeting = self.0.greet(owner, companion, conversation, index).await?;
        Ok(greeting.map(|content| NewMessage { id: MessageId::new(), content, metadata: json!({}) }))
    }

    /// How many turns run or are being admitted.
    pub(crate) fn running(&self) -> usize {
        self.0.tasks.len()
    }

    /// Told whenever a turn leaves background work behind.
    pub(crate) fn commits(&self) -> Arc<Notify> {
        Arc::clone(&self.0.settler.work)
    }

    /// Takes no new turns, and resolves when none runs. At `deadline`, or when `cut` fires, the rest is interrupted:
    /// what was said is kept.
    pub(crate) async fn drain(&self, deadline: Instant, cut: CancellationToken) {
        let host = &self.0;
        host.closing.cancel();
        host.tasks.close();
        tokio::select! {
            () = host.tasks.wait() => return,
            () = tokio::time::sleep_until(deadline.into()) => {}
            () = cut.cancelled() => {}
        }
        tracing::warn!(turns = host.tasks.len(), "interrupting the turns that still run");
        host.registry.stop_all(Reason::Draining);
        if tokio::time::timeout(LAST_WORDS, host.tasks.wait()).await.is_err() {
            tracing::error!(
                turns = host.tasks.len(),
                "turns were left behind; the next start marks them interrupted"
            );
        }
    }

    async fn record(&self, owner: &Owner, turn: TurnId) -> Result<TurnRecord, Problem> {
        let found = self.0.store.turn(owner, turn).await.map_err(|error| settle::storage(&error))?;
        found.ok_or_else(|| Problem::from(Kind::TurnNotFound))
    }
}

#[cfg(test)]
mod tests;
