//! Accounts, days, and the answers to those who ask whether a call may begin.

use std::time::Duration;

use crate::owner::Owner;

/// Milliseconds of a day.
pub(super) const MILLIS_OF_DAY: i64 = 86_400_000;

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

/// A day of spending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpendingDay(
    /// Days since the Unix epoch, in UTC.
    pub i64,
);

/// When a call was debited. A correction names it, so that a call over midnight stays on one day, and so that what an
/// erased user had used is told from what the same person uses later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DebitTime(
    /// Milliseconds since the Unix epoch by the database's clock. It can be early by the time that an answer of the
    /// database took, and is not late.
    pub i64,
);

impl DebitTime {
    /// The day that the call counts for.
    pub fn day(self) -> SpendingDay {
        SpendingDay(self.0.div_euclid(MILLIS_OF_DAY))
    }
}

/// The answer to a debit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebitOutcome {
    /// The call may begin.
    Debited(DebitTime),
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
    /// The time of the debit.
    pub debited_at: DebitTime,
    /// Tokens of input to add.
    pub input_tokens: i64,
    /// Tokens of output to add.
    pub output_tokens: i64,
}

/// How much of their budgets the accounts of one host have used today.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BudgetUse {
    /// The largest share of the accounts of API keys, 0 if none has a budget.
    pub key: f64,
    /// The largest share of the accounts of users.
    pub user: f64,
    /// The accounts that have used more than nine tenths and were not named before on this day, with their share.
    pub nearly_spent: Vec<(String, f64)>,
}

/// What the names of users' accounts begin with.
const USER: &str = "user:";

/// The account of a user: a text that no two owners share. The length tells issuer `a|b` with subject `c` from issuer `a`
/// with subject `b|c`.
pub fn user_account(owner: &Owner) -> String {
    let Owner { tenant, issuer, subject } = owner;
    format!("{USER}{tenant}|{}|{issuer}|{subject}", issuer.len())
}

/// Whether the account is that of a user.
pub(super) fn is_of_user(account: &str) -> bool {
    account.starts_with(USER)
}

/// The user of an account; `None` if it is not that of a user.
pub fn owner_of_account(account: &str) -> Option<Owner> {
    let (tenant, rest) = account.strip_prefix(USER)?.split_once('|')?;
    let (length, rest) = rest.split_once('|')?;
    let (issuer, subject) = rest.split_at_checked(length.parse().ok()?)?;
    let subject = subject.strip_prefix('|')?;
    Some(Owner { tenant: tenant.to_owned(), issuer: issuer.to_owned(), subject: subject.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_of_a_user_names_its_owner_and_others_name_nobody() {
        for (issuer, subject) in [("masque", "ana"), ("https://a|b", "c|d"), ("", "é"), ("ü", "")] {
            let owner = Owner { tenant: "default".into(), issuer: issuer.into(), subject: subject.into() };
            assert_eq!(owner_of_account(&user_account(&owner)), Some(owner));
        }
        for account in ["key:7", "user:", "user:t|9|i|s", "user:t|x|i|s", "user:t|1|é|s"] {
            assert_eq!(owner_of_account(account), None, "{account}");
        }
    }
}
