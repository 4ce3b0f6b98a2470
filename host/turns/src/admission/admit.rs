//! The admission itself: asks the store whether the turn may run, and runs it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use masque_problem::{Kind, Problem};
use masque_store::{Admission, AdmissionOutcome, Admitted, Idempotency, MessageId, NewMessage, TurnId};
use serde_json::Value;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::earlier::{CHAT_ROUTE, replay};
use super::selection::{allowed_names, beyond_companions, check_earlier, is_allowed};
use super::ticket::{Ticket, Waited};
use crate::contract;
use crate::failure::store_problem;
use crate::host::{Host, LEASE};
use crate::log::EventReader;
use crate::request::ChatRequest;

/// How long an idempotency key is remembered.
const KEY_TTL: Duration = Duration::from_secs(24 * 3600);

impl Host {
    /// A reader of the turn that the request begins, joins or repeats. If the future is dropped once the store has been
    /// asked, the turn goes on without this reader.
    pub(crate) async fn admit(self: Arc<Self>, request: ChatRequest) -> Result<EventReader, Problem> {
        // Taken before `closing` is read and held until the turn's task exists, so that a drain that waits for all
        // tasks misses no turn in between.
        let _tracked = self.tasks.token();
        let waiting = self.wait_for_slots(request, Instant::now(), false);
        let ticket = match self.closing.run_until_cancelled(waiting).await {
            Some(Ok(Waited::Ticket(ticket))) => *ticket,
            Some(Ok(Waited::Reader(reader))) => return Ok(reader),
            Some(Err(problem)) => return Err(problem),
            None => return Err(Problem::from(Kind::Draining)),
        };
        // From here on the turn may be in the store, so a task of its own brings it to its end even if the client
        // leaves.
        let (answer, admitted) = oneshot::channel();
        self.tasks.spawn(Arc::clone(&self).start(ticket, answer).in_current_span());
        admitted.await.unwrap_or_else(|_panicked| Err(Problem::from(Kind::Internal)))
    }

    /// Asks the store, and runs the turn if the store admits it. Failing to send `answer` means that the client has
    /// left.
    async fn start(
        self: Arc<Self>,
        mut ticket: Ticket,
        mut answer: oneshot::Sender<Result<EventReader, Problem>>,
    ) {
        let admitted = loop {
            let admitted = self.store.admit(self.admission(&ticket)).await;
            let waited = match admitted.map_err(|error| store_problem(&error)) {
                Ok(Admitted { outcome: AdmissionOutcome::Seen, .. }) => tokio::select! {
                    waited = self.wait_again(ticket) => waited,
                    // Nothing has begun, so a client that leaves now leaves the queue.
                    () = answer.closed() => return,
                },
                Ok(admitted) => break admitted,
                Err(problem) => Err(problem),
            };
            match waited {
                Ok(Waited::Ticket(again)) => ticket = *again,
                Ok(Waited::Reader(reader)) => return drop(answer.send(Ok(reader))),
                Err(problem) => return drop(answer.send(Err(problem))),
            }
        };
        match admitted.outcome {
            AdmissionOutcome::Started(started) => self.run(ticket, started, admitted.durable, answer).await,
            // The end of the earlier turn may not be on disk yet. A client must not see a reply that can still be lost.
            AdmissionOutcome::Completed(record) => {
                let durable = admitted.durable.wait().await.map_err(|error| store_problem(&error));
                drop(answer.send(durable.and_then(|()| replay(&ticket.request, record))));
            }
            outcome => drop(answer.send(self.refuse_or_join(&ticket.request, outcome))),
        }
    }

    /// Waits again for a request that the store has seen before. The slots are released first, since the request may
    /// have to wait for another conversation.
    async fn wait_again(&self, ticket: Ticket) -> Result<Waited, Problem> {
        let (request, arrived) = ticket.release();
        let waited = self.closing.run_until_cancelled(self.wait_for_slots(request, arrived, true)).await;
        waited.unwrap_or_else(|| Err(Problem::from(Kind::Draining)))
    }

    fn admission(&self, ticket: &Ticket) -> Admission {
        let request = &ticket.request;
        Admission {
            owner: request.owner.clone(),
            host: self.id,
            lease: LEASE,
            turn: TurnId::new(),
            target: ticket.target.clone(),
            companion: request.companion.clone(),
            companions: allowed_names(&ticket.set, request),
            message: NewMessage {
                id: MessageId::new(),
                content: request.message.clone(),
                metadata: Value::Object(request.metadata.clone()),
            },
            idempotency: request.idempotency.as_ref().map(|key| Idempotency {
                route: CHAT_ROUTE.into(),
                key: key.key.clone(),
                digest: key.digest.clone(),
                ttl: KEY_TTL,
            }),
            resume: ticket.resume,
            tail: contract::TAIL,
            waiting: None,
        }
    }

    /// The answer to a request for which the store started no turn.
    fn refuse_or_join(
        &self,
        request: &ChatRequest,
        outcome: AdmissionOutcome,
    ) -> Result<EventReader, Problem> {
        match outcome {
            AdmissionOutcome::Running { turn, host, companion } => {
                check_earlier(request, &companion)?;
                match self.registry.find(&request.owner, turn) {
                    Some(live) if host == self.id && !live.log.has_ended() => Ok(live.log.reader(None)),
                    // It is just ending, or it runs on another host. A later request finds it completed.
                    _ => Err(Problem::from(Kind::ConversationBusy)),
                }
            }
            AdmissionOutcome::Busy { retry_after, .. } => {
                Err(Problem::from(Kind::ConversationBusy).retry_after(retry_after))
            }
            AdmissionOutcome::OtherBody { companion } => {
                check_earlier(request, &companion)?;
                Err(Problem::from(Kind::IdempotencyMismatch))
            }
            AdmissionOutcome::UnknownConversation => Err(Problem::from(Kind::ConversationNotFound)),
            AdmissionOutcome::CompanionGone { companion }
            | AdmissionOutcome::OtherCompanion { companion }
                if !is_allowed(request, &companion) =>
            {
                Err(beyond_companions(request))
            }
            AdmissionOutcome::CompanionGone { companion } => Err(Problem::new(
                Kind::CompanionNotFound,
                format!("The conversation is with `{companion}`, who is not here any more; begin a new one."),
            )),
            AdmissionOutcome::OtherCompanion { companion } => Err(Problem::new(
                Kind::OtherCompanion,
                format!("The conversation is with `{companion}`; leave `companion` out, or begin a new one."),
            )),
            // `start` handles these before.
            AdmissionOutcome::Started(_) | AdmissionOutcome::Completed(_) | AdmissionOutcome::Seen => {
                Err(Problem::from(Kind::Internal))
            }
        }
    }
}
