//! [`Spending`]: the tokens of accounts, debited before each model call and corrected after it.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    BudgetAccount, CheckTexts as _, Correction, Debit, DebitOutcome, Spending, SpendingDay, Spent,
    StoreError, check_text,
};
use sqlx::postgres::PgRow;

use crate::columns::{remaining, signed, unsigned};
use crate::error::Result as DatabaseResult;
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// Milliseconds of a day.
const MILLIS_OF_DAY: i64 = 86_400_000;

/// The most that one call can add or take away. Higher counts, which a model may claim, could overflow the sum of a year.
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
        found.ok_or_else(|| StoreError::Corrupt("a statement gave no row".into()))
    }

    async fn debit(&self, debit: Debit) -> Result<DebitOutcome, StoreError> {
        debit.accounts.check_texts()?;
        let accounts: BTreeMap<&str, Option<u64>> = debit
            .accounts
            .iter()
            .map(|BudgetAccount { name, tokens_per_day }| (&**name, *tokens_per_day))
            .collect();
        let statement = statement(
            accounts.keys().copied().collect(),
            accounts.values().map(|budget| budget.map(signed)).collect(),
            Some((debit.input_tokens, debit.output_tokens)),
            &debit.corrections,
        );
        let outcome = self.write_first(statement, outcome).await?;
        outcome.ok_or_else(|| StoreError::Corrupt("a statement gave no row".into()))
    }

    async fn correct(&self, accounts: Vec<String>, corrections: Vec<Correction>) -> Result<(), StoreError> {
        accounts.iter().try_for_each(|account| check_text("account", account))?;
        let mut accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let budgets = vec![None; accounts.len()];
        self.write(statement(accounts, budgets, None, &corrections)).await.map(drop)
    }
}

/// Corrections, and tokens to debit, for accounts that are named once.
fn statement(
    accounts: Vec<&str>,
    budgets: Vec<Option<i64>>,
    tokens: Option<(u64, u64)>,
    corrections: &[Correction],
) -> Statement {
    let bounded = |tokens: i64| tokens.clamp(-MAX_TOKENS, MAX_TOKENS);
    Statement::new("SELECT * FROM masque_debit_v1($1, $2, $3, $4, $5, $6, $7)")
        .bind(accounts)
        .bind(budgets)
        .bind(tokens.map(|(input, _)| bounded(signed(input))))
        .bind(tokens.map(|(_, output)| bounded(signed(output))))
        .bind(corrections.iter().map(|correction| correction.day.0).collect::<Vec<_>>())
        .bind(corrections.iter().map(|correction| bounded(correction.input_tokens)).collect::<Vec<_>>())
        .bind(corrections.iter().map(|correction| bounded(correction.output_tokens)).collect::<Vec<_>>())
}

fn outcome(row: &PgRow) -> DatabaseResult<DebitOutcome> {
    let now: i64 = get(row, 0)?;
    Ok(match (get::<Option<i64>, _>(row, 1)?, get::<Option<i64>, _>(row, 2)?) {
        (Some(used), Some(budget)) => DebitOutcome::BudgetSpent {
            used: unsigned(used)?,
            budget: unsigned(budget)?,
            day_ends_in: day_ends_in(now),
        },
        _ => DebitOutcome::Debited(SpendingDay(now / MILLIS_OF_DAY)),
    })
}

/// The time from `now` to the end of its day.
fn day_ends_in(now: i64) -> Duration {
    remaining(MILLIS_OF_DAY - now % MILLIS_OF_DAY)
}
