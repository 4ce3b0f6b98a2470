//! [`Spending`]: the tokens of accounts, and the blocks of them that hosts hold.

use std::time::Duration;

use async_trait::async_trait;
use masque_store::{ReportAnswer, Spending, SpendingReport, Spent, StoreError};

use crate::columns::now;
use crate::retention::ForgetSpending;
use crate::spending_rows::{MILLIS_OF_DAY, day_ends_in, spent};
use crate::store::SqliteStore;

#[async_trait]
impl Spending for SqliteStore {
    async fn spent(&self, account: &str) -> Result<Spent, StoreError> {
        let account = account.to_owned();
        self.read(move |connection| {
            let now = now();
            let (input_tokens, output_tokens) = spent(connection, &account, now.div_euclid(MILLIS_OF_DAY))?;
            Ok(Spent { input_tokens, output_tokens, day_ends_in: day_ends_in(now) })
        })
        .await
    }

    async fn report_spending(&self, report: SpendingReport) -> Result<ReportAnswer, StoreError> {
        self.write(report).await
    }

    async fn forget_spending(&self, older_than: Duration) -> Result<u64, StoreError> {
        self.write(ForgetSpending { older_than }).await
    }
}
