//! One turn while it runs. The pipeline and the write of the admission run side by side, and everything that may end the
//! turn is watched: its deadline, its cancellation, and the lack of a reader.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use masque_companions::Companion;
use masque_problem::{Kind, Problem};
use masque_runtime::Plugin;
use masque_store::{Durable, Started, StateFence, UsageRecord};
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::admission::{Ticket, find_companion, select_models};
use crate::cancellation::{CancelReason, Cancellation};
use crate::capabilities::{Capabilities, ConversationContext, KnownHistory};
use crate::clock::fractional_ms;
use crate::contract;
use crate::draft::ReplyDraft;
use crate::finalizer::{FinalizedTurn, FinishedTurn, TurnOutcome};
use crate::host::{Host, LEASE};
use crate::log::{EventLog, EventReader, TurnEnd};
use crate::metering::UsageMeter;
use crate::pipeline::Pipeline;
use crate::publisher::publish;
use crate::registry::{LiveTurn, TurnRegistry};
use crate::request::ChatRequest;
use crate::timing::TurnTiming;

/// The target of the line that says how long a turn waited for the store. Its own name lets a filter ask for this line alone.
const STORE_TIME: &str = "masque_turns::store";

/// Ends the log and the registry's entry when it is dropped, also if the turn's task panics: a stream never ends without
/// a last event.
struct EndGuard<'a> {
    registry: &'a TurnRegistry,
    live: Arc<LiveTurn>,
}

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        // Has no effect if the turn has ended normally.
        self.live.log.end(TurnEnd::Failed(Problem::from(Kind::Internal)));
        self.registry.end(&self.live);
    }
}

impl Host {
    /// Runs an admitted turn to its end. `answer` gets the first reader at once.
    pub(crate) async fn run(
        &self,
        mut ticket: Ticket,
        started: Started,
        durable: Durable,
        answer: oneshot::Sender<Result<EventReader, Problem>>,
    ) {
        let request = &ticket.request;
        let limit = self.options.max_reply_bytes;
        let log = EventLog::new(started.turn, started.conversation, started.companion.clone(), limit);
        let live = Arc::new(LiveTurn {
            owner: request.owner.clone(),
            log: Arc::clone(&log),
            attempt: started.attempt,
            cancellation: Cancellation::default(),
            key: request.idempotency.clone(),
        });
        log.renew_lease(ticket.asked + LEASE);
        let guard = EndGuard { registry: &self.registry, live: Arc::clone(&live) };
        self.registry.begin(&live);
        ticket.key_slot = None;
        if self.shared.events.is_shared() {
            let events = Arc::clone(&self.shared.events);
            self.tasks.spawn(publish(events, Arc::clone(&log), started.attempt));
        }
        // If the client is gone, the reader is dropped, which counts as a reader that has left.
        let _ = answer.send(Ok(log.reader(None)));

        let span = tracing::info_span!(
            "turn",
            turn_id = %started.turn,
            conversation_id = %started.conversation,
            companion = started.companion,
            request_id = ticket.request.request_id,
        );
        let finalized = self.run_and_finalize(&ticket, &started, durable, &live).instrument(span).await;
        log.end(finalized.end);
        drop(guard);
        drop(ticket);
        self.waiters.wake_without_place(started.conversation);
    }

    async fn run_and_finalize(
        &self,
        ticket: &Ticket,
        started: &Started,
        durable: Durable,
        live: &LiveTurn,
    ) -> FinalizedTurn {
        let owner = &ticket.request.owner;
        let (companion, models) = match select_plugins(ticket, started) {
            Ok(plugins) => plugins,
            Err(problem) => return self.end_without_companion(ticket, started, durable, problem).await,
        };
        let deadline = Instant::now() + self.options.timeout;
        let meter = UsageMeter::new(Arc::clone(&self.budgets), ticket.request.accounts.clone());
        let context = ConversationContext {
            store: Arc::clone(&self.store),
            owner: owner.clone(),
            conversation: started.conversation,
            fence: Some(StateFence::Turn { turn: started.turn, epoch: started.epoch }),
            history: KnownHistory {
                own_message: started.message.id,
                own_sequence: started.message.sequence,
                is_stored: started.attempt > 1,
                tail: started.tail.clone(),
            },
            meter,
        };
        let pipeline = Pipeline {
            capabilities: Capabilities::new(context, companion.models.first().cloned()),
            companion: Arc::clone(&companion),
            models,
            log: Arc::clone(&live.log),
            redactor: Arc::clone(&ticket.set.redactor),
            deadline,
        };
        let mut draft = ReplyDraft::default();
        let turn = contract::turn(started, owner, &ticket.request.profile);
        let linger = match ticket.request.idempotency {
            Some(_) => self.options.linger_keyed,
            None => self.options.linger,
        };
        let mut admitting = None;
        let outcome = {
            let run = AssertUnwindSafe(pipeline.run(turn, &mut draft)).catch_unwind();
            let open = async {
                open_when_durable(durable, &live.log)
                    .await
                    .inspect(|()| admitting = Some(ticket.asked.elapsed()))
            };
            let work = async { tokio::try_join!(open, without_panic(run)) };
            tokio::select! {
                biased;
                reason = live.cancellation.cancelled() => TurnOutcome::Cancelled(reason),
                () = live.log.lease_over() => TurnOutcome::Cancelled(CancelReason::LeaseLost),
                () = live.log.abandoned(linger) => TurnOutcome::Cancelled(CancelReason::NoReader),
                done = tokio::time::timeout_at(deadline.into(), work) => match done {
                    Ok(Ok(((), ()))) => TurnOutcome::Completed,
                    Ok(Err(outcome)) => outcome,
                    Err(_elapsed) => TurnOutcome::Failed(Problem::from(Kind::TurnTimeout)),
                },
            }
        };
        let outcome = match outcome {
            // The host was paused between the end of the pipeline and this line.
            TurnOutcome::Completed if live.log.is_lease_over() => {
                TurnOutcome::Cancelled(CancelReason::LeaseLost)
            }
            outcome => outcome,
        };
        let timing = TurnTiming {
            first_content: draft.first_content.map(|at| at.duration_since(ticket.arrived)),
            total: ticket.arrived.elapsed(),
            plugins: std::mem::take(&mut draft.plugins),
            failed_models: draft.failed_models,
        };
        let summary = TurnSummary::new(&draft, &timing, started);
        let ChatRequest { profile, request_id, accounts, .. } = &ticket.request;
        let companion = Some(&*companion);
        let finished =
            FinishedTurn { owner, profile, companion, started, draft, timing, request_id, accounts };
        let ending = Instant::now();
        let finalized = self.finalizer.finalize(finished, outcome).await;
        if let Some(admitting) = admitting {
            let store_ms = fractional_ms(admitting + ending.elapsed());
            tracing::debug!(target: STORE_TIME, store_ms, "the store admitted and ended the turn");
        }
        summary.log(&finalized);
        finalized
    }

