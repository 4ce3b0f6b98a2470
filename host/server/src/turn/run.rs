//! One turn while it runs: the path through the plugins and the admission's way to the disk side by side, watched by
//! all that may end it: its deadline, those who ask it to stop, and the lack of anyone who reads.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use masque_store::{Durable, Started, StateFence};
use tokio::sync::oneshot;
use tracing::Instrument;

use super::admit::{self, Ticket};
use super::lend::{Lender, Past};
use super::log::{End, Log, Reader};
use super::path::{self, Draft, Path};
use super::registry::Live;
use super::reply::{Timing, ms};
use super::settle::{Outcome, Settled, Settlement};
use super::stop::{Reason, Stop};
use super::{Host, settle};
use crate::active::Companion;
use crate::problem::{Kind, Problem};

/// Ends the log even if the turn's task panics: a stream never just ends.
struct Ending<'a> {
    host: &'a Host,
    live: Arc<Live>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        // Without effect after an orderly end.
        self.live.log.end(End::Failed(Problem::from(Kind::Internal)));
        self.host.registry.end(&self.live);
    }
}

impl Host {
    /// Runs an admitted turn to its end. `answer` gets its first reader at once.
    pub(super) async fn run(
        &self,
        mut ticket: Ticket,
        started: Started,
        durable: Durable,
        answer: oneshot::Sender<Result<Reader, Problem>>,
    ) {
        let request = &ticket.request;
        let limit = self.config.turn.reply_bytes;
        let log = Log::new(started.turn, started.conversation, started.companion.clone(), limit);
        let live = Arc::new(Live {
            owner: request.owner.clone(),
            log: Arc::clone(&log),
            attempt: started.attempt,
            stop: Stop::default(),
            key: request.idempotency.clone(),
            began: tokio::time::Instant::now(),
        });
        let ending = Ending { host: self, live: Arc::clone(&live) };
        self.registry.begin(&live);
        ticket.key = None;
        // A reader that no one takes counts as one that left.
        let _ = answer.send(Ok(log.reader(None)));

        let span = tracing::info_span!(
            "turn",
            turn_id = %started.turn,
            conversation_id = %started.conversation,
            companion = started.companion,
            request_id = ticket.request.request_id,
        );
        let settled = self.walk_and_settle(&ticket, &started, durable, &live).instrument(span).await;
        log.end(settled.end);
        drop(ending);
    }

    async fn walk_and_settle(
        &self,
        ticket: &Ticket,
        started: &Started,
        durable: Durable,
        live: &Live,
    ) -> Settled {
        let owner = &ticket.request.owner;
        let (companion, models) = match self.cast(ticket, started) {
            Ok(cast) => cast,
            Err(problem) => return self.end_unplayed(ticket, started, durable, problem).await,
        };
        let deadline = Instant::now() + self.config.turn.timeout;
        let path = Path {
            lender: Arc::new(Lender {
                store: Arc::clone(&self.store),
                owner: owner.clone(),
                conversation: started.conversation,
                fence: Some(StateFence::Turn { turn: started.turn, epoch: started.epoch }),
                past: Arc::new(Past {
                    own: started.message.id,
                    own_sequence: started.message.sequence,
                    stored: started.attempt > 1,
                    tail: started.tail.clone(),
                }),
                model: companion.models.first().cloned(),
            }),
            companion: Arc::clone(&companion),
            models,
            log: Arc::clone(&live.log),
            redactor: Arc::clone(&ticket.set.redactor),
            deadline,
        };
        let mut draft = Draft::default();
        let turn = path::turn(started, owner);
        let linger = match ticket.request.idempotency {
            Some(_) => self.config.turn.linger_keyed,
            None => self.config.turn.linger,
        };
        let outcome = {
            let walk = AssertUnwindSafe(path.walk(turn, &mut draft)).catch_unwind();
            let work = async { tokio::try_join!(acknowledge(durable, &live.log), unpanicked(walk)) };
            tokio::select! {
                biased;
                reason = live.stop.asked() => Outcome::Stopped(reason),
                () = live.log.deserted(linger) => Outcome::Stopped(Reason::Deserted),
                done = tokio::time::timeout_at(deadline.into(), work) => match done {
                    Ok(Ok(((), ()))) => Outcome::Whole,
                    Ok(Err(outcome)) => outcome,
                    Err(_elapsed) => Outcome::Failed(Problem::from(Kind::TurnTimeout)),
                },
            }
        };
        let timing = Timing {
            first_content: draft.first_content.map(|at| at.duration_since(ticket.arrived)),
            total: ticket.arrived.elapsed(),
            shares: std::mem::take(&mut draft.shares),
            failed_over: draft.failed_over,
        };
        let account = Account::of(&draft, &timing, started);
        let (request_id, accounts) = (&ticket.request.request_id, &ticket.request.accounts);
        let settlement =
            Settlement { owner, companion: Some(&companion), started, draft, timing, request_id, accounts };
        let settled = self.settler.settle(settlement, outcome).await;
        account.log(&settled);
        settled
    }

