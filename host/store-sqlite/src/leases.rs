//! Renews leases, notes which turns are to end, and interrupts turns that lost their lease.

use std::time::Duration;

use masque_store::{Heartbeat, Owner, TurnId};
use rusqlite::Connection;
use uuid::Uuid;

use crate::columns::{lease_clock, lease_end, now};
use crate::error::Result;
use crate::job_rows::release_jobs_of_others;
use crate::operation::Operation;
use crate::query::{all_rows, execute, first_row};
use crate::spending_rows::take_back_blocks_of_others;
use crate::users;

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

/// Extends the leases of turns that have not expired. Only one host uses the database.
pub(crate) struct RecordHeartbeat {
    pub(crate) host: Uuid,
    pub(crate) turns: Vec<TurnId>,
    pub(crate) lease: Duration,
}

impl Operation for RecordHeartbeat {
    type Answer = Heartbeat;

    fn run(self, connection: &Connection) -> Result<Heartbeat> {
        let (now, ends_at) = (lease_clock(), lease_end(self.lease));
        let mut heard = Heartbeat { live_hosts: 1, ..Heartbeat::default() };
        for turn in self.turns {
            let is_cancelled = first_row(
                connection,
                "UPDATE leases SET ends_at = ?3 WHERE turn = ?1 AND host = ?2 AND turn IS NOT NULL AND ends_at > ?4
                 RETURNING is_cancelled",
                (turn.as_uuid(), self.host, ends_at, now),
                |row| Ok(row.get::<_, bool>(0)?),
            )?;
            if let Some(is_cancelled) = is_cancelled {
                heard.held.push(turn);
                heard.cancel.extend(is_cancelled.then_some(turn));
            }
        }
        Ok(heard)
    }
}

/// Notes that a client wants a turn to end.
pub(crate) struct RequestCancel {
    pub(crate) owner: Owner,
    pub(crate) turn: TurnId,
}

impl Operation for RequestCancel {
    type Answer = Option<Uuid>;

    fn run(self, connection: &Connection) -> Result<Option<Uuid>> {
        let Some(user) = users::find(connection, &self.owner)? else { return Ok(None) };
        first_row(
            connection,
            "UPDATE leases SET is_cancelled = 1
              WHERE turn = ?1 AND turn IS NOT NULL AND ends_at > ?2
                AND EXISTS (SELECT 1 FROM conversations c
                             WHERE c.id = leases.conversation AND c.user = ?3 AND c.deleted_at IS NULL)
             RETURNING host",
            (self.turn.as_uuid(), lease_clock(), user),
            |row| Ok(row.get(0)?),
        )
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
