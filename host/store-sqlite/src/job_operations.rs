//! Operations on jobs that were taken (complete, retry, park, release, renew) and on parked jobs (put back, remove).

use std::time::Duration;

use masque_store::{JobCompletion, JobId, check_text};
use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::columns::{lease_clock, lease_end, millis, now};
use crate::deletion::RemovalBudget;
use crate::error::Result;
use crate::job_rows::{advance, park, remove_head};
use crate::operation::Operation;
use crate::query::{all_rows, execute, first_row};
use crate::state_rows::{apply, check};

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
        check(&self.completion.writes)?;
        let Some((number, queue)) = find_running(connection, self.job, self.epoch)? else { return Ok(false) };
        remove_head(connection, number, &queue, lease_clock())?;
        apply(connection, &self.completion.writes)?;
        Ok(true)
    }
}

/// The number and the queue of a job whose lease has this epoch and has not expired.
fn find_running(connection: &Connection, job: JobId, epoch: i64) -> Result<Option<(i64, String)>> {
    first_row(
        connection,
        "SELECT number, queue FROM jobs WHERE id = ?1 AND epoch = ?2 AND status = 'running' AND due_at > ?3",
        (job.as_uuid(), epoch, lease_clock()),
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
    )
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
        check_text("error of a job", &self.error)?;
        execute(
            connection,
            "UPDATE jobs SET status = 'queued', host = NULL, due_at = ?3, error = ?4
              WHERE id = ?1 AND epoch = ?2 AND status = 'running' AND due_at > ?5",
            params![self.job.as_uuid(), self.epoch, lease_end(self.after), self.error, lease_clock()],
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
        check_text("error of a job", &self.error)?;
        let Some((number, queue)) = find_running(connection, self.job, self.epoch)? else { return Ok(()) };
        park(connection, number, &self.error)?;
        advance(connection, &queue, lease_clock())
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
              WHERE id = ?1 AND epoch = ?2 AND status = 'running' AND due_at > ?3",
            (self.job.as_uuid(), self.epoch, lease_clock()),
        )?;
        Ok(())
    }
}

/// Extends the leases of jobs that have not expired.
pub(crate) struct RenewJobs {
    pub(crate) host: Uuid,
    pub(crate) jobs: Vec<JobId>,
    pub(crate) lease: Duration,
}

impl Operation for RenewJobs {
    type Answer = ();

    fn run(self, connection: &Connection) -> Result<()> {
        let (now, ends_at) = (lease_clock(), lease_end(self.lease));
        for job in self.jobs {
            execute(
                connection,
                "UPDATE jobs SET due_at = ?3 WHERE id = ?1 AND host = ?2 AND status = 'running' AND due_at > ?4",
                (job.as_uuid(), self.host, ends_at, now),
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
            "UPDATE jobs SET status = 'queued', attempt = 0, crashes = 0, error = NULL, parked_at = NULL
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

/// Removes jobs that were parked longer ago than this, the oldest first.
pub(crate) struct ForgetParkedJobs {
    pub(crate) older_than: Duration,
}

impl Operation for ForgetParkedJobs {
    type Answer = u64;

    const IS_BACKGROUND: bool = true;

    /// A parked job is no head, so its queue goes on as before.
    fn run(self, connection: &Connection) -> Result<u64> {
        let mut budget = RemovalBudget::of_one_transaction();
        let parked = all_rows(
            connection,
            "SELECT number, octet_length(payload) FROM jobs
              WHERE parked_at IS NOT NULL AND parked_at <= ?1 ORDER BY parked_at LIMIT ?2",
            (now().saturating_sub(millis(self.older_than)), budget.rows()),
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )?;
        let removed = budget.spend(connection, "DELETE FROM jobs WHERE number = ?1", parked)?;
        Ok(removed as u64)
    }
}
