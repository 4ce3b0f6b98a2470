//! Operations on jobs: take, complete, retry, park, release, renew.

use std::time::Duration;

use masque_store::{ConversationId, JobCompletion, JobId, JobRecord, Owner, StoreError, TurnId};
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use crate::columns::{attempt, lease_clock, lease_end};
use crate::error::{DatabaseError, Result};
use crate::job_rows::{ability, advance, remove_head};
use crate::operation::{Operation, without_panic};
use crate::query::{all_rows, execute, first_row, one_row};
use crate::state_rows::apply;

/// How many heads one `TakeJobs` drops at most: jobs of deleted conversations, and jobs that can't be read.
const MAX_DROPPED: usize = 256;

/// Leases the jobs that are due, at most one of each queue.
pub(crate) struct TakeJobs {
    pub(crate) host: Uuid,
    pub(crate) lease: Duration,
    pub(crate) limit: u32,
}

/// The head of a queue.
struct Head {
    number: i64,
    queue: String,
    is_orphan: bool,
}

impl Operation for TakeJobs {
    type Answer = Vec<JobRecord>;

    const IS_BACKGROUND: bool = true;

    /// Heads whose conversation was deleted are removed, and heads that can't be read are parked. Both uncover the next
    /// job of the queue, so the due heads are read again.
    fn run(self, connection: &Connection) -> Result<Vec<JobRecord>> {
        let now = lease_clock();
        let limit = self.limit as usize;
        let mut taken: Vec<(i64, JobRecord)> = Vec::new();
        let mut dropped = 0;
        while taken.len() < limit {
            let due = due_heads(connection, now, self.limit)?;
            let before = dropped;
            for head in due {
                // A job that is taken with a lease of zero length is due again at once.
                if taken.len() == limit || taken.iter().any(|(number, _)| *number == head.number) {
                    continue;
                }
                if head.is_orphan {
                    remove_head(connection, head.number, &head.queue, now)?;
                    dropped += 1;
                    continue;
                }
                match without_panic(|| read_head(connection, head.number)) {
                    Ok(job) => {
                        self.lease(connection, head.number)?;
                        taken.push((head.number, job));
                    }
                    // One such job must not keep the jobs of all other queues from being taken.
                    Err(error) if error.is_unreadable_row() => {
                        park_unreadable(connection, &head, error, now)?;
                        dropped += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
            if dropped == before || dropped >= MAX_DROPPED {
                break;
            }
        }
        Ok(taken.into_iter().map(|(_, job)| job).collect())
    }
}

impl TakeJobs {
    fn lease(&self, connection: &Connection, number: i64) -> Result<()> {
        execute(
            connection,
            "UPDATE jobs
                SET status = 'running', host = ?2, due_at = ?3, attempt = attempt + 1, epoch = epoch + 1
              WHERE number = ?1",
            (number, self.host, lease_end(self.lease)),
        )?;
        Ok(())
    }
}

/// The job as it is once it is leased: with the next attempt and epoch.
fn read_head(connection: &Connection, number: i64) -> Result<JobRecord> {
    one_row(
        connection,
        "SELECT j.id, u.tenant, u.issuer, u.subject, j.conversation, j.turn, j.plugin, j.kind, j.payload,
                j.attempt + 1, j.epoch + 1
           FROM jobs j JOIN users u ON u.id = j.user WHERE j.number = ?1",
        [number],
        record,
    )
}

/// Parks a head that can't be read and makes the next job of its queue the head.
fn park_unreadable(connection: &Connection, head: &Head, error: DatabaseError, now: i64) -> Result<()> {
    let error = StoreError::from(error).to_string();
    tracing::error!(job = head.number, queue = head.queue, error, "a job that can't be read was parked");
    execute(
        connection,
        "UPDATE jobs SET status = 'parked', host = NULL, due_at = NULL, error = ?2 WHERE number = ?1",
        (head.number, &error),
    )?;
    advance(connection, &head.queue, now)
}

fn due_heads(connection: &Connection, now: i64, limit: u32) -> Result<Vec<Head>> {
    all_rows(
        connection,
        "SELECT j.number, j.queue, j.conversation IS NOT NULL AND (c.id IS NULL OR c.deleted_at IS NOT NULL)
           FROM jobs j LEFT JOIN conversations c ON c.id = j.conversation
          WHERE j.due_at IS NOT NULL AND j.due_at <= ?1
          ORDER BY j.due_at, j.number LIMIT ?2",
        (now, limit),
        |row| Ok(Head { number: row.get(0)?, queue: row.get(1)?, is_orphan: row.get(2)? }),
    )
}

fn record(row: &Row<'_>) -> Result<JobRecord> {
    Ok(JobRecord {
        id: JobId::from(row.get::<_, Uuid>(0)?),
        owner: Owner { tenant: row.get(1)?, issuer: row.get(2)?, subject: row.get(3)? },
        conversation: ConversationId::from(row.get::<_, Uuid>(4)?),
        turn: TurnId::from(row.get::<_, Uuid>(5)?),
        plugin: row.get(6)?,
        ability: ability(row.get_ref(7)?.as_str()?)?,
        payload: row.get(8)?,
        attempt: attempt(row.get(9)?)?,
        epoch: row.get(10)?,
    })
}

/// Removes a job that is done and applies its writes.
pub(crate) struct CompleteJob {
    pub(crate) job: JobId,
    pub(crate) epoch: i64,
    pub(crate) completion: JobCompletion,
}

impl Operation for CompleteJob {
    type Answer = bool;

    const IS_BACKGROUND: bool = true;

    fn run(self, connection: &Connection) -> Result<bool> {
        let found = first_row(
            connection,
            "SELECT number, queue FROM jobs WHERE id = ?1 AND epoch = ?2 AND status = 'running'",
            (self.job.as_uuid(), self.epoch),
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
        )?;
        let Some((number, queue)) = found else { return Ok(false) };
        remove_head(connection, number, &queue, lease_clock())?;
        apply(connection, &self.completion.writes)?;
        Ok(true)
    }
}

/// Makes a failed job due again.
pub(crate) struct RetryJob {
    pub(crate) job: JobId,
    pub(crate) epoch: i64,
    pub(crate) after: Duration,
    pub(crate) error: String,
}

impl Operation for RetryJob {
    type Answer = ();

    fn run(self, connection: &Connection) -> Result<()> {
        execute(
            connection,
            "UPDATE jobs SET status = 'queued', host = NULL, due_at = ?3, error = ?4
              WHERE id = ?1 AND epoch = ?2 AND status = 'running'",
            params![self.job.as_uuid(), self.epoch, lease_end(self.after), self.error],
        )?;
        Ok(())
    }
}

/// Parks a job.
pub(crate) struct ParkJob {
    pub(crate) job: JobId,
    pub(crate) epoch: i64,
    pub(crate) error: String,
}

impl Operation for ParkJob {
    type Answer = ();

    fn run(self, connection: &Connection) -> Result<()> {
        let queue = first_row(
            connection,
            "UPDATE jobs SET status = 'parked', host = NULL, due_at = NULL, error = ?3
              WHERE id = ?1 AND epoch = ?2 AND status = 'running' RETURNING queue",
            (self.job.as_uuid(), self.epoch, &self.error),
            |row| Ok(row.get::<_, String>(0)?),
        )?;
        match queue {
            Some(queue) => advance(connection, &queue, lease_clock()),
            None => Ok(()),
        }
    }
}

/// Gives a job back that was not tried. The attempt does not count.
pub(crate) struct ReleaseJob {
    pub(crate) job: JobId,
    pub(crate) epoch: i64,
}

impl Operation for ReleaseJob {
    type Answer = ();

    fn run(self, connection: &Connection) -> Result<()> {
        execute(
            connection,
            "UPDATE jobs SET status = 'queued', host = NULL, attempt = attempt - 1, due_at = ?3
              WHERE id = ?1 AND epoch = ?2 AND status = 'running'",
            (self.job.as_uuid(), self.epoch, lease_clock()),
        )?;
        Ok(())
    }
}

/// Extends the leases of jobs.
pub(crate) struct RenewJobs {
    pub(crate) host: Uuid,
    pub(crate) jobs: Vec<JobId>,
    pub(crate) lease: Duration,
}

impl Operation for RenewJobs {
    type Answer = ();

    fn run(self, connection: &Connection) -> Result<()> {
        let ends_at = lease_end(self.lease);
        for job in self.jobs {
            execute(
                connection,
                "UPDATE jobs SET due_at = ?3 WHERE id = ?1 AND host = ?2 AND status = 'running'",
                (job.as_uuid(), self.host, ends_at),
            )?;
        }
        Ok(())
    }
}

/// Puts a parked job back at its place in its queue.
pub(crate) struct RetryParkedJob(pub(crate) JobId);

impl Operation for RetryParkedJob {
    type Answer = bool;

    /// The retried job has a lower number than later jobs, so a queued head loses its due time. If a job of the queue
    /// is running, this job becomes the head when that one ends.
    fn run(self, connection: &Connection) -> Result<bool> {
        let queue = first_row(
            connection,
            "UPDATE jobs SET status = 'queued', attempt = 0, crashes = 0, error = NULL
              WHERE id = ?1 AND status = 'parked'
                AND NOT EXISTS (SELECT 1 FROM conversations c WHERE c.id = jobs.conversation AND c.deleted_at IS NOT NULL)
             RETURNING queue",
            [self.0.as_uuid()],
            |row| Ok(row.get::<_, String>(0)?),
        )?;
        let Some(queue) = queue else { return Ok(false) };
        execute(
            connection,
            "UPDATE jobs SET due_at = NULL WHERE queue = ?1 AND due_at IS NOT NULL AND status = 'queued'",
            [&queue],
        )?;
        let running = first_row(
            connection,
            "SELECT 1 FROM jobs WHERE queue = ?1 AND due_at IS NOT NULL",
            [&queue],
            |_row| Ok(()),
        )?;
        if running.is_none() {
            advance(connection, &queue, lease_clock())?;
        }
        Ok(true)
    }
}
