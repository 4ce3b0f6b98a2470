//! Runs one job: calls the plugin that it names with its state writes held back, and stores the result.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use masque_companions::{Active, ActiveSet, count_last_of_plugin};
use masque_runtime::{CallError, MessageTexts};
use masque_store::{Ability, Budgets, JobCompletion, JobRecord, StateFence, StateWrite, Store, StoreError};
use masque_telemetry::trace::Tracer;

use super::buffered_state::BufferedState;
use super::observed_run::{ObservedRun, RunOutcome};
use super::payload::Payload;
use super::retry::{FailedAttempt, RetryDecision, after_failure, after_panic, before_attempt};
use crate::capabilities::{Capabilities, ConversationContext, KnownHistory};
use crate::clock::whole_ms;
use crate::contract;
use crate::metering::UsageMeter;
use crate::records::CallLog;

/// How a job's call ended.
pub(super) enum JobOutcome {
    /// It succeeded. These state writes are to be stored with its completion.
    Done(Vec<StateWrite>),
    /// It failed, and another attempt may succeed.
    Failed(String),
    /// It failed after its question to the model was refused, since the tokens of the day are used.
    BudgetSpent { error: String, day_ends_in: Duration },
    /// It can't succeed without an operator.
    Hopeless(String),
}

/// What the jobs of one host share.
pub(super) struct JobRunner {
    pub(super) store: Arc<dyn Store>,
    pub(super) active: Arc<Active>,
    /// Pay for the questions of jobs to models.
    pub(super) budgets: Arc<Budgets>,
    /// The longest time for one call.
    pub(super) timeout: Duration,
    /// Begins the trace of each run.
    pub(super) tracer: Tracer,
}

impl JobRunner {
    /// Runs a job that was taken, from its call to its completion, retry or parking in the store. To be called within its
    /// [`log_span`](super::observed_run::log_span).
    pub(super) async fn run(self: Arc<Self>, job: JobRecord) {
        if let Some(decision) = before_attempt(job.attempt) {
            self.retry_or_park(&job, decision).await;
            return;
        }
        let run = ObservedRun::begin(&self.tracer, &job);
        // The job keeps this generation, whatever is published while it runs.
        let set = self.active.current();
        let outcome = self.conclude(&job, &set, self.call(&job, &set, &run)).await;
        run.end(&job, outcome);
    }

    /// Stores how a job's call ended. A call that panics fails this job alone.
    pub(super) async fn conclude(
        &self,
        job: &JobRecord,
        set: &ActiveSet,
        call: impl Future<Output = JobOutcome>,
    ) -> RunOutcome {
        let began = Instant::now();
        let called = AssertUnwindSafe(call).catch_unwind().await;
        let attempt = FailedAttempt { number: job.attempt, took: began.elapsed(), seed: retry_seed(job) };
        let Ok(outcome) = called else {
            return self.retry_or_park(job, after_panic(attempt)).await;
        };
        let decision = match outcome {
            JobOutcome::Done(writes) => {
                match self.store.complete(job.id, job.epoch, JobCompletion::writing(writes)).await {
                    Ok(true) => return RunOutcome::Done,
                    Ok(false) => {
                        tracing::warn!(job = %job.id, plugin = job.plugin, "a job's lease was lost; its writes are dropped");
                        return RunOutcome::Lost;
                    }
                    // The store panicked at these writes, and would again.
                    Err(StoreError::Internal(_)) => after_panic(attempt),
                    Err(error) => after_failure(attempt, set.redactor.redact(&error)),
                }
            }
            JobOutcome::Failed(error) => after_failure(attempt, set.redactor.redact(&error)),
            JobOutcome::BudgetSpent { error, day_ends_in } => {
                let error = set.redactor.redact(&error);
                match after_failure(attempt, error) {
                    RetryDecision::Retry { after, error } => {
                        RetryDecision::Retry { after: after.max(day_ends_in), error }
                    }
                    parked => parked,
                }
            }
            JobOutcome::Hopeless(error) => RetryDecision::Park { error: set.redactor.redact(&error) },
        };
        self.retry_or_park(job, decision).await
    }

