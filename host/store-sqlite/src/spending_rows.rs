//! Tokens by account and day.

use std::collections::BTreeMap;
use std::time::Duration;

use masque_store::{
    BudgetAccount, CheckTexts as _, Correction, Debit, DebitOutcome, SpendingDay, check_text,
};
use rusqlite::Connection;

use crate::columns::{now, remaining, signed, unsigned};
use crate::error::Result;
use crate::operation::Operation;
use crate::query::{execute, first_row};

/// Milliseconds of a day.
pub(crate) const MILLIS_OF_DAY: i64 = 86_400_000;

/// The most that one call can add or take away. Higher counts, which a model may claim, could overflow the sum of a year.
const MAX_TOKENS: i64 = 1_000_000_000_000;

impl Operation for Debit {
    type Answer = DebitOutcome;

    fn run(self, connection: &Connection) -> Result<DebitOutcome> {
        self.accounts.check_texts()?;
        let now = now();
        let today = now / MILLIS_OF_DAY;
        let accounts: BTreeMap<&str, Option<u64>> = self
            .accounts
            .iter()
            .map(|BudgetAccount { name, tokens_per_day }| (&**name, *tokens_per_day))
            .collect();
        for account in accounts.keys() {
            correct(connection, account, &self.corrections)?;
        }
        for (account, budget) in &accounts {
            let Some(budget) = *budget else { continue };
            let (input, output) = spent(connection, account, today)?;
            let used = input.saturating_add(output);
            if used >= budget {
                let day_ends_in = day_ends_in(now);
                return Ok(DebitOutcome::BudgetSpent { used, budget, day_ends_in });
            }
        }
        for account in accounts.keys() {
            add(connection, account, today, signed(self.input_tokens), signed(self.output_tokens))?;
        }
        Ok(DebitOutcome::Debited(SpendingDay(today)))
    }
}

/// Corrections of debits that are not followed by another debit.
pub(crate) struct CorrectSpending {
    pub(crate) accounts: Vec<String>,
    pub(crate) corrections: Vec<Correction>,
}

impl Operation for CorrectSpending {
    type Answer = ();

    fn run(self, connection: &Connection) -> Result<()> {
        let mut accounts = self.accounts;
        accounts.sort_unstable();
        accounts.dedup();
        for account in &accounts {
            check_text("account", account)?;
            correct(connection, account, &self.corrections)?;
        }
        Ok(())
    }
}

/// The tokens of input and output that an account has spent on a day.
pub(crate) fn spent(connection: &Connection, account: &str, day: i64) -> Result<(u64, u64)> {
    let tokens = first_row(
        connection,
        "SELECT input_tokens, output_tokens FROM spending WHERE account = ?1 AND day = ?2",
        (account, day),
        |row| Ok((unsigned(row.get(0)?)?, unsigned(row.get(1)?)?)),
    )?;
    Ok(tokens.unwrap_or_default())
}

/// The time from `now` to the end of its day.
pub(crate) fn day_ends_in(now: i64) -> Duration {
    remaining(MILLIS_OF_DAY - now % MILLIS_OF_DAY)
}

fn correct(connection: &Connection, account: &str, corrections: &[Correction]) -> Result<()> {
    for Correction { day, input_tokens, output_tokens } in corrections {
        add(connection, account, day.0, *input_tokens, *output_tokens)?;
    }
    Ok(())
}

/// Adds to the tokens of an account on a day, or takes away from them, to zero at least.
fn add(connection: &Connection, account: &str, day: i64, input: i64, output: i64) -> Result<()> {
    let bounded = |tokens: i64| tokens.clamp(-MAX_TOKENS, MAX_TOKENS);
    execute(
        connection,
        "INSERT INTO spending (account, day, input_tokens, output_tokens) VALUES (?1, ?2, max(?3, 0), max(?4, 0))
         ON CONFLICT DO UPDATE SET input_tokens = max(input_tokens + ?3, 0),
                                   output_tokens = max(output_tokens + ?4, 0)",
        (account, day, bounded(input), bounded(output)),
    )?;
    Ok(())
}
