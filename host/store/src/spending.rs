//! Tokens spent, by account and day. A model call is debited before it begins and corrected afterwards, so that a call
//! whose end nobody sees was still paid for.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::StoreError;
use crate::owner::Owner;

/// Tokens spent by accounts, compared with their budgets. The caller decides what an account is.
#[async_trait]
pub trait Spending: Send + Sync {
    /// The tokens that the account has spent today. Days are those of UTC, by the database's clock.
    async fn spent(&self, account: &str) -> Result<Spent, StoreError>;

    /// Adds the tokens of a call that is about to begin to every account, unless one of them has spent its budget. Then
    /// nothing is added. The check and the addition are one transaction, so of calls that begin together, each counts
    /// those before it. Corrections of earlier calls are applied first, in either case.
    ///
    /// A budget is exceeded by one call at most, as far as the estimates are right.
    async fn debit(&self, debit: Debit) -> Result<DebitOutcome, StoreError>;

    /// Applies corrections to every account. Not repeatable: after [`StoreError::OutcomeUnknown`] they may be applied.
    async fn correct(&self, accounts: Vec<String>, corrections: Vec<Correction>) -> Result<(), StoreError>;
}

/// The tokens of one day so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Read by the model.
    pub input_tokens: u64,
    /// Written by the model.
    pub output_tokens: u64,
    /// Until the next day begins.
    pub day_ends_in: Duration,
}

/// An account with its budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetAccount {
    /// Its name.
    pub name: String,
    /// The tokens that it may spend in a day; `None` for any number. They are counted all the same.
    pub tokens_per_day: Option<u64>,
}

/// The tokens of a model call that is about to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debit {
    /// Each account is debited once, however often it is named.
    pub accounts: Vec<BudgetAccount>,
    /// An estimate of what the model is going to read.
    pub input_tokens: u64,
    /// An estimate of what the model is going to write.
    pub output_tokens: u64,
    /// What earlier calls for the same accounts used more or less than they were debited.
    pub corrections: Vec<Correction>,
}

/// The day that a call was debited on. A correction names it, so that a call over midnight stays on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpendingDay(
    /// Days since the Unix epoch.
    pub i64,
);

/// The answer to a debit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebitOutcome {
    /// The call may begin.
    Debited(SpendingDay),
    /// An account has spent its budget, and nothing was debited.
    BudgetSpent {
        /// The tokens that the account has spent, those set aside for running calls included.
        used: u64,
        /// Its budget.
        budget: u64,
        /// Until the next day begins.
        day_ends_in: Duration,
    },
}

/// What a call used more (or, where negative, less) than it was debited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The day of the debit.
    pub day: SpendingDay,
    /// Tokens of input to add. A sum below zero counts as zero.
    pub input_tokens: i64,
    /// Tokens of output to add.
    pub output_tokens: i64,
}

/// The account of a user: a text that no two owners share. The length tells issuer `a|b` with subject `c` from issuer `a`
/// with subject `b|c`.
pub fn user_account(owner: &Owner) -> String {
    let Owner { tenant, issuer, subject } = owner;
    format!("user:{tenant}|{}|{issuer}|{subject}", issuer.len())
}