    /// Who plays: decided before admission as far as the request told.
    fn cast(
        &self,
        ticket: &Ticket,
        started: &Started,
    ) -> Result<(Arc<Companion>, Vec<Arc<masque_runtime::Plugin>>), Problem> {
        let companion = admit::find(&ticket.set, &started.companion)?;
        let models = admit::models(companion, ticket.request.model.as_deref())?;
        Ok((Arc::clone(companion), models))
    }

    /// The conversation's companion is no longer there: the turn has no one to play it.
    async fn end_unplayed(
        &self,
        ticket: &Ticket,
        started: &Started,
        durable: Durable,
        problem: Problem,
    ) -> Settled {
        let outcome = match durable.wait().await {
            Ok(()) => Outcome::Failed(problem),
            Err(error) => Outcome::NeverAdmitted(error),
        };
        let settlement = Settlement {
            owner: &ticket.request.owner,
            companion: None,
            started,
            draft: Draft::default(),
            timing: Timing::default(),
            request_id: &ticket.request.request_id,
            accounts: &ticket.request.accounts,
        };
        self.settler.settle(settlement, outcome).await
    }
}

/// The admission is on disk: from here on readers may hear of the turn.
async fn acknowledge(durable: Durable, log: &Log) -> Result<(), Outcome> {
    durable.wait().await.map_err(Outcome::NeverAdmitted)?;
    log.open();
    Ok(())
}

async fn unpanicked(
    walk: impl Future<Output = std::thread::Result<Result<(), Problem>>>,
) -> Result<(), Outcome> {
    match walk.await {
        Ok(result) => result.map_err(Outcome::Failed),
        Err(_panic) => {
            tracing::error!("a turn panicked; the panic's own message is on standard error");
            Err(Outcome::Failed(Problem::from(Kind::Internal)))
        }
    }
}

/// What the log says of a turn that has ended.
struct Account {
    attempt: u32,
    model: Option<String>,
    total: f64,
    host: f64,
    first_content: Option<f64>,
    usage: masque_store::UsageRecord,
}

impl Account {
    fn of(draft: &Draft, timing: &Timing, started: &Started) -> Self {
        Self {
            attempt: started.attempt,
            model: draft.model.clone(),
            total: ms(timing.total),
            host: ms(timing.host()),
            first_content: timing.first_content.map(ms),
            usage: draft.usage,
        }
    }

    fn log(&self, settled: &settle::Settled) {
        let problem = match &settled.end {
            End::Failed(problem) => Some(problem.kind.name()),
            End::Completed(_) => None,
        };
        tracing::info!(
            status = %settled.status,
            problem,
            attempt = self.attempt,
            model = self.model,
            total_ms = self.total,
            host_ms = self.host,
            first_content_ms = self.first_content,
            input_tokens = self.usage.input_tokens,
            output_tokens = self.usage.output_tokens,
            "turn ended"
        );
    }
}
