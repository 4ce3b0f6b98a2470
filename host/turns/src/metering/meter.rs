//! Debits the accounts of one turn, job or greeting for each of its model calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use masque_problem::{Kind, Problem};
use masque_runtime::contract::{Delta, Failure, Prompt};
use masque_store::{
    BudgetAccount, Correction, Debit, DebitOutcome, SpendingDay, Store, StoreError, UsageRecord,
};

use super::call_usage::{CallEnd, CallUsage, Tokens};
use crate::clock::whole_ms;
use crate::failure::store_problem;

/// How long the end of a turn waits for its corrections to be stored.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The accounts that pay for the model calls of one turn, job or greeting.
///
/// Corrections are collected, and stored with the next debit or by [`UsageMeter::settle`]. Those that come later, from a
/// call that was cancelled, are stored when the meter is dropped.
pub(crate) struct UsageMeter {
    store: Arc<dyn Store>,
    accounts: Vec<BudgetAccount>,
    state: Mutex<MeterState>,
}

#[derive(Default)]
struct MeterState {
    corrections: BTreeMap<SpendingDay, (i64, i64)>,
    refused: Option<BudgetSpent>,
}

/// An account has no tokens left today.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BudgetSpent {
    used: u64,
    budget: u64,
    day_ends_in: Duration,
}

/// Why a model call may not begin.
#[derive(Debug)]
pub(crate) enum DebitError {
    /// A budget is spent.
    BudgetSpent(BudgetSpent),
    /// The store did not confirm the debit.
    Store(StoreError),
}

impl UsageMeter {
    /// A meter for `accounts`. Without an account, nothing is counted.
    pub(crate) fn new(store: Arc<dyn Store>, accounts: Vec<BudgetAccount>) -> Arc<Self> {
        Arc::new(Self { store, accounts, state: Mutex::default() })
    }

    /// Debits every account for a call of a model with this prompt, which may begin then.
    ///
    /// # Errors
    /// A budget is spent, or the store does not answer: the call may not begin.
    pub(crate) async fn begin(self: &Arc<Self>, prompt: &Prompt) -> Result<MeteredCall, DebitError> {
        let usage = CallUsage::new(prompt);
        let mut call = MeteredCall { meter: Arc::clone(self), debit: None, usage, end: CallEnd::Incomplete };
        if self.accounts.is_empty() {
            return Ok(call);
        }
        let Tokens { input: input_tokens, output: output_tokens } = call.usage.estimate();
        let corrections = self.take_corrections();
        let debit = Debit {
            accounts: self.accounts.clone(),
            input_tokens,
            output_tokens,
            corrections: corrections.clone(),
        };
        match self.store.debit(debit).await {
            Ok(DebitOutcome::Debited(day)) => {
                call.debit = Some(day);
                Ok(call)
            }
            Ok(DebitOutcome::BudgetSpent { used, budget, day_ends_in }) => {
                let spent = BudgetSpent { used, budget, day_ends_in };
                self.state().refused = Some(spent);
                Err(DebitError::BudgetSpent(spent))
            }
            Err(error) => {
                // After an unknown outcome they may have been applied, and are not applied twice.
                if matches!(error, StoreError::Unavailable(_)) {
                    self.put_back(&corrections);
                }
                Err(DebitError::Store(error))
            }
        }
    }

    /// Why a call was refused, if one was. A plugin whose question to a model was refused may fail for that reason.
    pub(crate) fn refusal(&self) -> Option<BudgetSpent> {
        self.state().refused
    }

