//! Tokens by account and day, and the blocks that hosts hold.

use std::time::Duration;

use masque_store::{
    BlockRequest, CheckTexts as _, HeldBlock, ReportAnswer, SpendingDay, SpendingReport, UsedTokens,
};
use rusqlite::Connection;
use uuid::Uuid;

use crate::columns::{lease_clock, lease_end, now, remaining, signed, unsigned};
use crate::erasure_rows::{installation, is_spending_removed};
use crate::error::Result;
use crate::operation::Operation;
use crate::query::{execute, first_row, one_row};

/// Milliseconds of a day.
pub(crate) const MILLIS_OF_DAY: i64 = 86_400_000;

/// The most that one report can add or take away. Higher counts, which a model may claim, could overflow the sum of a year.
const MAX_TOKENS: i64 = 1_000_000_000_000;

/// What part of the tokens that nobody holds a block gets. Only one host lives that can use the database.
const SHARE: i64 = 4;

impl Operation for SpendingReport {
    type Answer = ReportAnswer;

    fn run(self, connection: &Connection) -> Result<ReportAnswer> {
        self.check_texts()?;
        let (now, installation) = (now(), installation(connection)?);
        let today = now.div_euclid(MILLIS_OF_DAY);
        let revision = signed(self.revision);
        let seen = first_row(
            connection,
            "SELECT revision FROM spending_reports WHERE host = ?1",
            [self.host],
            |row| Ok(row.get::<_, i64>(0)?),
        )?;
        if seen.is_some_and(|seen| revision < seen) {
            return Ok(ReportAnswer { now, blocks: Vec::new() });
        }
        if seen.is_none_or(|seen| revision > seen) {
            for used in &self.used {
                if !is_spending_removed(connection, &installation, &used.account, used.debited_at.0)? {
                    count(connection, self.host, today, used)?;
                }
            }
            execute(
                connection,
                "INSERT INTO spending_reports (host, revision, reported_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET revision = ?2, reported_at = ?3",
                (self.host, revision, now),
            )?;
        }
        let mut blocks = Vec::new();
        for request in self.blocks {
            match request {
                BlockRequest::Hold { account, budget, wanted } => {
                    if wanted > 0 && is_spending_removed(connection, &installation, &account, self.sent_at)? {
                        continue;
                    }
                    let (tokens, available) =
                        hold(connection, self.host, (&account, today), budget, wanted, self.lease)?;
                    blocks.push(HeldBlock { account, budget, tokens, available });
                }
                BlockRequest::Return { account } => {
                    execute(
                        connection,
                        "DELETE FROM spending_blocks WHERE account = ?1 AND host = ?2",
                        (account, self.host),
                    )?;
                }
            }
        }
        Ok(ReportAnswer { now, blocks })
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
    remaining(MILLIS_OF_DAY - now.rem_euclid(MILLIS_OF_DAY))
}

/// Removes the blocks of other hosts, which are gone: this one has the database alone.
pub(crate) fn take_back_blocks_of_others(connection: &Connection, host: Uuid) -> Result<()> {
    execute(connection, "DELETE FROM spending_blocks WHERE host <> ?1", [host])?;
    Ok(())
}

/// Adds to the tokens of an account on a day, or takes away from them, to zero at least. Those of today come out of the
/// host's block, or go back into it.
fn count(connection: &Connection, host: Uuid, today: i64, used: &UsedTokens) -> Result<()> {
    let UsedTokens { account, day: SpendingDay(day), debited_at: _, input_tokens, output_tokens } = used;
    let bounded = |tokens: i64| tokens.clamp(-MAX_TOKENS, MAX_TOKENS);
    let (input, output) = (bounded(*input_tokens), bounded(*output_tokens));
    execute(
        connection,
        "INSERT INTO spending (account, day, input_tokens, output_tokens) VALUES (?1, ?2, max(?3, 0), max(?4, 0))
         ON CONFLICT DO UPDATE SET input_tokens = max(input_tokens + ?3, 0),
                                   output_tokens = max(output_tokens + ?4, 0)",
        (account, day, input, output),
    )?;
    if *day == today {
        execute(
            connection,
            "UPDATE spending_blocks SET tokens = tokens - ?4 WHERE account = ?1 AND day = ?2 AND host = ?3",
            (account, day, host, input + output),
        )?;
    }
    Ok(())
}

/// Keeps the host's block, and makes it larger if it has fewer tokens than wanted. Returns the tokens that it has, and how
/// many it could have at most. A block is made only if tokens are wanted: a host that keeps the block of a user who was
/// erased meanwhile would write their name again.
fn hold(
    connection: &Connection,
    host: Uuid,
    (account, today): (&str, i64),
    budget: i64,
    wanted: i64,
    lease: Duration,
) -> Result<(i64, i64)> {
    let (own, others) = one_row(
        connection,
        "SELECT coalesce(sum(tokens) FILTER (WHERE host = ?3), 0),
                coalesce(sum(max(tokens, 0)) FILTER (WHERE host <> ?3), 0)
           FROM spending_blocks WHERE account = ?1 AND day = ?2 AND ends_at > ?4",
        (account, today, host, lease_clock()),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let (input, output) = spent(connection, account, today)?;
    let available = budget.saturating_sub(signed(input.saturating_add(output))).saturating_sub(others);
    let share = available.saturating_sub(own.max(0)).max(0) / SHARE;
    let grown = if own >= wanted { own } else { own.saturating_add(share).max(wanted) };
    let tokens = grown.min(available);
    let write = match wanted > 0 {
        true => {
            "INSERT INTO spending_blocks (account, day, host, tokens, ends_at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET tokens = ?4, ends_at = ?5"
        }
        false => {
            "UPDATE spending_blocks SET tokens = ?4, ends_at = ?5 WHERE account = ?1 AND day = ?2 AND host = ?3"
        }
    };
    execute(connection, write, (account, today, host, tokens, lease_end(lease)))?;
    Ok((tokens, available))
}
