//! Debits the accounts of one turn, job or greeting for each of its model calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use masque_problem::{Kind, Problem};
use masque_runtime::Plugin;
use masque_runtime::contract::{Delta, Failure, Prompt};
use masque_store::{
    BudgetAccount, BudgetSpent, Budgets, ConversationId, Correction, DebitOutcome, DebitTime, StoreError,
    UsageRecord,
};
use masque_telemetry::metrics::turns::{BUDGET_REFUSALS, MODEL_CALLS, TOKENS};
use masque_telemetry::trace::SpanParent;

use super::call_usage::{CallEnd, CallUsage, Tokens};
use crate::clock::whole_ms;
use crate::failure::{CANCELLED, known_code, store_problem};
use crate::instrumentation::ChatSpan;

/// The accounts that pay for the model calls of one turn, job or greeting.
///
/// The host's [`Budgets`] count a debit before its call begins, and its correction when the call ends, so whoever sees the
/// end of a turn finds its tokens counted on this host.
pub(crate) struct UsageMeter {
    budgets: Arc<Budgets>,
    accounts: Vec<BudgetAccount>,
    /// The name of the companion and the conversation, for metrics and traces.
    companion: String,
    conversation: ConversationId,
    refused: Mutex<Option<Refusal>>,
}

/// A call was refused since an account has no tokens left today.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal(BudgetSpent);

/// Why a model call may not begin.
#[derive(Debug)]
pub(crate) enum DebitError {
    /// A budget is spent.
    BudgetSpent(Refusal),
    /// The store did not say whether there are tokens left.
    Store(StoreError),
}

impl UsageMeter {
    /// A meter for `accounts`. Without an account, nothing is debited. Metrics and traces name the companion and the
    /// conversation.
    pub(crate) fn new(
        budgets: Arc<Budgets>,
        accounts: Vec<BudgetAccount>,
        companion: &str,
        conversation: ConversationId,
    ) -> Arc<Self> {
        let companion = companion.to_owned();
        Arc::new(Self { budgets, accounts, companion, conversation, refused: Mutex::new(None) })
    }

    /// Debits every account for a call of `model` with this prompt, which may begin then. Its span begins below `parent`.
    /// `asked_by` is the plugin that asks; without one, the call is for the reply itself.
    ///
    /// # Errors
    /// A budget is spent, or the store had to be asked and does not answer: the call may not begin.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        prompt: &Prompt,
        model: &Plugin,
        asked_by: Option<&str>,
        parent: &SpanParent,
    ) -> Result<MeteredCall, DebitError> {
        let usage = CallUsage::new(prompt);
        let debit = self.debit(usage.estimate()).await?;
        Ok(MeteredCall {
            meter: Arc::clone(self),
            model: model.name().to_owned(),
            asked_by: asked_by.map(str::to_owned),
            span: ChatSpan::begin(parent, model, prompt, self.conversation),
            debit,
            usage,
            end: CallEnd::Incomplete,
            outcome: CANCELLED,
            finish: None,
        })
    }

    /// Debits every account. `None` if there are none.
    async fn debit(&self, Tokens { input, output }: Tokens) -> Result<Option<DebitTime>, DebitError> {
        if self.accounts.is_empty() {
            return Ok(None);
        }
        match self.budgets.debit(&self.accounts, input, output).await.map_err(DebitError::Store)? {
            DebitOutcome::Debited(time) => Ok(Some(time)),
            DebitOutcome::BudgetSpent(spent) => {
                BUDGET_REFUSALS.increment(&[]);
                let refusal = Refusal(spent);
                *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
                Err(DebitError::BudgetSpent(refusal))
            }
        }
    }

    /// Why a call was refused, if one was. A plugin whose question to a model was refused may fail for that reason.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A model call that was debited. Dropping it corrects the debit by what the call used, counts the call and ends its span;
