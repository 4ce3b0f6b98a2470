//! Rows of jobs and their queues.
//!
//! Only the head of a queue has a time at which it is due, so taking a job looks at one index entry, however many wait
//! behind others. Whoever removes a head, or parks it, makes the next job of its queue the head.

use std::time::Duration;

use masque_store::{Ability, ConversationId, NewJob, StoreError, TurnId};
use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::columns::{lease_clock, lease_end, now};
use crate::error::Result;
use crate::query::{all_rows, execute, first_row};

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
                has_head.is_none().then(lease_clock),
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

/// The range of the queues of a user: from the first text, up to but without the second.
pub(crate) fn queues_of(user: Uuid) -> (String, String) {
    // `0` is the character after `/`.
    (format!("{}/", user.simple()), format!("{}0", user.simple()))
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

/// Parks a job. The caller makes the next job of its queue the head.
pub(crate) fn park(connection: &Connection, number: i64, error: &str) -> Result<()> {
    execute(
        connection,
        "UPDATE jobs SET status = 'parked', host = NULL, due_at = NULL, error = ?2, parked_at = ?3 WHERE number = ?1",
        (number, error, now()),
    )?;
    Ok(())
}

/// How often a host may end while it runs a job. The job may be what ended it, so it does not run again by itself.
const MAX_CRASHES: i64 = 2;

/// Makes the jobs that run on other hosts than `host` due again, and parks those that have ended a host too often. Each
/// host runs a bounded number of jobs.
pub(crate) fn release_jobs_of_others(connection: &Connection, host: Uuid) -> Result<()> {
    let now = lease_clock();
    let lost = all_rows(
        connection,
        "UPDATE jobs SET status = 'queued', host = NULL, due_at = ?2, crashes = crashes + 1
          WHERE status = 'running' AND host <> ?1 RETURNING number, queue, crashes",
        (host, now),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?)),
    )?;
    for (number, queue, crashes) in lost {
        park_if_dangerous(connection, number, &queue, crashes, now)?;
    }
    Ok(())
}

/// Counts the end of a host that ran this job when `host` takes it, unless it was counted before. Returns whether the job has
/// ended a host too often: then it is parked.
pub(crate) fn count_crash(
    connection: &Connection,
    host: Uuid,
    number: i64,
    queue: &str,
    now: i64,
) -> Result<bool> {
    let crashes = first_row(
        connection,
        "UPDATE jobs SET crashes = crashes + 1 WHERE number = ?1 AND status = 'running' AND host <> ?2
         RETURNING crashes",
        (number, host),
        |row| Ok(row.get::<_, i64>(0)?),
    )?;
    crashes.map_or(Ok(false), |crashes| park_if_dangerous(connection, number, queue, crashes, now))
}

/// Parks a job that has ended a host too often. Returns whether it did.
fn park_if_dangerous(
    connection: &Connection,
    number: i64,
    queue: &str,
    crashes: i64,
    now: i64,
) -> Result<bool> {
    if crashes < MAX_CRASHES {
        return Ok(false);
    }
    let error = format!("the host ended {crashes} times while it ran this job");
    tracing::error!(job = number, queue, error, "a job was parked");
    park(connection, number, &error)?;
    advance(connection, queue, now)?;
    Ok(true)
}

/// The longest wait of a job that this store believes after a restart. It is longer than the host's longest wait before
/// another try.
const LONGEST_WAIT: Duration = Duration::from_secs(2 * 3600);

/// Makes jobs due that would wait for longer than any job does. The clock was set back while no host ran, or ran ahead
/// when they were stored.
pub(crate) fn bring_jobs_forward(connection: &Connection) -> Result<()> {
    execute(
        connection,
        "UPDATE jobs SET due_at = ?1 WHERE due_at IS NOT NULL AND due_at > ?2",
        (lease_clock(), lease_end(LONGEST_WAIT)),
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
