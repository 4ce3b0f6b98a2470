//! Rows of jobs and their queues.
//!
//! Only the head of a queue has a time at which it is due, so taking a job looks at one index entry, however many wait
//! behind others. Whoever removes a head, or parks it, makes the next job of its queue the head.

use masque_store::{Ability, ConversationId, NewJob, StoreError, TurnId};
use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::error::Result;
use crate::query::{execute, first_row};

/// The turn that jobs come from.
pub(crate) struct JobOrigin {
    pub(crate) user: Uuid,
    pub(crate) conversation: ConversationId,
    pub(crate) turn: TurnId,
}

/// Puts jobs at the end of their queues.
pub(crate) fn enqueue(connection: &Connection, origin: &JobOrigin, jobs: &[NewJob], now: i64) -> Result<()> {
    for job in jobs {
        let queue = queue_key(origin.user, &job.plugin);
        let has_head = first_row(
            connection,
            "SELECT 1 FROM jobs WHERE queue = ?1 AND due_at IS NOT NULL",
            [&queue],
            |_row| Ok(()),
        )?;
        execute(
            connection,
            "INSERT INTO jobs (id, queue, user, conversation, turn, plugin, kind, payload, status, due_at, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'queued', ?9, ?10)",
            params![
                job.id.as_uuid(),
                queue,
                origin.user,
                origin.conversation.as_uuid(),
                origin.turn.as_uuid(),
                job.plugin,
                kind(job.ability),
                job.payload,
                has_head.is_none().then_some(now),
                now,
            ],
        )?;
    }
    Ok(())
}

/// Jobs of one user and plugin run one after the other.
fn queue_key(user: Uuid, plugin: &str) -> String {
    format!("{}/{plugin}", user.simple())
}

/// Makes the first job of a queue its head. The queue has none at this moment.
pub(crate) fn advance(connection: &Connection, queue: &str, now: i64) -> Result<()> {
    execute(
        connection,
        "UPDATE jobs SET due_at = ?2
          WHERE number = (SELECT number FROM jobs WHERE queue = ?1 AND status <> 'parked' ORDER BY number LIMIT 1)",
        (queue, now),
    )?;
    Ok(())
}

/// Removes the head of a queue and makes the next job the head.
pub(crate) fn remove_head(connection: &Connection, number: i64, queue: &str, now: i64) -> Result<()> {
    execute(connection, "DELETE FROM jobs WHERE number = ?1", [number])?;
    advance(connection, queue, now)
}

/// Makes the jobs that run on other hosts than `host` due again.
pub(crate) fn release_jobs_of_others(connection: &Connection, host: Uuid, now: i64) -> Result<()> {
    execute(
        connection,
        "UPDATE jobs SET status = 'queued', host = NULL, due_at = ?2 WHERE status = 'running' AND host <> ?1",
        (host, now),
    )?;
    Ok(())
}

fn kind(ability: Ability) -> &'static str {
    match ability {
        Ability::Observe => "observe",
        Ability::Reflect => "reflect",
    }
}

/// The ability that a kind of job calls.
pub(crate) fn ability(kind: &str) -> Result<Ability> {
    match kind {
        "observe" => Ok(Ability::Observe),
        "reflect" => Ok(Ability::Reflect),
        other => {
            Err(StoreError::Corrupt(format!("`{other}` is no kind of job that this version knows")).into())
        }
    }
}
