//! Admission: from a request to a turn that runs, or to the log of one that already did.
//!
//! The order matters. The active set is pinned first. Requests with one idempotency key go one after the other, so that
//! the second finds the turn of the first instead of waiting behind it. The conversation's place comes before the
//! host's slot, so that whoever waits for a conversation holds nothing. The store has the last word.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use masque_runtime::Plugin;
use masque_store::{
    Admission, AdmissionOutcome, Admitted, ConversationId, Idempotency, MessageId, NewMessage, Owner, Target,
    TurnId, TurnRecord, TurnStatus, title_of,
};
use serde_json::Value;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::log::{Log, Reader};
use super::queue::{Busy, Place};
use super::registry::{Key, Live};
use super::settle::storage;
use super::{ChatRequest, Host, contract, leases};
use crate::active::{ActiveSet, Companion};
use crate::problem::{Kind, Problem};

/// Idempotency keys are a client's for one route.
pub(super) const ROUTE: &str = "POST /chat";
/// How long a key is remembered.
const KEY_TTL: Duration = Duration::from_secs(24 * 3600);

/// What a turn takes along from its request.
pub(super) struct Ticket {
    pub(super) request: ChatRequest,
    /// The generation that the whole turn uses.
    pub(super) set: Arc<ActiveSet>,
    target: Target,
    pub(super) arrived: Instant,
    /// Whether an earlier turn of the same request, which has been asked for by then, is to be run again.
    resume: bool,
    /// Held until the turn can be found by its key.
    pub(super) key: Option<Place<(Owner, String)>>,
    /// Held until the turn has ended, in a new conversation too: whoever learns its id may speak at once.
    _place: Place<ConversationId>,
    _user: Option<Place<Owner>>,
    _slot: Place<()>,
}

impl Ticket {
    /// The request alone, and when it came; every place that was held is free when this returns.
    fn give_up(self) -> (ChatRequest, Instant) {
        (self.request, self.arrived)
    }
}

/// What waiting in line came to.
enum Queued {
    /// A turn may be admitted.
    Ticket(Box<Ticket>),
    /// The request was made before.
    Reader(Reader),
}

/// A turn that the same request began before.
enum Earlier {
    /// It is complete.
    Reader(Reader),
    /// It is to be run again, in this conversation.
    Unfinished(ConversationId),
}

impl Host {
    /// A reader of the turn that the request begins, joins or repeats.
    pub(super) async fn admit(self: Arc<Self>, request: ChatRequest) -> Result<Reader, Problem> {
        // From before the question whether the host closes until the turn's task is there: who waits for the tasks to end
        // misses no turn in between.
        let _tracked = self.tasks.token();
        let ticket = match self.closing.run_until_cancelled(self.queue(request, Instant::now(), false)).await
        {
            Some(Ok(Queued::Ticket(ticket))) => *ticket,
            Some(Ok(Queued::Reader(reader))) => return Ok(reader),
            Some(Err(problem)) => return Err(problem),
            None => return Err(Problem::from(Kind::Draining)),
        };
        // From here on the turn may be in the store, so it must reach its end whether or not the client waits for it.
        let (answer, admitted) = oneshot::channel();
        self.tasks.spawn(Arc::clone(&self).start(ticket, answer).in_current_span());
        admitted.await.unwrap_or_else(|_panicked| Err(Problem::from(Kind::Internal)))
    }

