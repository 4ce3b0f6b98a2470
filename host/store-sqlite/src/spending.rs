//! [`Spending`]: reads the tokens that were counted when turns ended.

use async_trait::async_trait;
use masque_store::{Spending, Spent, StoreError};

use crate::columns::{now, remaining, unsigned};
use crate::query::first_row;
use crate::spending_rows::MILLIS_OF_DAY;
use crate::store::SqliteStore;

#[async_trait]
impl Spending for SqliteStore {
    async fn spent(&self, account: &str) -> Result<Spent, StoreError> {
        let account = account.to_owned();
        self.read(move |connection| {
            let now = now();
            let tokens = first_row(
                connection,
                "SELECT input_tokens, output_tokens FROM spending WHERE account = ?1 AND day = ?2",
                (&account, now / MILLIS_OF_DAY),
                |row| Ok((unsigned(row.get(0)?)?, unsigned(row.get(1)?)?)),
            )?;
            let (input_tokens, output_tokens) = tokens.unwrap_or_default();
            let day_ends_in = remaining(MILLIS_OF_DAY - now % MILLIS_OF_DAY);
            Ok(Spent { input_tokens, output_tokens, day_ends_in })
        })
        .await
    }
}
