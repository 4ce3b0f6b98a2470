//! [`Jobs`] and [`ParkedJobs`].

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    JobCompletion, JobCounts, JobId, JobLimits, Jobs, Owner, ParkedJob, ParkedJobs, StoreError, TakenJobs,
};
use rusqlite::Connection;
use uuid::Uuid;

use crate::columns::{attempt, now, remaining, unsigned};
use crate::error::Result as DatabaseResult;
use crate::job_operations::{
    CompleteJob, ForgetParkedJobs, ParkJob, ReleaseJob, RenewJobs, RetryJob, RetryParkedJob,
};
use crate::job_selection::TakeJobs;
use crate::query::{all_rows, first_row, one_row};
use crate::store::SqliteStore;

#[async_trait]
impl Jobs for SqliteStore {
    async fn take(
        &self,
        host: Uuid,
        lease: Duration,
        limits: JobLimits,
        plugins: Option<&BTreeSet<String>>,
    ) -> Result<TakenJobs, StoreError> {
        self.write(TakeJobs { host, lease, limits, plugins: plugins.cloned() }).await
    }

    async fn complete(&self, job: JobId, epoch: i64, completion: JobCompletion) -> Result<bool, StoreError> {
        self.write(CompleteJob { job, epoch, completion }).await
    }

    async fn retry(&self, job: JobId, epoch: i64, after: Duration, error: &str) -> Result<(), StoreError> {
        self.write(RetryJob { job, epoch, after, error: error.to_owned() }).await
    }

    async fn park(&self, job: JobId, epoch: i64, error: &str) -> Result<(), StoreError> {
        self.write(ParkJob { job, epoch, error: error.to_owned() }).await
    }

    async fn release(&self, job: JobId, epoch: i64) -> Result<(), StoreError> {
        self.write(ReleaseJob { job, epoch }).await
    }

    async fn forget_parked(&self, older_than: Duration) -> Result<u64, StoreError> {
        self.write(ForgetParkedJobs { older_than }).await
    }

    async fn counts(&self) -> Result<JobCounts, StoreError> {
        self.read(counts).await
    }

    async fn renew_jobs(&self, host: Uuid, jobs: &[JobId], lease: Duration) -> Result<(), StoreError> {
        self.write(RenewJobs { host, jobs: jobs.to_vec(), lease }).await
    }
}

#[async_trait]
impl ParkedJobs for SqliteStore {
    async fn parked_jobs(&self) -> Result<Vec<ParkedJob>, StoreError> {
        self.read(parked_jobs).await
    }

    async fn retry_parked(&self, job: JobId) -> Result<bool, StoreError> {
        self.write(RetryParkedJob(job)).await
    }
}

/// Counts over indexes, without reading a payload. Jobs of deleted conversations, which are few, are not counted.
fn counts(connection: &Connection) -> DatabaseResult<JobCounts> {
    let oldest = oldest(connection)?;
    let count = |(queued, running, parked): (i64, i64, i64)| -> DatabaseResult<JobCounts> {
        Ok(JobCounts {
            queued: unsigned(queued)?,
            running: unsigned(running)?,
            parked: unsigned(parked)?,
            oldest,
        })
    };
    let (waiting, running, parked, orphan_waiting, orphan_running, orphan_parked) = one_row(
        connection,
        "WITH orphans AS MATERIALIZED (
            SELECT j.status FROM conversations c JOIN jobs j ON j.conversation = c.id WHERE c.deleted_at IS NOT NULL)
         SELECT (SELECT count(*) FROM jobs WHERE status <> 'parked'),
                (SELECT count(*) FROM jobs WHERE status = 'running'),
                (SELECT count(*) FROM jobs WHERE status = 'parked'),
                (SELECT count(*) FROM orphans WHERE status <> 'parked'),
                (SELECT count(*) FROM orphans WHERE status = 'running'),
                (SELECT count(*) FROM orphans WHERE status = 'parked')",
        [],
        |row| {
            let number = |column: usize| row.get::<_, i64>(column);
            Ok((number(0)?, number(1)?, number(2)?, number(3)?, number(4)?, number(5)?))
        },
    )?;
    let (waiting, running) = (waiting - orphan_waiting, running - orphan_running);
    count((waiting - running, running, parked - orphan_parked))
}

/// The age of the oldest job that is not parked: one entry of an index, however many jobs wait.
fn oldest(connection: &Connection) -> DatabaseResult<Option<Duration>> {
    let created_at = first_row(
        connection,
        "SELECT created_at FROM jobs INDEXED BY jobs_oldest WHERE status <> 'parked' ORDER BY created_at LIMIT 1",
        [],
        |row| Ok(row.get::<_, i64>(0)?),
    )?;
    Ok(created_at.map(|created_at| remaining(now().saturating_sub(created_at))))
}

fn parked_jobs(connection: &Connection) -> DatabaseResult<Vec<ParkedJob>> {
    all_rows(
        connection,
        "SELECT j.id, u.tenant, u.issuer, u.subject, j.plugin, j.kind, j.attempt, coalesce(j.error, ''), j.created_at
           FROM jobs j JOIN users u ON u.id = j.user LEFT JOIN conversations c ON c.id = j.conversation
          WHERE j.status = 'parked' AND c.deleted_at IS NULL AND u.subject IS NOT NULL ORDER BY j.number",
        [],
        |row| {
            Ok(ParkedJob {
                id: JobId::from(row.get::<_, Uuid>(0)?),
                owner: Owner { tenant: row.get(1)?, issuer: row.get(2)?, subject: row.get(3)? },
                plugin: row.get(4)?,
                kind: row.get(5)?,
                attempt: attempt(row.get(6)?)?,
                error: row.get(7)?,
                created_at: row.get(8)?,
            })
        },
    )
}
