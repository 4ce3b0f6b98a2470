//! What a host tells the store of its accounts, and what it is told.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::types::{DebitTime, SpendingDay, Spent};
use crate::error::StoreError;
use crate::text::{CheckTexts, check_text};

/// Tokens spent by accounts, and the blocks of tokens that hosts hold.
#[async_trait]
pub trait Spending: Send + Sync {
    /// The tokens that the account has spent today, as far as they are reported. Days are those of UTC, by the database's
    /// clock.
    async fn spent(&self, account: &str) -> Result<Spent, StoreError>;

    /// Counts what a host used, and gives, keeps and takes back its blocks, in one transaction. Called by
    /// [`Budgets`](super::Budgets), with one report of a host at a time.
    ///
    /// What is given of an account:
    ///
    /// - What is *available* is the budget, less what is spent, less what is left of the blocks that other hosts hold. A
    ///   block whose lease has ended is held by nobody, also not by the host that took it.
    /// - The host's block is never more than that, so spending and blocks together are never more than the budget.
    /// - If the block has fewer tokens than wanted, it grows by a quarter of what is left over, divided by the number of
    ///   hosts that live, and to what is wanted at least.
    ///
    /// Nothing is written of an account whose user was erased, unless the same person came back: tokens that were debited
    /// before the days of the account were removed for good are not counted, and of a report from before no block is made.
    ///
    /// Can be repeated after any error: what is used counts once for each [`SpendingReport::revision`], and a block that
    /// has what is wanted does not grow.
    async fn report_spending(&self, report: SpendingReport) -> Result<ReportAnswer, StoreError>;

    /// Removes the days of all accounts that ended longer ago than this, a bounded number in one transaction. Returns how
    /// many; call again while it is not zero.
    async fn forget_spending(&self, older_than: Duration) -> Result<u64, StoreError>;
}

/// What one host used since its last report, and which blocks it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendingReport {
    /// The host that reports.
    pub host: Uuid,
    /// Rises by one whenever `used` holds something new. A report with the revision of the one before repeats its `used`,
    /// which is not counted again; one with a lower revision is late, and changes nothing.
    pub revision: u64,
    /// How long the host keeps the blocks that it names, unless it names them again.
    pub lease: Duration,
    /// When it was made, in milliseconds by the database's clock, or earlier. `i64::MIN` if the host has not read that clock
    /// yet.
    pub sent_at: i64,
    /// Each account and day once at most.
    pub used: Vec<UsedTokens>,
    /// Each account once at most.
    pub blocks: Vec<BlockRequest>,
}

/// Tokens of one account on one day. Negative numbers correct what was counted before; a sum below zero counts as zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedTokens {
    /// The account.
    pub account: String,
    /// The day of the debits. Those of another day than today leave the block of today alone.
    pub day: SpendingDay,
    /// The time of the first of the debits, or earlier.
    pub debited_at: DebitTime,
    /// Tokens of input to add.
    pub input_tokens: i64,
    /// Tokens of output to add.
    pub output_tokens: i64,
}

/// What a host wants of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockRequest {
    /// A block of today with this many tokens, if there are so many. Zero keeps the block as it is, and makes none: that
    /// of a user who was erased stays removed.
    Hold {
        /// The account.
        account: String,
        /// The tokens that it may spend in a day.
        budget: i64,
        /// How many tokens the block should have when `used` has been counted.
        wanted: i64,
    },
    /// The host needs its block no longer.
    Return {
        /// The account.
        account: String,
    },
}

/// The answer to a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportAnswer {
    /// The database's clock, in milliseconds since the Unix epoch.
    pub now: i64,
    /// One for each [`BlockRequest::Hold`], in any order, all of the day of `now`. None if the report was late, and none for a
    /// block that was not made because the user was erased.
    pub blocks: Vec<HeldBlock>,
}

/// A block as the store has it after a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBlock {
    /// The account.
    pub account: String,
    /// The budget that it was asked for with.
    pub budget: i64,
    /// What the host may use. Negative while the host's last call used more than there was.
    pub tokens: i64,
    /// How many tokens the block could have at most. Not positive if the budget is spent.
    pub available: i64,
}

impl BlockRequest {
    /// The account that it is about.
    pub fn account(&self) -> &str {
        match self {
            Self::Hold { account, .. } | Self::Return { account } => account,
        }
    }
}

impl CheckTexts for SpendingReport {
    fn check_texts(&self) -> Result<(), StoreError> {
        let used = self.used.iter().map(|used| used.account.as_str());
        let blocks = self.blocks.iter().map(BlockRequest::account);
        used.chain(blocks).try_for_each(|account| check_text("account", account))
    }
}
