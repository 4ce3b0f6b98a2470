//! Renews leases, and interrupts turns that lost their lease.

use std::time::Duration;

use masque_store::TurnId;
use rusqlite::Connection;
use uuid::Uuid;

use crate::columns::{lease_clock, lease_end, now};
use crate::error::Result;
use crate::job_rows::release_jobs_of_others;
use crate::operation::Operation;
use crate::query::{all_rows, execute};
use crate::spending_rows::take_back_blocks_of_others;

/// Marks a running turn interrupted whose lease was lost. Its epoch is removed, so that no later write can end it.
pub(crate) fn interrupt(connection: &Connection, turn: TurnId, now: i64) -> Result<()> {
    execute(
        connection,
        "UPDATE turns SET status = 'interrupted', epoch = NULL, finish = 'interrupted', ended_at = ?2
          WHERE id = ?1 AND status = 'running'",
        (turn.as_uuid(), now),
    )?;
    Ok(())
}

/// Extends the leases of turns.
pub(crate) struct RenewTurns {
    pub(crate) host: Uuid,
    pub(crate) turns: Vec<TurnId>,
    pub(crate) lease: Duration,
}

impl Operation for RenewTurns {
    type Answer = Vec<TurnId>;

    fn run(self, connection: &Connection) -> Result<Vec<TurnId>> {
        let ends_at = lease_end(self.lease);
        let mut renewed = Vec::with_capacity(self.turns.len());
        for turn in self.turns {
            let found = execute(
                connection,
                "UPDATE leases SET ends_at = ?3 WHERE turn = ?1 AND host = ?2 AND turn IS NOT NULL",
                (turn.as_uuid(), self.host, ends_at),
            )?;
            if found > 0 {
                renewed.push(turn);
            }
        }
        Ok(renewed)
    }
}

/// Interrupts turns whose lease expired or whose host is gone.
pub(crate) struct Recover {
    pub(crate) host: Uuid,
}

impl Operation for Recover {
    type Answer = u64;

    fn run(self, connection: &Connection) -> Result<u64> {
        recover(connection, self.host)
    }
}

/// Interrupts turns whose lease has expired or belongs to another host than `host`, and makes the jobs of other hosts
/// due again and takes their blocks of tokens back. Returns how many turns.
pub(crate) fn recover(connection: &Connection, host: Uuid) -> Result<u64> {
    let now = now();
    // The index holds only leases that are held: one for each running turn.
    let lost = all_rows(
        connection,
        "SELECT conversation, turn FROM leases INDEXED BY leases_held
          WHERE turn IS NOT NULL AND (host <> ?1 OR ends_at <= ?2)",
        (host, lease_clock()),
        |row| Ok((row.get::<_, Uuid>(0)?, TurnId::from(row.get::<_, Uuid>(1)?))),
    )?;
    for (conversation, turn) in &lost {
        interrupt(connection, *turn, now)?;
        execute(
            connection,
            "UPDATE leases SET turn = NULL, host = NULL, ends_at = NULL WHERE conversation = ?1",
            [conversation],
        )?;
    }
    release_jobs_of_others(connection, host)?;
    take_back_blocks_of_others(connection, host)?;
    Ok(lost.len() as u64)
}
