//! One turn while it runs. The pipeline and the write of the admission run side by side, and everything that may end the
//! turn is watched: its deadline, its cancellation, and the lack of a reader.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use masque_companions::{Companion, count_last_of_companion};
use masque_problem::{Kind, Problem};
use masque_runtime::{Plugin, ReportContent};
use masque_store::{Durable, Started, StateFence, TurnId};
use masque_telemetry::metrics::turns::RECORDS_DROPPED;
use masque_telemetry::trace::RootSpan;
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::admission::{Ticket, find_companion, select_models};
use crate::cancellation::{CancelReason, Cancellation};
use crate::capabilities::{Capabilities, ConversationContext, KnownHistory};
use crate::clock::fractional_ms;
use crate::contract;
use crate::draft::ReplyDraft;
use crate::end_guard::EndGuard;
use crate::finalizer::{FinalizedTurn, FinishedTurn, TurnOutcome};
use crate::host::{Host, LEASE};
use crate::instrumentation::{ObservedTurn, log_span};
use crate::log::{EventLog, EventReader};
use crate::metering::UsageMeter;
use crate::pipeline::Pipeline;
use crate::publisher::publish;
use crate::records::{CallLog, RecordContent, RecordedEnd, build};
use crate::registry::LiveTurn;
use crate::request::ChatRequest;
use crate::summary::TurnSummary;
use crate::timing::TurnTiming;

/// The target of the line that says how long a turn waited for the store. Its own name lets a filter ask for this line alone.
const STORE_TIME: &str = "masque_turns::store";

impl Host {
    /// Runs an admitted turn, which has the span `root`, to its end. `answer` gets the first reader at once.
    pub(crate) async fn run(
        &self,
        mut ticket: Ticket,
        root: RootSpan,
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
        let guard = EndGuard::new(&self.registry, &live);
        self.registry.begin(&live);
        ticket.key_slot = None;
        if self.shared.events.is_shared() {
            let events = Arc::clone(&self.shared.events);
            self.tasks.spawn(publish(events, Arc::clone(&log), started.attempt));
        }
        // If the client is gone, the reader is dropped, which counts as a reader that has left.
        let _ = answer.send(Ok(log.reader(None)));

        let observed = ObservedTurn::begin(root, &started.companion, ticket.arrived);
        let calls = CallLog::new(ticket.arrived, self.recorded_content(started.turn));
        let (turn, conversation) = (started.turn, started.conversation);
        let span = log_span(turn, conversation, &started.companion, &request.request_id, request.trace);
        let running = RunningTurn {
            ticket: &ticket,
            started: &started,
            live: &live,
            observed: &observed,
            calls: &calls,
        };
        let (finalized, draft, timing) = self.run_and_finalize(running, durable).instrument(span).await;
        log.end(finalized.end.clone());
        let outcome = observed.end(&finalized.end, &draft, &calls);
        drop(guard);
        let (request, set) = ticket.release();
        self.waiters.wake_without_place(started.conversation);
        // Nobody waits for the record: readers, slots and whoever waits come first.
        if let (Some(sink), Some(_)) = (&self.options.record_sink, calls.content()) {
            let end =
                RecordedEnd { outcome: outcome.name(), end: &finalized.end, draft: &draft, timing: &timing };
            sink.push(&request.owner, &build(self.id, &request, &set, &started, &calls, &end));
        }
    }

    /// What is collected for the record of a turn, if there is to be one.
    fn recorded_content(&self, turn: TurnId) -> Option<ReportContent> {
        self.options.record_sink.as_ref()?;
        let content = self.options.records.content_for(turn);
        if content.is_none() && self.options.records.content != RecordContent::Off {
            RECORDS_DROPPED.increment(&["share"]);
        }
        content
    }

    async fn run_and_finalize(
        &self,
        running: RunningTurn<'_>,
        durable: Durable,
    ) -> (FinalizedTurn, ReplyDraft, TurnTiming) {
        let RunningTurn { ticket, started, live, observed, calls } = running;
        let owner = &ticket.request.owner;
        let (companion, models) = match select_plugins(ticket, started) {
            Ok(plugins) => plugins,
            Err(problem) => return self.end_without_companion(running, durable, problem).await,
        };
        let deadline = Instant::now() + self.options.timeout;
        let (budgets, accounts) = (Arc::clone(&self.budgets), ticket.request.accounts.clone());
        let meter = UsageMeter::new(budgets, accounts, &started.companion, started.conversation);
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
            calls: Arc::clone(calls),
        };
        let pipeline = Pipeline {
            capabilities: Capabilities::new(context, companion.models.first().cloned()),
            companion: Arc::clone(&companion),
            models,
            log: Arc::clone(&live.log),
            redactor: Arc::clone(&ticket.set.redactor),
            trace: observed.parent(),
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
                let _span = observed.parent().span("store admission");
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
        let ending = Instant::now();
        let finalized = {
            let _span = observed.parent().span("commit");
            let finished = finished(&running, Some(&companion), &draft, &timing);
            self.finalizer.finalize(finished, outcome).await
        };
        if let Some(admitting) = admitting {
            let store_ms = fractional_ms(admitting + ending.elapsed());
            tracing::debug!(target: STORE_TIME, store_ms, "the store admitted and ended the turn");
        }
        summary.log(&finalized);
        (finalized, draft, timing)
    }

    /// Ends a turn whose companion is not in the active set any more.
    async fn end_without_companion(
        &self,
        running: RunningTurn<'_>,
        durable: Durable,
        problem: Problem,
    ) -> (FinalizedTurn, ReplyDraft, TurnTiming) {
        let outcome = match durable.wait().await {
            Ok(()) => TurnOutcome::Failed(problem),
            Err(error) => TurnOutcome::NotAdmitted(error),
        };
        let (draft, timing) = (ReplyDraft::default(), TurnTiming::default());
        let finalized = self.finalizer.finalize(finished(&running, None, &draft, &timing), outcome).await;
        count_last_of_companion(&running.started.companion);
        (finalized, draft, timing)
    }
}

/// A turn that runs, with those who watch it.
#[derive(Clone, Copy)]
struct RunningTurn<'a> {
    ticket: &'a Ticket,
    started: &'a Started,
    live: &'a LiveTurn,
    observed: &'a ObservedTurn,
    calls: &'a Arc<CallLog>,
}

/// What the store is told of a turn whose pipeline has ended.
fn finished<'a>(
    running: &RunningTurn<'a>,
    companion: Option<&'a Companion>,
    draft: &'a ReplyDraft,
    timing: &'a TurnTiming,
) -> FinishedTurn<'a> {
    let ChatRequest { owner, profile, request_id, accounts, trace, .. } = &running.ticket.request;
    let (started, trace) = (running.started, *trace);
    FinishedTurn { owner, profile, companion, started, draft, timing, request_id, accounts, trace }
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
