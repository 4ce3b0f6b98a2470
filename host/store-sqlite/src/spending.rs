//! [`Spending`]: the tokens of accounts, debited before each model call and corrected after it.

use async_trait::async_trait;
use masque_store::{Correction, Debit, DebitOutcome, Spending, Spent, StoreError};

use crate::columns::now;
use crate::spending_rows::{CorrectSpending, MILLIS_OF_DAY, day_ends_in, spent};
use crate::store::SqliteStore;

#[async_trait]
impl Spending for SqliteStore {
    async fn spent(&self, account: &str) -> Result<Spent, StoreError> {
        let account = account.to_owned();
        self.read(move |connection| {
            let now = now();
            let (input_tokens, output_tokens) = spent(connection, &account, now / MILLIS_OF_DAY)?;
            Ok(Spent { input_tokens, output_tokens, day_ends_in: day_ends_in(now) })
        })
        .await
    }

    async fn debit(&self, debit: Debit) -> Result<DebitOutcome, StoreError> {
        self.write(debit).await
    }

    async fn correct(&self, accounts: Vec<String>, corrections: Vec<Correction>) -> Result<(), StoreError> {
        self.write(CorrectSpending { accounts, corrections }).await
    }
}
