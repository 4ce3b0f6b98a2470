//! Removes expired rows, and the rows of deleted conversations.

use rusqlite::Connection;
use uuid::Uuid;

use crate::columns::now;
use crate::deletion::{BATCH, remove_some};
use crate::error::Result;
use crate::operation::Operation;
use crate::query::{all_rows, execute};
use crate::spending_rows::MILLIS_OF_DAY;

/// How long a deleted or expired key of a plugin keeps its version, in milliseconds: longer than any call that could
/// have read it.
const VERSION_KEPT: i64 = 24 * 60 * 60 * 1000;

/// Days of spending that are kept, so that a year can be reported.
const SPENDING_DAYS: i64 = 400;

/// Removes a bounded number of rows. Returns how many.
pub(crate) struct Sweep;

impl Operation for Sweep {
    type Answer = u64;

    fn run(self, connection: &Connection) -> Result<u64> {
        let now = now();
        let swept = [
            remove_keys(connection, now)?,
            execute(
                connection,
                "UPDATE state SET value = NULL WHERE rowid IN
                    (SELECT rowid FROM state
                      WHERE absent = 0 AND expires_at IS NOT NULL AND expires_at <= ?1 LIMIT ?2)",
                (now, BATCH as i64),
            )?,
            execute(
                connection,
                "DELETE FROM state WHERE rowid IN
                    (SELECT rowid FROM state
                      WHERE absent = 1 AND expires_at IS NOT NULL AND expires_at <= ?1 LIMIT ?2)",
                (now.saturating_sub(VERSION_KEPT), BATCH as i64),
            )?,
            execute(
                connection,
                "DELETE FROM spending WHERE (account, day) IN
                    (SELECT account, day FROM spending WHERE day < ?1 LIMIT ?2)",
                (now / MILLIS_OF_DAY - SPENDING_DAYS, BATCH as i64),
            )?,
            remove_some(connection)?,
        ];
        Ok(swept.iter().sum::<usize>() as u64)
    }
}

fn remove_keys(connection: &Connection, now: i64) -> Result<usize> {
    let expired = all_rows(
        connection,
        "SELECT expires_at, turn FROM idempotency_keys WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
        (now, BATCH as i64),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Uuid>(1)?)),
    )?;
    for key in &expired {
        execute(connection, "DELETE FROM idempotency_keys WHERE expires_at = ?1 AND turn = ?2", *key)?;
    }
    Ok(expired.len())
}
