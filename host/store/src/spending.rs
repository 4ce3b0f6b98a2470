//! Tokens spent, by account and day. They are counted in the transaction that ends the turn: see
//! [`crate::Commit::charge`].

use std::time::Duration;

use async_trait::async_trait;

use crate::error::StoreError;

/// Tokens spent by accounts, to be compared with budgets. The caller decides what an account is.
#[async_trait]
pub trait Spending: Send + Sync {
    /// The tokens that the account has spent today. Days are those of UTC, by the database's clock.
    async fn spent(&self, account: &str) -> Result<Spent, StoreError>;
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
