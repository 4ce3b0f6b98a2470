//! Accounts, days, and the answers to those who ask whether a call may begin.

use std::time::Duration;

use crate::owner::Owner;

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

/// An account with its budget. The caller decides what an account is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetAccount {
    /// Its name.
    pub name: String,
    /// The tokens that it may spend in a day; `None` for any number. They are counted all the same.
    pub tokens_per_day: Option<u64>,
}

/// The day that a call was debited on. A correction names it, so that a call over midnight stays on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpendingDay(
    /// Days since the Unix epoch, in UTC.
    pub i64,
);

/// The answer to a debit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebitOutcome {
    /// The call may begin.
    Debited(SpendingDay),
    /// An account has spent its budget, and nothing was debited.
    BudgetSpent(BudgetSpent),
}

/// An account has no tokens left today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSpent {
    /// The tokens that the account has spent, those set aside for running calls and for other hosts included.
    pub used: u64,
    /// Its budget.
    pub budget: u64,
    /// Until the next day begins.
    pub day_ends_in: Duration,
}

/// What a call used more (or, where negative, less) than it was debited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// The day of the debit.
    pub day: SpendingDay,
    /// Tokens of input to add.
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
