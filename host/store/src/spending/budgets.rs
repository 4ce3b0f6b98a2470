//! The budgets of one host: debits calls from its blocks, and asks and tells the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::ledger::{Attempt, Ledger};
use super::report::Spending;
use super::types::{BudgetAccount, BudgetSpent, BudgetUse, Correction, DebitOutcome, DebitTime, Spent};
use crate::error::StoreError;
use crate::text::check_text;

/// The time between two reports. A host that is killed takes the debits of this time with it.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How long the last report may take while the host stops, of the few seconds in which the process is gone.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The time between two attempts of the last report.
const CLOSE_RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The accounts of one host. A debit asks the store only if the host's block of the account does not suffice. Debits that
/// ask at the same time share one report, which also tells what was used. If the store is away, what was used is kept
/// until it is back.
pub struct Budgets {
    store: Arc<dyn Spending>,
    ledger: Mutex<Ledger>,
    /// Held by the one report that is under way. The outcome of the one before.
    reporting: tokio::sync::Mutex<Result<(), StoreError>>,
}

impl Budgets {
    /// The budgets of the host that the store knows as `host`: no two values have the same. The store keeps a block for
    /// `lease` if the host is not heard of any more.
    pub fn new(store: Arc<dyn Spending>, host: Uuid, lease: Duration) -> Self {
        Self {
            store,
            ledger: Mutex::new(Ledger::new(host, lease)),
            reporting: tokio::sync::Mutex::new(Ok(())),
        }
    }

    /// Debits every account for a call that is about to begin, unless one of them has spent its budget. Then nothing is
    /// debited. Each account is debited once, however often it is named, and the debit counts for all that come later. The
    /// tokens are an estimate of what the call is going to use. If the future is dropped, nothing is debited.
    ///
    /// # Errors
    /// The store had to be asked and did not answer; or the name of an account can't be stored.
    pub async fn debit(
        &self,
        accounts: &[BudgetAccount],
        input_tokens: u64,
        output_tokens: u64,
    ) -> Result<DebitOutcome, StoreError> {
        let accounts = by_name(accounts)?;
        let tokens = (input_tokens, output_tokens);
        let outcome = self.attempt(|ledger, asked, now| ledger.debit(&accounts, tokens, asked, now)).await?;
        Ok(match outcome {
            Ok(time) => DebitOutcome::Debited(time),
            Err(spent) => DebitOutcome::BudgetSpent(spent),
        })
    }

    /// Corrects a debit of these accounts. It counts at once on this host, and is reported later.
    pub fn correct(&self, accounts: &[BudgetAccount], correction: Correction) {
        let Ok(accounts) = by_name(accounts) else { return };
        self.ledger().correct(accounts.into_keys(), correction, now());
    }

    /// Which of the budgets is spent, if one is. Debits nothing. The store is asked only if the host has no block with
    /// tokens left.
    ///
    /// # Errors
    /// As for [`Budgets::debit`].
    pub async fn check(&self, accounts: &[BudgetAccount]) -> Result<Option<BudgetSpent>, StoreError> {
        let accounts: BTreeMap<_, _> =
            by_name(accounts)?.into_iter().filter(|(_, budget)| budget.is_some()).collect();
        if accounts.is_empty() {
            return Ok(None);
        }
        let outcome = self.attempt(|ledger, asked, now| ledger.check(&accounts, 1, asked, now)).await?;
        Ok(outcome.err())
    }

    /// How much of their budgets accounts have used, of those that this host serves now. Each account is named once a day when it
    /// has nearly spent its own.
    pub fn budget_use(&self) -> BudgetUse {
        self.ledger().budget_use(now())
    }

    /// The tokens that the account has spent today, with all that this host has debited and corrected until now.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn spent(&self, account: &str) -> Result<Spent, StoreError> {
        let (is_reported, next) = {
            let ledger = self.ledger();
            (!ledger.has_unreported(), ledger.next_report())
        };
        if !is_reported {
            self.wait_for_report(next).await?;
        }
        self.store.spent(account).await
    }

    /// Reports what was used about every second, until it is dropped. If the store is away, tries again every second. A
    /// report that is under way when it is dropped is sent again with the next.
    pub async fn keep_reporting(&self) {
        let mut is_away = false;
        loop {
            tokio::time::sleep(REPORT_INTERVAL).await;
            if !self.ledger().is_due(now()) {
                continue;
            }
            let mut last = self.reporting.lock().await;
            *last = self.report(false).await;
            if let (Err(error), false) = (&*last, is_away) {
                tracing::warn!(%error, "the used tokens can't be counted in the store; trying again");
            }
            is_away = last.is_err();
        }
    }

    /// Reports what was used and gives all blocks back. Call it when no call runs any more. If the store does not answer
    /// within a few seconds, what was used since the last report is lost.
    pub async fn close(&self) {
        if self.ledger().is_empty() {
            return;
        }
        let close = async {
            let mut last = self.reporting.lock().await;
            loop {
                *last = self.report(true).await;
                match &*last {
                    // A report that was not confirmed is repeated as it was, and what came after it is in the next.
                    Ok(()) if !self.ledger().has_unreported() => return,
                    Ok(()) => {}
                    Err(_away) => tokio::time::sleep(CLOSE_RETRY_INTERVAL).await,
                }
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, close).await.is_err() {
            tracing::error!("the tokens that were used last are not counted: the store does not answer");
        }
    }

    /// Tries until the ledger has an answer, and asks the store in between.
    async fn attempt(
        &self,
        mut attempt: impl FnMut(&mut Ledger, Option<u64>, Instant) -> Attempt,
    ) -> Result<Result<DebitTime, BudgetSpent>, StoreError> {
        let mut asked = None;
        loop {
            let report = match attempt(&mut self.ledger(), asked, now()) {
                Attempt::Allowed(time) => return Ok(Ok(time)),
                Attempt::Refused(spent) => return Ok(Err(spent)),
                Attempt::Ask(report) => report,
            };
            self.wait_for_report(report).await?;
            asked.get_or_insert(report);
        }
    }

    /// Waits until a report with this number or a higher one has ended, or sends it.
    async fn wait_for_report(&self, report: u64) -> Result<(), StoreError> {
        let mut last = self.reporting.lock().await;
        if self.ledger().ended() < report {
            *last = self.report(false).await;
        }
        last.clone()
    }

    /// Sends one report. The caller holds the lock.
    async fn report(&self, returns_all: bool) -> Result<(), StoreError> {
        let begun_at = now();
        let (number, report) = self.ledger().begin_report(returns_all, begun_at);
        let answer = self.store.report_spending(report).await;
        let (answer, outcome) = match answer {
            Ok(answer) => (Some(answer), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.ledger().end_report(number, begun_at, now(), answer);
        outcome
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The accounts, each once, in an order that is always the same. A name that no store keeps is refused here: in a report,
/// it would fail those of all other accounts.
fn by_name(accounts: &[BudgetAccount]) -> Result<BTreeMap<&str, Option<u64>>, StoreError> {
    let named = accounts.iter().map(|BudgetAccount { name, tokens_per_day }| {
        check_text("account", name).map(|()| (name.as_str(), *tokens_per_day))
    });
    named.collect()
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
