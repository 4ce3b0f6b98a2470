//! The admission itself: asks the store whether the turn may run, and runs it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use masque_problem::{Kind, Problem};
use masque_store::{
    Admission, AdmissionOutcome, Admitted, Durable, Idempotency, NewMessage, Started, StoreError, Waiting,
};
use serde_json::Value;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::capacity::Capacity;
use super::earlier::{CHAT_ROUTE, replay};
use super::pending::{Cause, Pending, Progress};
use super::queue::{PLACE_TTL, QueuePlace};
use super::selection::{allowed_names, beyond_companions, check_earlier, is_allowed, known_companion};
use super::ticket::Ticket;
use crate::contract;
use crate::failure::store_problem;
use crate::host::{Host, LEASE};
use crate::instrumentation::{RequestTrace, count_refusal};
use crate::log::EventReader;
use crate::request::ChatRequest;
use crate::unknown_outcome::{UNKNOWN_INTERVAL, UNKNOWN_LIMIT};

/// How long an idempotency key is remembered.
const KEY_TTL: Duration = Duration::from_secs(24 * 3600);

/// Where the request's first reader, or the reason that there is none, is sent.
type Answer = oneshot::Sender<Result<EventReader, Problem>>;

/// A turn that the store has started, when it was asked, and the slots of the turn.
type StartedTurn = (Started, Durable, tokio::time::Instant, Capacity);

impl Host {
    /// A reader of the turn that the request begins, joins or repeats. If the future is dropped once the store has started
    /// the turn, the turn goes on without this reader.
    pub(crate) async fn admit(self: Arc<Self>, request: ChatRequest) -> Result<EventReader, Problem> {
        // Taken before `closing` is read and held until the turn's task exists, so that a drain that waits for all
        // tasks misses no turn in between.
        let _tracked = self.tasks.token();
        let arrived = Instant::now();
        let trace = {
            let set = self.active.current();
            RequestTrace::begin(&self.options.tracer, request.trace, known_companion(&set, &request))
        };
        let prepared = self.prepare(request, arrived, trace.parent());
        let prepared = self.closing.run_until_cancelled(prepared).await;
        let pending = match prepared.unwrap_or_else(|| Err(Problem::from(Kind::Draining))) {
            Ok(Progress::Next(pending)) => *pending,
            Ok(Progress::Reader(reader)) => {
                trace.end_without_turn("joined");
                return Ok(reader);
            }
            Err(problem) => return Err(refuse(trace, problem)),
        };
        // From here on the turn may be in the store, so a task of its own brings it to its end even if the client
        // leaves.
        let (answer, admitted) = oneshot::channel();
        self.tasks.spawn(Arc::clone(&self).start(pending, trace, answer).in_current_span());
        admitted.await.unwrap_or_else(|_panicked| Err(Problem::from(Kind::Internal)))
    }

    /// Runs the turn if the store starts it. Failing to send `answer` means that the client has left.
    async fn start(self: Arc<Self>, mut pending: Pending, trace: RequestTrace, mut answer: Answer) {
        let admitted = self.ask_until_decided(&mut pending, &mut answer).await;
        let (started, durable, asked, capacity) = match admitted {
            Some(Ok(Progress::Next(admitted))) => admitted,
            Some(Ok(Progress::Reader(reader))) => {
                trace.end_without_turn("joined");
                return drop(answer.send(Ok(reader)));
            }
            Some(Err(problem)) => return drop(answer.send(Err(refuse(trace, problem)))),
            None => return trace.end_without_turn("left"),
        };
        let Pending { request, arrived, set, key_slot, waiting, place, .. } = pending;
        drop(waiting);
        if let Some(place) = place {
            place.mark_used();
        }
        let root = trace.admitted(&started);
        let ticket = Ticket { request, set, arrived, asked, key_slot, _capacity: capacity };
        self.run(ticket, root, started, durable, answer).await;
    }

    /// Asks the store until it has started the turn, or it is clear that there will be none; `None` if the client has left.
    async fn ask_until_decided(
        self: &Arc<Self>,
        pending: &mut Pending,
        answer: &mut Answer,
    ) -> Option<Result<Progress<StartedTurn>, Problem>> {
        let mut cause = Cause::Arrived;
        loop {
            let capacity = match self.unless_gone(answer, self.take_capacity(pending, cause)).await? {
                Ok(Progress::Next(capacity)) => capacity,
                Ok(Progress::Reader(reader)) => return Some(Ok(Progress::Reader(reader))),
                Err(problem) => return Some(Err(problem)),
            };
            let asked = tokio::time::Instant::now();
            // Never dropped: the answer may be that the turn has started.
            let admitted = {
                let _span = pending.trace.span("store admit");
                self.ask_store(pending).await
            };
            let outcome = match admitted {
                Err(error) => return Some(Err(store_problem(&error))),
                Ok(Admitted { outcome: AdmissionOutcome::Started(started), durable }) => {
                    return Some(Ok(Progress::Next((started, durable, asked, capacity))));
                }
                // The end of the earlier turn may not be on disk yet. A client must not see a reply that can still be lost.
                Ok(Admitted { outcome: AdmissionOutcome::Completed(record), durable }) => {
                    let durable = durable.wait().await.map_err(|error| store_problem(&error));
                    let reader = durable.and_then(|()| replay(&pending.request, record));
                    return Some(reader.map(Progress::Reader));
                }
                Ok(Admitted { outcome, .. }) => outcome,
            };
            // Whoever waits holds no slot.
            drop(capacity);
            match self.unless_gone(answer, self.after_outcome(pending, outcome)).await? {
                Ok(Progress::Next(next)) => cause = next,
                Ok(Progress::Reader(reader)) => return Some(Ok(Progress::Reader(reader))),
                Err(problem) => return Some(Err(problem)),
            }
        }
    }

