//! What was spent of the model's tokens, by account and day. Counted with the exchange that spent it: see
//! [`crate::Commit::charge`].

use std::time::Duration;

use async_trait::async_trait;

use crate::error::StoreError;

/// Budgets' other side. Whose account a name is, the caller decides.
#[async_trait]
pub trait Spending: Send + Sync {
    /// What the account has spent today. Days are those of UTC, by the database's clock.
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