    /// Waits for everything that a turn has to wait for. `seen` is a request that the store knows.
    ///
    /// Whether a request with a key was seen before is not asked here where nothing has to be waited for: the admission
    /// tells it, and most were not. Where there is a wait or a refusal it is asked first, for what was answered once is
    /// answered again at once.
    async fn queue(&self, request: ChatRequest, arrived: Instant, seen: bool) -> Result<Queued, Problem> {
        let set = self.active.current();
        let busy = |_: Busy| Problem::from(Kind::ConversationBusy);
        let key = match &request.idempotency {
            Some(key) => {
                let place = self.keys.enter((request.owner.clone(), key.key.clone())).await.map_err(busy)?;
                if let Some(live) = self.registry.running(&request.owner, &key.key) {
                    return join(&live, &key.digest).map(Queued::Reader);
                }
                Some(place)
            }
            None => None,
        };
        let target = self.target(&request, &set).await;
        let free = match &target {
            Ok(target) if !seen => self.conversations.enter(target.conversation()).now_or_never(),
            _ => None,
        };
        let (target, mut place, mut resume) = match (target, free, &request.idempotency) {
            (target, Some(Ok(place)), _) => (target?, place, false),
            (target, _, None) => {
                let target = target?;
                let line = target.conversation();
                (target, self.conversations.enter(line).await.map_err(busy)?, false)
            }
            (target, _, Some(key)) => {
                let earlier = match self.earlier(&request.owner, key).await? {
                    Some(Earlier::Reader(reader)) => return Ok(Queued::Reader(reader)),
                    Some(Earlier::Unfinished(conversation)) => Some(conversation),
                    None => None,
                };
                let target = target?;
                // A turn that is run again goes on in the conversation that its first attempt may have begun.
                let line = earlier.unwrap_or(target.conversation());
                (target, self.conversations.enter(line).await.map_err(busy)?, true)
            }
        };
        let (user, slot) = match (self.seats(&request).now_or_never(), &request.idempotency) {
            (Some(Ok(seats)), _) => seats,
            (_, Some(key)) if !resume => {
                match self.earlier(&request.owner, key).await? {
                    Some(Earlier::Reader(reader)) => return Ok(Queued::Reader(reader)),
                    Some(Earlier::Unfinished(conversation)) if conversation != target.conversation() => {
                        drop(place);
                        place = self.conversations.enter(conversation).await.map_err(busy)?;
                    }
                    Some(Earlier::Unfinished(_)) | None => {}
                }
                resume = true;
                self.seats(&request).await?
            }
            _ => self.seats(&request).await?,
        };
        Ok(Queued::Ticket(Box::new(Ticket {
            request,
            set,
            target,
            arrived,
            resume,
            key,
            _place: place,
            _user: user,
            _slot: slot,
        })))
    }

    /// One of the user's places, where these are bounded, and one of the host's.
    async fn seats(&self, request: &ChatRequest) -> Result<(Option<Place<Owner>>, Place<()>), Problem> {
        let of_user = |_: Busy| {
            Problem::new(
                Kind::Overloaded,
                "You have as many turns under way as a user may; wait for one to end.",
            )
        };
        let user = match &self.users {
            Some(users) => Some(users.enter(request.owner.clone()).await.map_err(of_user)?),
            None => None,
        };
        let slot = self.slots.enter(()).await.map_err(|_: Busy| Problem::from(Kind::Overloaded))?;
        Ok((user, slot))
    }

    /// What became of an earlier request with the same key, which does not run: one that was answered is replayed at once,
    /// however busy its conversation is.
    async fn earlier(&self, owner: &Owner, key: &Key) -> Result<Option<Earlier>, Problem> {
        let found = self.store.keyed(owner, ROUTE, &key.key).await.map_err(|error| storage(&error))?;
        let Some(found) = found else { return Ok(None) };
        if found.digest != key.digest {
            return Err(Problem::from(Kind::IdempotencyMismatch));
        }
        if found.status == TurnStatus::Completed {
            let record = self.store.turn(owner, found.turn).await.map_err(|error| storage(&error))?;
            // Its conversation may just have been deleted, and the turn with it.
            return record.map(|record| replay(record).map(Earlier::Reader)).transpose();
        }
        Ok(Some(Earlier::Unfinished(found.conversation)))
    }