    /// Asks the store once, and again if the outcome is unknown: the turn may run for the store, and then it answers with the
    /// same turn. Otherwise nobody would run it, and its conversation would stay busy until its lease expires.
    async fn ask_store(&self, pending: &Pending) -> Result<Admitted, StoreError> {
        let first = self.store.admit(self.admission(pending)).await;
        let Err(StoreError::OutcomeUnknown(cause)) = first else { return first };
        tracing::warn!(cause, "the outcome of an admission is unknown; asking again");
        let ends = tokio::time::Instant::now() + UNKNOWN_LIMIT;
        loop {
            tokio::time::sleep(UNKNOWN_INTERVAL).await;
            let again = self.store.admit(self.admission(pending)).await;
            let is_unknown = matches!(again, Err(StoreError::OutcomeUnknown(_) | StoreError::Unavailable(_)));
            if !is_unknown || tokio::time::Instant::now() >= ends {
                return again;
            }
        }
    }

    /// Goes on with a request for which the store has started no turn: waits for what the store says that it has to wait for,
    /// or reads the turn of the same request that runs.
    async fn after_outcome(
        self: &Arc<Self>,
        pending: &mut Pending,
        outcome: AdmissionOutcome,
    ) -> Result<Progress<Cause>, Problem> {
        match outcome {
            AdmissionOutcome::Seen => Ok(match self.find_earlier_once(pending).await? {
                Some(reader) => Progress::Reader(reader),
                None => Progress::Next(Cause::Arrived),
            }),
            AdmissionOutcome::Busy { is_waiting: true, .. } => {
                let (conversation, turn) = (pending.conversation, pending.waiting.turn());
                pending.place.get_or_insert_with(|| QueuePlace::new(self, conversation, turn));
                self.wait_for_conversation(pending).await.map(Progress::Next)
            }
            AdmissionOutcome::Running { turn, host, companion } => {
                check_earlier(&pending.request, &companion)?;
                self.join_running(pending, turn, host).await
            }
            outcome => Err(refusal(&pending.request, outcome)),
        }
    }

    /// The result of work before which nothing has begun: it ends when the client leaves (`None`) or the host drains.
    async fn unless_gone<T>(
        &self,
        answer: &mut Answer,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Option<Result<T, Problem>> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Some(Err(Problem::from(Kind::Draining))),
            () = answer.closed() => None,
            done = work => Some(done),
        }
    }

    fn admission(&self, pending: &Pending) -> Admission {
        let request = &pending.request;
        Admission {
            owner: request.owner.clone(),
            host: self.id,
            lease: LEASE,
            turn: pending.waiting.turn(),
            target: pending.target.clone(),
            companion: request.companion.clone(),
            companions: allowed_names(&pending.set, request),
            message: NewMessage {
                id: pending.message,
                content: request.message.clone(),
                metadata: Value::Object(request.metadata.clone()),
            },
            idempotency: request.idempotency.as_ref().map(|key| Idempotency {
                route: CHAT_ROUTE.into(),
                key: key.key.clone(),
                digest: key.digest.clone(),
                ttl: KEY_TTL,
            }),
            resume: pending.resume,
            waiting: Some(Waiting {
                max: u32::try_from(self.options.max_waiting).unwrap_or(u32::MAX),
                ttl: PLACE_TTL,
            }),
            tail: contract::TAIL,
        }
    }
}

/// Ends the trace of a request that was refused, and counts it.
fn refuse(trace: RequestTrace, problem: Problem) -> Problem {
    count_refusal(&problem);
    trace.refused(&problem);
    problem
}

/// Why a request gets neither a turn nor a place in a queue.
fn refusal(request: &ChatRequest, outcome: AdmissionOutcome) -> Problem {
    match outcome {
        // The lease may be freed at any moment, so its end is no time to name.
        AdmissionOutcome::Busy { .. } => Problem::from(Kind::ConversationBusy),
        AdmissionOutcome::OtherBody { companion } => match check_earlier(request, &companion) {
            Ok(()) => Problem::from(Kind::IdempotencyMismatch),
            Err(problem) => problem,
        },
        AdmissionOutcome::UnknownConversation => Problem::from(Kind::ConversationNotFound),
        AdmissionOutcome::CompanionGone { companion } | AdmissionOutcome::OtherCompanion { companion }
            if !is_allowed(request, &companion) =>
        {
            beyond_companions(request)
        }
        AdmissionOutcome::CompanionGone { companion } => Problem::new(
            Kind::CompanionNotFound,
            format!("The conversation is with `{companion}`, who is not here any more; begin a new one."),
        ),
        AdmissionOutcome::OtherCompanion { companion } => Problem::new(
            Kind::OtherCompanion,
            format!("The conversation is with `{companion}`; leave `companion` out, or begin a new one."),
        ),
        // `start` and `after_outcome` handle these.
        AdmissionOutcome::Started(_)
        | AdmissionOutcome::Completed(_)
        | AdmissionOutcome::Seen
        | AdmissionOutcome::Running { .. } => Problem::from(Kind::Internal),
    }
}
