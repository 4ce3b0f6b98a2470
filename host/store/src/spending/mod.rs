//! Tokens spent, by account and day. A model call is debited before it begins and corrected afterwards, so that a call
//! whose end nobody sees was still paid for.
//!
//! Threat: if every debit asked the database, a busy API key would be one row that all hosts wait for, and every turn
//! would wait for it. Policy: a host takes blocks of tokens from the [`Spending`] of its store, debits calls from its block
//! in memory ([`Budgets`]), and reports what was used about once a second, for all accounts together. A block is a share
//! of what is left, it counts as used for other hosts while the lease on it lasts, and it ends with its day. The last
//! block is all that is left, so each host exceeds a budget by one call at most.
//!
//! Threat: a host that was cut off from the database has tokens of a user to report who was erased meanwhile, and the row
//! would have the user's name again. Policy: a report says when its tokens were debited. The store keeps a keyed hash of the
//! account of each erased user and the time at which its days were removed for good. What was debited until then is not
//! counted, however late it is reported.
//!
//! Accepted consequence: a host reports the tokens of an account together, so what a returned user spends is not counted
//! either while the same report has tokens from before.
//!
//! Accepted consequence: a host that is killed takes the debits since its last report with it, those of the last second.
//! The rest of its block comes back when its lease ends. Counting the whole block as spent instead would let one crash
//! take a quarter of a user's day.

mod account;
mod budgets;
mod ledger;
mod report;
mod types;

#[cfg(test)]
mod ledger_tests;

pub use budgets::Budgets;
pub use report::{BlockRequest, HeldBlock, ReportAnswer, Spending, SpendingReport, UsedTokens};
pub use types::{
    BudgetAccount, BudgetSpent, BudgetUse, Correction, DebitOutcome, DebitTime, SpendingDay, Spent,
    owner_of_account, user_account,
};
