//! Tokens by account and day.

use std::collections::BTreeSet;

use masque_store::Charge;
use rusqlite::Connection;

use crate::columns::signed;
use crate::error::Result;
use crate::query::execute;

/// Milliseconds of a day.
pub(crate) const MILLIS_OF_DAY: i64 = 86_400_000;

/// The most that one turn can add. Higher counts, which a model may claim, could overflow the sum of a year.
const MAX_TOKENS: i64 = 1_000_000_000_000;

/// Adds the tokens of a turn to each account once, on the day of `now`.
pub(crate) fn charge(connection: &Connection, charge: &Charge, now: i64) -> Result<()> {
    let accounts: BTreeSet<&String> = charge.accounts.iter().collect();
    for account in accounts {
        execute(
            connection,
            "INSERT INTO spending (account, day, input_tokens, output_tokens) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET input_tokens = input_tokens + excluded.input_tokens,
                                       output_tokens = output_tokens + excluded.output_tokens",
            (
                account,
                now / MILLIS_OF_DAY,
                signed(charge.usage.input_tokens).min(MAX_TOKENS),
                signed(charge.usage.output_tokens).min(MAX_TOKENS),
            ),
        )?;
    }
    Ok(())
}