    /// Asks the store, and runs the turn if it is to run.
    async fn start(
        self: Arc<Self>,
        mut ticket: Ticket,
        mut answer: oneshot::Sender<Result<Reader, Problem>>,
    ) {
        let admitted = loop {
            let admitted = self.store.admit(self.admission(&ticket)).await.map_err(|error| storage(&error));
            let queued = match admitted {
                Ok(Admitted { outcome: AdmissionOutcome::Seen, .. }) => tokio::select! {
                    queued = self.queue_again(ticket) => queued,
                    // Nothing has begun, so whoever leaves now leaves the line.
                    () = answer.closed() => return,
                },
                Ok(admitted) => break admitted,
                Err(problem) => Err(problem),
            };
            // Whoever asked may be gone.
            match queued {
                Ok(Queued::Ticket(again)) => ticket = *again,
                Ok(Queued::Reader(reader)) => return drop(answer.send(Ok(reader))),
                Err(problem) => return drop(answer.send(Err(problem))),
            }
        };
        match admitted.outcome {
            AdmissionOutcome::Started(started) => self.run(ticket, started, admitted.durable, answer).await,
            outcome => {
                let _ = answer.send(self.not_started(&ticket.request, outcome));
            }
        }
    }

    /// For a request that was seen before. What its ticket held is given back first, since it may have to wait once more.
    async fn queue_again(&self, ticket: Ticket) -> Result<Queued, Problem> {
        let (request, arrived) = ticket.give_up();
        let queued = self.closing.run_until_cancelled(self.queue(request, arrived, true)).await;
        queued.unwrap_or_else(|| Err(Problem::from(Kind::Draining)))
    }

    fn admission(&self, ticket: &Ticket) -> Admission {
        let request = &ticket.request;
        Admission {
            owner: request.owner.clone(),
            host: self.id,
            lease: leases::LEASE,
            turn: TurnId::new(),
            target: ticket.target.clone(),
            companion: request.companion.clone(),
            companions: allowed(&ticket.set, request),
            message: NewMessage {
                id: MessageId::new(),
                content: request.message.clone(),
                metadata: Value::Object(request.metadata.clone()),
            },
            idempotency: request.idempotency.as_ref().map(|key| Idempotency {
                route: ROUTE.into(),
                key: key.key.clone(),
                digest: key.digest.clone(),
                ttl: KEY_TTL,
            }),
            resume: ticket.resume,
            tail: contract::TAIL,
        }
    }

    fn not_started(&self, request: &ChatRequest, outcome: AdmissionOutcome) -> Result<Reader, Problem> {
        match outcome {
            AdmissionOutcome::Completed(record) => replay(record),
            AdmissionOutcome::Running { turn, host } => match self.registry.find(&request.owner, turn) {
                Some(live) if host == self.id && live.log.ended().is_none() => Ok(live.log.reader(None)),
                // It ends just now, or runs elsewhere: whoever asks again finds it done.
                _ => Err(Problem::from(Kind::ConversationBusy)),
            },
            AdmissionOutcome::Busy { retry_after } => {
                Err(Problem::from(Kind::ConversationBusy).retry_after(retry_after))
            }
            AdmissionOutcome::OtherBody => Err(Problem::from(Kind::IdempotencyMismatch)),
            AdmissionOutcome::UnknownConversation => Err(Problem::from(Kind::ConversationNotFound)),
            AdmissionOutcome::CompanionGone { companion } if !may_meet(request, &companion) => {
                Err(Problem::from(Kind::CompanionNotAllowed))
            }
            AdmissionOutcome::CompanionGone { companion } => Err(Problem::new(
                Kind::CompanionNotFound,
                format!("The conversation is with `{companion}`, who is not here any more; begin a new one."),
            )),
            AdmissionOutcome::OtherCompanion { companion } => Err(Problem::new(
                Kind::OtherCompanion,
                format!("The conversation is with `{companion}`; leave `companion` out, or begin a new one."),
            )),
            // Handled where the turn is run, and before.
            AdmissionOutcome::Started(_) | AdmissionOutcome::Seen => Err(Problem::from(Kind::Internal)),
        }
    }