    /// Ends a turn whose companion is not in the active set any more.
    async fn end_without_companion(
        &self,
        ticket: &Ticket,
        started: &Started,
        durable: Durable,
        problem: Problem,
    ) -> FinalizedTurn {
        let outcome = match durable.wait().await {
            Ok(()) => TurnOutcome::Failed(problem),
            Err(error) => TurnOutcome::NotAdmitted(error),
        };
        let finished = FinishedTurn {
            owner: &ticket.request.owner,
            profile: &ticket.request.profile,
            companion: None,
            started,
            draft: ReplyDraft::default(),
            timing: TurnTiming::default(),
            request_id: &ticket.request.request_id,
            accounts: &ticket.request.accounts,
        };
        self.finalizer.finalize(finished, outcome).await
    }
}

/// The companion and the models that answer. For a new conversation they were checked before admission.
fn select_plugins(ticket: &Ticket, started: &Started) -> Result<(Arc<Companion>, Vec<Arc<Plugin>>), Problem> {
    let companion = find_companion(&ticket.set, &started.companion)?;
    let models = select_models(companion, ticket.request.model.as_deref())?;
    Ok((Arc::clone(companion), models))
}

/// Makes the log visible once the admission is on disk.
async fn open_when_durable(durable: Durable, log: &EventLog) -> Result<(), TurnOutcome> {
    durable.wait().await.map_err(TurnOutcome::NotAdmitted)?;
    log.open();
    Ok(())
}

/// Turns a panic of the pipeline into a failed turn.
async fn without_panic(
    run: impl Future<Output = std::thread::Result<Result<(), Problem>>>,
) -> Result<(), TurnOutcome> {
    match run.await {
        Ok(result) => result.map_err(TurnOutcome::Failed),
        Err(_panic) => {
            tracing::error!("a turn panicked; the panic's own message is on standard error");
            Err(TurnOutcome::Failed(Problem::from(Kind::Internal)))
        }
    }
}

/// What the log says about a turn that has ended.
struct TurnSummary {
    attempt: u32,
    model: Option<String>,
    total_ms: f64,
    host_ms: f64,
    first_content_ms: Option<f64>,
    usage: UsageRecord,
}

impl TurnSummary {
    fn new(draft: &ReplyDraft, timing: &TurnTiming, started: &Started) -> Self {
        Self {
            attempt: started.attempt,
            model: draft.model.clone(),
            total_ms: fractional_ms(timing.total),
            host_ms: fractional_ms(timing.host()),
            first_content_ms: timing.first_content.map(fractional_ms),
            usage: draft.usage,
        }
    }

    fn log(&self, finalized: &FinalizedTurn) {
        let problem = match &finalized.end {
            TurnEnd::Failed(problem) => Some(problem.kind.name()),
            TurnEnd::Completed(_) => None,
        };
        tracing::info!(
            status = %finalized.status,
            problem,
            attempt = self.attempt,
            model = self.model,
            total_ms = self.total_ms,
            host_ms = self.host_ms,
            first_content_ms = self.first_content_ms,
            input_tokens = self.usage.input_tokens,
            output_tokens = self.usage.output_tokens,
            usage_estimated = self.usage.estimated,
            "turn ended"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use masque_store::{ConversationId, Owner, TurnId};

    use super::*;
    use crate::log::EventKind;

    #[tokio::test]
    async fn a_turn_whose_task_panics_ends_its_log_with_a_failure() {
        let registry = Arc::new(TurnRegistry::new(Duration::from_secs(60)));
        let log = EventLog::new(TurnId::new(), ConversationId::new(), "elara".into(), 1024);
        let live = Arc::new(LiveTurn {
            owner: Owner { tenant: "default".into(), issuer: "local".into(), subject: "local".into() },
            log: Arc::clone(&log),
            attempt: 1,
            cancellation: Cancellation::default(),
            key: None,
        });
        registry.begin(&live);
        log.open();
        log.write("Half a ").unwrap();
        let task = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move {
                let _guard = EndGuard { registry: &registry, live };
                panic!("the turn's task fails");
            }
        });
        assert!(task.await.unwrap_err().is_panic());
        assert!(log.has_ended());

        let mut reader = log.reader(None);
        let mut events = Vec::new();
        while let Some(more) = reader.next().await {
            events.extend(more);
        }
        let last = &events.last().unwrap().kind;
        assert!(matches!(last, EventKind::Failed(problem) if problem.kind == Kind::Internal), "{last:?}");
        assert!(registry.running().is_empty());
    }
}
