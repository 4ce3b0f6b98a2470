//! Removes expired rows, and the rows of deleted conversations.

use rusqlite::Connection;
use uuid::Uuid;

use crate::columns::now;
use crate::deletion::{RemovalBudget, remove_some};
use crate::error::Result;
use crate::operation::Operation;
use crate::query::{all_rows, execute};
use crate::spending_rows::MILLIS_OF_DAY;

/// How long a deleted or expired key of a plugin keeps its version, in milliseconds: longer than any call that could
/// have read it.
const VERSION_KEPT: i64 = 24 * 60 * 60 * 1000;

/// Days that the newest report of a host is kept: longer than any report is repeated.
const REPORT_DAYS: i64 = 7;

/// Removes what is past its time, of one kind, within a [`RemovalBudget`]. Returns how many rows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sweep {
    IdempotencyKeys,
    /// Values of plugins that have expired.
    StateValues,
    /// Keys of plugins whose value is gone for long enough.
    StateVersions,
    /// Blocks of earlier days.
    SpendingBlocks,
    /// The newest reports of hosts that are gone.
    SpendingReports,
    DeletedConversations,
}

impl Sweep {
    /// All kinds. Each is an operation of its own, so that rows of one kind that can't be removed keep no others.
    pub(crate) const ALL: [Self; 6] = [
        Self::IdempotencyKeys,
        Self::StateValues,
        Self::StateVersions,
        Self::SpendingBlocks,
        Self::SpendingReports,
        Self::DeletedConversations,
    ];
}

impl Operation for Sweep {
    type Answer = u64;

    const IS_BACKGROUND: bool = true;

    fn run(self, connection: &Connection) -> Result<u64> {
        let now = now();
        let mut budget = RemovalBudget::of_one_transaction();
        let removed = match self {
            Self::IdempotencyKeys => remove_keys(connection, now, &budget)?,
            Self::StateValues => remove_values(connection, now, &mut budget)?,
            Self::StateVersions => execute(
                connection,
                "DELETE FROM state WHERE rowid IN
                    (SELECT rowid FROM state
                      WHERE absent = 1 AND expires_at IS NOT NULL AND expires_at <= ?1 LIMIT ?2)",
                (now.saturating_sub(VERSION_KEPT), budget.rows()),
            )?,
            Self::SpendingBlocks => execute(
                connection,
                "DELETE FROM spending_blocks WHERE (account, day, host) IN
                    (SELECT account, day, host FROM spending_blocks WHERE day < ?1 LIMIT ?2)",
                (now / MILLIS_OF_DAY, budget.rows()),
            )?,
            Self::SpendingReports => execute(
                connection,
                "DELETE FROM spending_reports WHERE reported_at < ?1",
                [now - REPORT_DAYS * MILLIS_OF_DAY],
            )?,
            Self::DeletedConversations => remove_some(connection, &mut budget)?,
        };
        Ok(removed as u64)
    }
}

fn remove_keys(connection: &Connection, now: i64, budget: &RemovalBudget) -> Result<usize> {
    let expired = all_rows(
        connection,
        "SELECT expires_at, turn FROM idempotency_keys WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2",
        (now, budget.rows()),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Uuid>(1)?)),
    )?;
    for key in &expired {
        execute(connection, "DELETE FROM idempotency_keys WHERE expires_at = ?1 AND turn = ?2", *key)?;
    }
    Ok(expired.len())
}

/// Removes values, and leaves their keys with their versions.
fn remove_values(connection: &Connection, now: i64, budget: &mut RemovalBudget) -> Result<usize> {
    let expired = all_rows(
        connection,
        "SELECT rowid, octet_length(value) FROM state
          WHERE absent = 0 AND expires_at IS NOT NULL AND expires_at <= ?1 LIMIT ?2",
        (now, budget.rows()),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    budget.spend(connection, "UPDATE state SET value = NULL WHERE rowid = ?1", expired)
}