    /// Stores the corrections of the calls that have ended.
    pub(crate) async fn settle(&self) {
        let corrections = self.take_corrections();
        if corrections.is_empty() {
            return;
        }
        let correct = self.store.correct(self.account_names(), corrections);
        match tokio::time::timeout(SETTLE_TIMEOUT, correct).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the tokens of a model call stay as they were estimated")
            }
            // The store has the correction in its queue and may still apply it.
            Err(_elapsed) => tracing::warn!("the store takes long to count the tokens of a model call"),
        }
    }

    fn account_names(&self) -> Vec<String> {
        self.accounts.iter().map(|account| account.name.clone()).collect()
    }

    fn take_corrections(&self) -> Vec<Correction> {
        corrections(std::mem::take(&mut self.state().corrections))
    }

    fn put_back(&self, corrections: &[Correction]) {
        let mut state = self.state();
        for Correction { day, input_tokens, output_tokens } in corrections {
            state.add(*day, *input_tokens, *output_tokens);
        }
    }

    fn state(&self) -> MutexGuard<'_, MeterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UsageMeter {
    /// Stores what a cancelled call has left behind. Nobody waits for it.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let corrections = corrections(std::mem::take(&mut state.corrections));
        // Outside of the runtime the process is about to end, and the estimate stays.
        let (false, Ok(runtime)) = (corrections.is_empty(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let (store, accounts) = (Arc::clone(&self.store), self.account_names());
        runtime.spawn(async move {
            if let Err(error) = store.correct(accounts, corrections).await {
                tracing::warn!(%error, "the tokens of a cancelled model call stay as they were estimated");
            }
        });
    }
}

impl MeterState {
    fn add(&mut self, day: SpendingDay, input_tokens: i64, output_tokens: i64) {
        let sum = self.corrections.entry(day).or_default();
        *sum = (sum.0.saturating_add(input_tokens), sum.1.saturating_add(output_tokens));
    }
}

fn corrections(sums: BTreeMap<SpendingDay, (i64, i64)>) -> Vec<Correction> {
    sums.into_iter()
        .filter(|(_, sum)| *sum != (0, 0))
        .map(|(day, (input_tokens, output_tokens))| Correction { day, input_tokens, output_tokens })
        .collect()
}

/// A model call that was debited. Dropping it corrects the debit by what the call used; unless its end was reported
/// before, it counts as cut off.
pub(crate) struct MeteredCall {
    meter: Arc<UsageMeter>,
    /// `None` if there are no accounts.
    debit: Option<SpendingDay>,
    usage: CallUsage,
    end: CallEnd,
}

impl MeteredCall {
    /// Counts one item of the reply.
    pub(crate) fn add(&mut self, delta: &Delta) {
        self.usage.add(delta);
    }

    /// What the model reported so far.
    pub(crate) fn reported(&self) -> UsageRecord {
        self.usage.reported()
    }

    /// What clients are told of the call: what the model reported so far, with an estimate for the rest.
    pub(crate) fn usage(&self) -> UsageRecord {
        self.usage.reported_or_estimated()
    }

    /// The model's reply is complete.
    pub(crate) fn complete(mut self) {
        self.end = CallEnd::Complete;
    }

    /// The call failed with this code.
    pub(crate) fn fail(mut self, code: &str) {
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
        let Some(day) = self.debit else { return };
        let (estimate, actual) = (self.usage.estimate(), self.usage.actual(self.end));
        let input = difference(actual.input, estimate.input);
        let output = difference(actual.output, estimate.output);
        self.meter.state().add(day, input, output);
    }
}

fn difference(actual: u64, estimate: u64) -> i64 {
    i64::try_from(i128::from(actual) - i128::from(estimate)).unwrap_or(i64::MAX)
}

impl BudgetSpent {
    /// What the client is told.
    pub(crate) fn problem(self) -> Problem {
        let Self { used, budget, day_ends_in } = self;
        let detail = format!(
            "{used} tokens of {budget} are used today, those set aside for running replies included; wait for the next \
             day (UTC)."
        );
        Problem::new(Kind::BudgetSpent, detail).retry_after(day_ends_in)
    }

    /// The time until there are tokens again.
    pub(crate) fn day_ends_in(self) -> Duration {
        self.day_ends_in
    }
}

impl DebitError {
    /// What the client of a turn is told.
    pub(crate) fn problem(&self) -> Problem {
        match self {
            Self::BudgetSpent(spent) => spent.problem(),
            Self::Store(error) => store_problem(error),
        }
    }

    /// What a plugin is told that asked the model.
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::BudgetSpent(spent) => Failure {
                retry_after_ms: Some(whole_ms(spent.day_ends_in)),
                ..Failure::new("rate-limited", "the tokens of the day are used")
            },
            Self::Store(_) => Failure::new("unavailable", "the host's store is not available"),
        }
    }
}
