//! [`Spending`]: the tokens of accounts, and the blocks of them that hosts hold.

use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    BlockRequest, CheckTexts as _, HeldBlock, ReportAnswer, Spending, SpendingReport, Spent, StoreError,
};
use sqlx::postgres::PgRow;

use crate::columns::{millis, remaining, signed, unsigned};
use crate::error::{DatabaseError, Result as DatabaseResult};
use crate::retention::forget_spending;
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// Milliseconds of a day.
const MILLIS_OF_DAY: i64 = 86_400_000;

/// The most that one report can add or take away. Higher counts, which a model may claim, could overflow the sum of a year.
const MAX_TOKENS: i64 = 1_000_000_000_000;

#[async_trait]
impl Spending for PostgresStore {
    async fn spent(&self, account: &str) -> Result<Spent, StoreError> {
        let statement = Statement::new(
            "SELECT n.now_at, coalesce(s.input_tokens, 0), coalesce(s.output_tokens, 0)
               FROM (SELECT masque_now_v1() AS now_at) n
                    LEFT JOIN spending s ON s.account = $1 AND s.day = n.now_at / 86400000",
        )
        .bind(account);
        let spent = |row: &PgRow| {
            Ok(Spent {
                input_tokens: unsigned(get(row, 1)?)?,
                output_tokens: unsigned(get(row, 2)?)?,
                day_ends_in: day_ends_in(get(row, 0)?),
            })
        };
        let found = self.read_first(statement, spent).await?;
        found.ok_or_else(no_row)
    }

    async fn report_spending(&self, report: SpendingReport) -> Result<ReportAnswer, StoreError> {
        report.check_texts()?;
        let rows = self.write(statement(&report)).await?;
        let now = rows.first().ok_or_else(no_row)?;
        let now: i64 = get(now, 0).map_err(DatabaseError::of_read)?;
        let blocks: DatabaseResult<_> = rows.iter().skip(1).map(block).collect();
        Ok(ReportAnswer { now, blocks: blocks.map_err(DatabaseError::of_read)? })
    }

    async fn forget_spending(&self, older_than: Duration) -> Result<u64, StoreError> {
        forget_spending(self, older_than).await
    }
}

fn statement(report: &SpendingReport) -> Statement {
    let SpendingReport { host, revision, lease, sent_at, used, blocks } = report;
    let bounded = |tokens: i64| tokens.clamp(-MAX_TOKENS, MAX_TOKENS);
    let (budgets, wanted): (Vec<Option<i64>>, Vec<i64>) = blocks
        .iter()
        .map(|request| match request {
            BlockRequest::Hold { budget, wanted, .. } => (Some(*budget), *wanted),
            BlockRequest::Return { .. } => (None, 0),
        })
        .unzip();
    Statement::new(
        "SELECT * FROM masque_report_spending_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(*host)
    .bind(signed(*revision))
    .bind(millis(*lease))
    .bind(*sent_at)
    .bind(used.iter().map(|used| used.account.as_str()).collect::<Vec<_>>())
    .bind(used.iter().map(|used| used.day.0).collect::<Vec<_>>())
    .bind(used.iter().map(|used| used.debited_at.0).collect::<Vec<_>>())
    .bind(used.iter().map(|used| bounded(used.input_tokens)).collect::<Vec<_>>())
    .bind(used.iter().map(|used| bounded(used.output_tokens)).collect::<Vec<_>>())
    .bind(blocks.iter().map(BlockRequest::account).collect::<Vec<_>>())
    .bind(budgets)
    .bind(wanted)
}

fn block(row: &PgRow) -> DatabaseResult<HeldBlock> {
    Ok(HeldBlock {
        account: get(row, 1)?,
        budget: get(row, 2)?,
        tokens: get(row, 3)?,
        available: get(row, 4)?,
    })
}

/// The time from `now` to the end of its day.
fn day_ends_in(now: i64) -> Duration {
    remaining(MILLIS_OF_DAY - now % MILLIS_OF_DAY)
}

fn no_row() -> StoreError {
    StoreError::Corrupt("a statement gave no row".into())
}