    /// Calls the job's plugin in `set`.
    pub(super) async fn call(&self, job: &JobRecord, set: &ActiveSet, run: &ObservedRun) -> JobOutcome {
        let Some(plugin) = set.plugins.get(&job.plugin) else {
            count_last_of_plugin(&job.plugin);
            return JobOutcome::Hopeless(format!("no plugin is named `{}` any more", job.plugin));
        };
        let is_wanted = match job.ability {
            Ability::Observe => plugin.package().observes(),
            Ability::Reflect => plugin.package().reflects(),
        };
        if !is_wanted {
            // A later version of the plugin has dropped the function.
            return JobOutcome::Done(Vec::new());
        }
        let payload = match Payload::from_text(&job.payload) {
            Ok(payload) => payload,
            Err(error) => {
                return JobOutcome::Hopeless(format!("the job's payload can't be read: {error}"));
            }
        };
        if let Some(turn) = payload.turn_trace() {
            run.link(turn);
        }
        let before = Some(payload.user_message());
        let tail = self.store.messages_before(&job.owner, job.conversation, before, contract::TAIL).await;
        let tail = match tail {
            Ok(tail) => contract::newest_within(tail, contract::TAIL),
            Err(error) => return JobOutcome::Failed(error.to_string()),
        };
        let deadline = Instant::now() + self.timeout;
        let meter = {
            let budgets = Arc::clone(&self.budgets);
            UsageMeter::new(budgets, payload.accounts(), &payload.companion, job.conversation)
        };
        let exchange = payload.exchange(job, &tail, whole_ms(self.timeout));
        let context = ConversationContext {
            store: Arc::clone(&self.store),
            owner: job.owner.clone(),
            conversation: job.conversation,
            fence: Some(StateFence::Job { job: job.id, epoch: job.epoch }),
            history: KnownHistory {
                own_message: payload.user_message(),
                own_sequence: payload.sequence,
                is_stored: true,
                tail,
            },
            meter: Arc::clone(&meter),
            calls: CallLog::unrecorded(),
        };
        let companion = set.companions.get(&payload.companion);
        let capabilities =
            Capabilities::new(context, companion.and_then(|companion| companion.models.first().cloned()));
        let quota = plugin.limits().state_bytes as u64;
        let version = &plugin.package().description().version;
        let state = Arc::new(BufferedState::new(capabilities.state(plugin.name(), version, quota)));
        let mut call = capabilities.call(plugin, deadline, run.parent());
        call.state = Some(Arc::clone(&state) as _);
        let called: Result<(), CallError> = match job.ability {
            Ability::Observe => plugin.observe(call, &exchange).await,
            Ability::Reflect => plugin.reflect(call, &exchange).await,
        };
        let error = match called {
            Ok(()) => return JobOutcome::Done(state.take_writes().await),
            Err(error) => error,
        };
        let mut messages = MessageTexts::default();
        messages.add(exchange.turn.tail.iter().chain([&exchange.turn.message, &exchange.reply]));
        let error = set.redactor.redact_failure(&error, &messages);
        match meter.refusal() {
            Some(refusal) => JobOutcome::BudgetSpent { error, day_ends_in: refusal.day_ends_in() },
            None => JobOutcome::Failed(error),
        }
    }

    async fn retry_or_park(&self, job: &JobRecord, decision: RetryDecision) -> RunOutcome {
        let outcome = match &decision {
            RetryDecision::Retry { .. } => RunOutcome::Retried,
            RetryDecision::Park { .. } => RunOutcome::Parked,
        };
        let stored = match &decision {
            RetryDecision::Retry { after, error } => {
                tracing::warn!(job = %job.id, plugin = job.plugin, attempt = job.attempt, error, "a job failed");
                self.store.retry(job.id, job.epoch, *after, error).await
            }
            RetryDecision::Park { error } => {
                tracing::error!(job = %job.id, plugin = job.plugin, attempt = job.attempt, error, "a job is parked: it failed too often");
                self.store.park(job.id, job.epoch, error).await
            }
        };
        if let Err(error) = stored {
            // The lease runs out, and the job is taken again.
            tracing::warn!(job = %job.id, %error, "the end of a job could not be stored");
        }
        outcome
    }
}

/// The random half of the job's id, which spreads the retries of jobs that failed together.
fn retry_seed(job: &JobRecord) -> u64 {
    job.id.as_uuid().as_u64_pair().1
}
