//! [`Jobs`] and [`ParkedJobs`].

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    JobCompletion, JobCounts, JobId, JobLimits, Jobs, ParkedJob, ParkedJobs, StoreError, TakenJobs,
};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::columns::{millis, remaining, unsigned};
use crate::error::{DatabaseError, Result as DatabaseResult};
use crate::job_rows::{KINDS, MAX_CRASHES, parked, taken};
use crate::state_arguments::{bind_writes, named};
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

/// Parked jobs that are removed in one transaction. A parked job is no head, so its queue goes on as before.
const FORGOTTEN_AT_ONCE: i64 = 256;

#[async_trait]
impl Jobs for PostgresStore {
    async fn take(
        &self,
        host: Uuid,
        lease: Duration,
        limits: JobLimits,
        plugins: Option<&BTreeSet<String>>,
    ) -> Result<TakenJobs, StoreError> {
        let statement = Statement::new("SELECT * FROM masque_take_jobs_v1($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(host)
            .bind(millis(lease))
            .bind(i64::from(limits.total))
            .bind(i64::from(limits.per_user))
            .bind(i64::from(limits.per_plugin))
            .bind(KINDS.as_slice())
            .bind(plugins.map(|plugins| plugins.iter().map(String::as_str).collect::<Vec<&str>>()))
            .bind(MAX_CRASHES);
        let rows = self.write(statement).await?;
        read_taken(&rows).map_err(DatabaseError::of_read)
    }

    async fn complete(&self, job: JobId, epoch: i64, completion: JobCompletion) -> Result<bool, StoreError> {
        let statement = Statement::new(
            "SELECT masque_complete_job_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        )
        .bind(job.as_uuid())
        .bind(epoch);
        let statement = bind_writes(statement, &completion.writes)?;
        self.write_value(statement).await.map_err(|error| named(error, &completion.writes))
    }

    async fn retry(&self, job: JobId, epoch: i64, after: Duration, error: &str) -> Result<(), StoreError> {
        let statement = Statement::new(
            "UPDATE jobs SET status = 'queued', host = NULL, due_at = masque_now_v1() + $3, error = $4
              WHERE id = $1 AND epoch = $2 AND status = 'running' AND due_at > masque_now_v1()",
        )
        .bind(job.as_uuid())
        .bind(epoch)
        .bind(millis(after))
        .bind(error);
        self.write(statement).await.map(drop)
    }

    async fn park(&self, job: JobId, epoch: i64, error: &str) -> Result<(), StoreError> {
        let statement = Statement::new("SELECT FROM masque_park_job_v1($1, $2, $3)")
            .bind(job.as_uuid())
            .bind(epoch)
            .bind(error);
        self.write(statement).await.map(drop)
    }

    async fn release(&self, job: JobId, epoch: i64) -> Result<(), StoreError> {
        let statement = Statement::new(
            "UPDATE jobs SET status = 'queued', host = NULL, attempt = attempt - 1, due_at = masque_now_v1()
              WHERE id = $1 AND epoch = $2 AND status = 'running' AND due_at > masque_now_v1()",
        )
        .bind(job.as_uuid())
        .bind(epoch);
        self.write(statement).await.map(drop)
    }

    async fn forget_parked(&self, older_than: Duration) -> Result<u64, StoreError> {
        let statement = Statement::new(
            "WITH gone AS (
                DELETE FROM jobs WHERE number = ANY (ARRAY(
                    SELECT number FROM jobs WHERE status = 'parked' AND parked_at <= (SELECT masque_now_v1()) - $1
                     ORDER BY parked_at LIMIT $2 FOR UPDATE SKIP LOCKED))
                RETURNING 1)
             SELECT count(*) FROM gone",
        )
        .bind(millis(older_than))
        .bind(FORGOTTEN_AT_ONCE);
        let forgotten = self.write_first(statement, |row| unsigned(get(row, 0)?)).await?;
        Ok(forgotten.unwrap_or_default())
    }

    /// Counts over indexes, without reading a payload. Jobs of deleted conversations, which are few, are not counted.
    async fn counts(&self) -> Result<JobCounts, StoreError> {
        let statement = Statement::new(
            "WITH orphans AS MATERIALIZED (
                SELECT j.status FROM conversations c JOIN jobs j ON j.conversation = c.id WHERE c.deleted_at IS NOT NULL),
             counts AS (
                SELECT (SELECT count(*) FROM jobs WHERE status <> 'parked')
                         - (SELECT count(*) FROM orphans WHERE status <> 'parked') AS waiting,
                       (SELECT count(*) FROM jobs WHERE status = 'running')
                         - (SELECT count(*) FROM orphans WHERE status = 'running') AS running,
                       (SELECT count(*) FROM jobs WHERE status = 'parked')
                         - (SELECT count(*) FROM orphans WHERE status = 'parked') AS parked)
             SELECT waiting - running, running, parked,
                    masque_now_v1() - (SELECT created_at FROM jobs WHERE status <> 'parked' ORDER BY created_at LIMIT 1)
               FROM counts",
        );
        let counts = |row: &PgRow| {
            Ok(JobCounts {
                queued: unsigned(get(row, 0)?)?,
                running: unsigned(get(row, 1)?)?,
                parked: unsigned(get(row, 2)?)?,
                oldest: get::<Option<i64>, _>(row, 3)?.map(remaining),
            })
        };
        Ok(self.read_first(statement, counts).await?.unwrap_or_default())
    }

    async fn renew_jobs(&self, host: Uuid, jobs: &[JobId], lease: Duration) -> Result<(), StoreError> {
        let statement = Statement::new("SELECT FROM masque_renew_jobs_v1($1, $2, $3)")
            .bind(host)
            .bind(jobs.iter().map(JobId::as_uuid).collect::<Vec<Uuid>>())
            .bind(millis(lease));
        self.write(statement).await.map(drop)
    }
}

#[async_trait]
impl ParkedJobs for PostgresStore {
    async fn parked_jobs(&self) -> Result<Vec<ParkedJob>, StoreError> {
        let statement = Statement::new(
            "SELECT j.id, u.tenant, u.issuer, u.subject, j.plugin, j.kind, j.attempt, coalesce(j.error, '') AS error,
                    j.created_at
               FROM jobs j JOIN users u ON u.id = j.user_id LEFT JOIN conversations c ON c.id = j.conversation
              WHERE j.status = 'parked' AND c.deleted_at IS NULL AND u.subject IS NOT NULL ORDER BY j.number",
        );
        self.read_all(statement, parked).await
    }

    async fn retry_parked(&self, job: JobId) -> Result<bool, StoreError> {
        let statement = Statement::new("SELECT masque_retry_parked_v1($1)").bind(job.as_uuid());
        self.write_value(statement).await
    }
}

/// The jobs of the rows, and the wait in the last of them.
fn read_taken(rows: &[PgRow]) -> DatabaseResult<TakenJobs> {
    let mut found = TakenJobs::default();
    for row in rows {
        if let Some(problem) = get::<Option<&str>, _>(row, "problem")? {
            let job: Uuid = get(row, "id")?;
            tracing::error!(%job, problem, "a job was parked");
        } else if get::<Option<Uuid>, _>(row, "id")?.is_some() {
            found.jobs.push(taken(row)?);
        } else {
            found.next_due = get::<Option<i64>, _>(row, "next_due")?.map(remaining);
        }
    }
    Ok(found)
}
