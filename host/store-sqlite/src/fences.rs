//! Whether a turn or job still holds its lease.

use masque_store::{StateFence, StoreError};
use rusqlite::Connection;

use crate::columns::lease_clock;
use crate::error::Result;
use crate::query::first_row;

/// Fails if the turn or job has ended or was taken over, or its lease has expired. An operation that takes a lease ends the turn that held it, so
/// a running turn with this epoch holds the lease. A deleted conversation has no lease.
pub(crate) fn ensure_holds(connection: &Connection, fence: StateFence) -> Result<()> {
    let held = match fence {
        StateFence::Turn { turn, epoch } => first_row(
            connection,
            "SELECT 1 FROM turns t JOIN leases l ON l.conversation = t.conversation
              WHERE t.id = ?1 AND t.epoch = ?2 AND t.status = 'running' AND l.ends_at > ?3",
            (turn.as_uuid(), epoch, lease_clock()),
            |_row| Ok(()),
        )?,
        StateFence::Job { job, epoch } => first_row(
            connection,
            "SELECT 1 FROM jobs WHERE id = ?1 AND epoch = ?2 AND status = 'running' AND due_at > ?3",
            (job.as_uuid(), epoch, lease_clock()),
            |_row| Ok(()),
        )?,
    };
    held.ok_or_else(|| StoreError::FenceEnded.into())
}