    /// Where the turn belongs; whatever is wrong with the names in the request shows here, before anything is stored.
    async fn target(&self, request: &ChatRequest, set: &ActiveSet) -> Result<Target, Problem> {
        let named = request.companion.as_deref().map(|name| find(set, name)).transpose()?;
        if named.is_some_and(|companion| !may_meet(request, &companion.name)) {
            return Err(Problem::from(Kind::CompanionNotAllowed));
        }
        let Some(id) = request.conversation else {
            let companion = match named {
                Some(companion) => companion,
                None => only(set, request)?,
            };
            models(companion, request.model.as_deref())?;
            let (companion, title) = (companion.name.clone(), title_of(&request.message));
            return Ok(Target::New { id: ConversationId::new(), companion, title });
        };
        if let Some(model) = &request.model {
            let companion = match named {
                Some(companion) => Arc::clone(companion),
                None => {
                    let found =
                        self.store.conversation(&request.owner, id).await.map_err(|error| storage(&error))?;
                    let conversation = found.ok_or_else(|| Problem::from(Kind::ConversationNotFound))?;
                    Arc::clone(find(set, &conversation.companion)?)
                }
            };
            models(&companion, Some(model))?;
        }
        Ok(Target::Existing(id))
    }
}

/// The companion of that name.
pub(super) fn find<'a>(set: &'a ActiveSet, name: &str) -> Result<&'a Arc<Companion>, Problem> {
    set.companions.get(name).ok_or_else(|| Problem::from(Kind::CompanionNotFound))
}

/// Whether the request may be about the companion.
fn may_meet(request: &ChatRequest, companion: &str) -> bool {
    request.only.as_ref().is_none_or(|only| only.contains(companion))
}

/// All companions that may answer the request.
fn allowed(set: &ActiveSet, request: &ChatRequest) -> Arc<BTreeSet<String>> {
    match &request.only {
        None => Arc::clone(&set.names),
        Some(only) => Arc::new(set.names.intersection(only).cloned().collect()),
    }
}

/// The companion that is meant where none is named.
fn only<'a>(set: &'a ActiveSet, request: &ChatRequest) -> Result<&'a Arc<Companion>, Problem> {
    let mut companions = set.companions.values().filter(|companion| may_meet(request, &companion.name));
    match (companions.next(), companions.next()) {
        (Some(companion), None) => Ok(companion),
        (None, _) if set.companions.is_empty() => Err(Problem::from(Kind::CompanionNotFound)),
        (None, _) => Err(Problem::from(Kind::CompanionNotAllowed)),
        (Some(_), Some(_)) => {
            let names = allowed(set, request);
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            Err(Problem::new(
                Kind::CompanionNotNamed,
                format!("Name one in `companion`: {}.", names.join(", ")),
            ))
        }
    }
}

/// The models to try, in their order.
pub(super) fn models(companion: &Companion, chosen: Option<&str>) -> Result<Vec<Arc<Plugin>>, Problem> {
    match chosen {
        Some(name) => match companion.models.iter().find(|model| model.name() == name) {
            Some(model) => Ok(vec![Arc::clone(model)]),
            None => {
                let names: Vec<_> =
                    companion.models.iter().map(|model| format!("`{}`", model.name())).collect();
                let detail = format!("Leave `model` out, or choose of {}.", names.join(", "));
                Err(Problem::new(Kind::ModelNotOffered, detail))
            }
        },
        None if companion.fallback => Ok(companion.models.clone()),
        None => Ok(companion.models.iter().take(1).cloned().collect()),
    }
}

fn join(live: &Live, digest: &[u8]) -> Result<Reader, Problem> {
    match &live.key {
        Some(key) if key.digest == digest => Ok(live.log.reader(None)),
        _ => Err(Problem::from(Kind::IdempotencyMismatch)),
    }
}

/// A turn that was answered before, as events.
fn replay(record: TurnRecord) -> Result<Reader, Problem> {
    let Some(response) = record.response else { return Err(Problem::from(Kind::Internal)) };
    let text = record.reply.map(|reply| reply.content).unwrap_or_default();
    let log = Log::replay(record.id, record.conversation, record.companion, &text, Arc::new(response));
    Ok(log.reader(None))
}