/// unless its end was reported before, it counts as cut off.
pub(crate) struct MeteredCall {
    meter: Arc<UsageMeter>,
    model: String,
    /// The plugin that asked, unless the call is for the reply itself.
    asked_by: Option<String>,
    span: ChatSpan,
    /// `None` if there are no accounts.
    debit: Option<DebitTime>,
    usage: CallUsage,
    end: CallEnd,
    /// `ok`, or the code of the failure.
    outcome: &'static str,
    /// Why the model stopped, if it said so.
    finish: Option<&'static str>,
}

impl MeteredCall {
    /// Counts one item of the reply.
    pub(crate) fn add(&mut self, delta: &Delta) {
        self.span.add(delta);
        self.usage.add(delta);
    }

    /// Where the plugin's own call is in the trace.
    pub(crate) fn trace(&self) -> SpanParent {
        self.span.parent()
    }

    /// What the model reported so far.
    pub(crate) fn reported(&self) -> UsageRecord {
        self.usage.reported()
    }

    /// What clients are told of the call: what the model reported so far, with an estimate for the rest.
    pub(crate) fn usage(&self) -> UsageRecord {
        self.usage.reported_or_estimated()
    }

    /// The model's reply is complete, and ended for this reason.
    pub(crate) fn complete(mut self, finish: Option<&'static str>) {
        (self.end, self.outcome, self.finish) = (CallEnd::Complete, "ok", finish);
    }

    /// The host stopped the model at the limit of a reply.
    pub(crate) fn stop_at_limit(mut self) {
        (self.outcome, self.finish) = ("ok", Some("length"));
    }

    /// The call failed with this code.
    pub(crate) fn fail(mut self, code: &str) {
        self.outcome = known_code(code);
        if is_refusal(code) {
            self.end = CallEnd::Refused;
        }
    }
}

/// Whether a failure code means that the upstream, or the host, refused the call before a model read the prompt. Providers
/// don't bill such calls.
fn is_refusal(code: &str) -> bool {
    matches!(code, "denied" | "unauthorized" | "rate-limited" | "overloaded" | "not-found")
}

impl Drop for MeteredCall {
    fn drop(&mut self) {
        let (estimate, actual) = (self.usage.estimate(), self.usage.actual(self.end));
        let (companion, model) = (self.meter.companion.as_str(), self.model.as_str());
        let plugin = self.asked_by.as_deref().unwrap_or(model);
        MODEL_CALLS.increment(&[companion, plugin, model, self.outcome]);
        let cached = self.usage.reported().cached_tokens;
        for (direction, tokens) in [("input", actual.input), ("output", actual.output), ("cached", cached)] {
            if tokens > 0 {
                TOKENS.add(&[companion, model, direction], tokens);
            }
        }
        self.span.end(self.outcome, self.finish, self.usage());
        let Some(debited_at) = self.debit else { return };
        let correction = Correction {
            debited_at,
            input_tokens: difference(actual.input, estimate.input),
            output_tokens: difference(actual.output, estimate.output),
        };
        self.meter.budgets.correct(&self.meter.accounts, correction);
    }
}

fn difference(actual: u64, estimate: u64) -> i64 {
    i64::try_from(i128::from(actual) - i128::from(estimate)).unwrap_or(i64::MAX)
}

impl Refusal {
    /// What the client is told.
    pub(crate) fn problem(self) -> Problem {
        let BudgetSpent { used, budget, day_ends_in } = self.0;
        let detail = format!(
            "{used} tokens of {budget} are used today, those set aside for running replies included; wait for the next \
             day (UTC)."
        );
        Problem::new(Kind::BudgetSpent, detail).retry_after(day_ends_in)
    }

    /// The time until there are tokens again.
    pub(crate) fn day_ends_in(self) -> Duration {
        self.0.day_ends_in
    }
}

impl DebitError {
    /// What the client of a turn is told.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::BudgetSpent(refusal) => refusal.problem(),
            Self::Store(error) => store_problem(error),
        }
    }

    /// What a plugin is told that asked the model.
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::BudgetSpent(refusal) => Failure {
                retry_after_ms: Some(whole_ms(refusal.day_ends_in())),
                ..Failure::new("rate-limited", "the tokens of the day are used")
            },
            Self::Store(_) => Failure::new("unavailable", "the host's store is not available"),
        }
    }
}
