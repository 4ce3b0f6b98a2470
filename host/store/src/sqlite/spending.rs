//! [`Spending`]: reading what was counted where a turn ends.

use async_trait::async_trait;
use sqlx::Row;

use super::SqliteStore;
use super::fault::Fault;
use super::rows::{now, remaining, unsigned};
use crate::{Spending, Spent, StoreError};

/// Milliseconds of a day, as SQL has them.
macro_rules! day {
    () => {
        "86400000"
    };
}
pub(super) use day;

/// Counts the tokens of a turn (`$input`, `$output`, NULL for none) for each account in a JSON array, on the day of a
/// time in milliseconds. What a model claims is cut where a year of it would overflow a sum.
macro_rules! charge {
    ($accounts:expr, $time:expr, $input:literal, $output:literal) => {
        concat!(
            "INSERT INTO spending (account, day, input_tokens, output_tokens)
             SELECT DISTINCT value, ",
            $time,
            " / ",
            $crate::sqlite::spending::day!(),
            ", min(",
            $input,
            ", 1000000000000), min(",
            $output,
            ", 1000000000000) FROM json_each(",
            $accounts,
            ") WHERE ",
            $input,
            " IS NOT NULL
             ON CONFLICT DO UPDATE SET input_tokens = input_tokens + excluded.input_tokens,
                                       output_tokens = output_tokens + excluded.output_tokens;"
        )
    };
}
pub(super) use charge;

#[async_trait]
impl Spending for SqliteStore {
    async fn spent(&self, account: &str) -> Result<Spent, StoreError> {
        let mut connection = self.reader().await?;
        let row = sqlx::query(concat!(
            "WITH clock AS (SELECT ",
            now!(),
            " AS now)
             SELECT coalesce(input_tokens, 0), coalesce(output_tokens, 0), ",
            day!(),
            " - now % ",
            day!(),
            " FROM clock LEFT JOIN spending ON account = $1 AND day = now / ",
            day!()
        ))
        .bind(account)
        .fetch_one(&mut *connection)
        .await
        .map_err(Fault::from)?;
        let number = |column: usize| row.try_get::<i64, _>(column).map_err(Fault::from);
        Ok(Spent {
            input_tokens: unsigned(number(0)?)?,
            output_tokens: unsigned(number(1)?)?,
            day_ends_in: remaining(number(2)?),
        })
    }
}
