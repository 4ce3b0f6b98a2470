//! [`Jobs`]. The first job of each line, and no other, has a time at which it is due; whoever removes the first gives the
//! next its time. So taking a job looks at one index entry, however many wait behind others.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::SqliteStore;
use super::fault::Fault;
use super::rows::{attempt, ids_text, millis, now, remaining, unsigned};
use super::state;
use super::writer::{Operation, Session, Verdict};
use crate::{
    Ability, ConversationId, JobCounts, JobId, JobRecord, Jobs, NewJob, Owner, StateWrite, StoreError, TurnId,
};

#[async_trait]
impl Jobs for SqliteStore {
    async fn take(&self, host: Uuid, lease: Duration) -> Result<Option<JobRecord>, StoreError> {
        self.write(Take { host, lease }).await
    }

    async fn next_due(&self) -> Result<Option<Duration>, StoreError> {
        let mut connection = self.reader().await?;
        Ok(next_due(&mut connection).await?)
    }

    async fn complete(&self, job: JobId, epoch: i64, writes: Vec<StateWrite>) -> Result<bool, StoreError> {
        self.write(Complete { job, epoch, writes }).await
    }

    async fn retry(&self, job: JobId, epoch: i64, after: Duration, error: &str) -> Result<(), StoreError> {
        self.write(Retry { job, epoch, after, error: error.to_owned() }).await
    }

    async fn park(&self, job: JobId, epoch: i64, error: &str) -> Result<(), StoreError> {
        self.write(Park { job, epoch, error: error.to_owned() }).await
    }

    async fn release(&self, job: JobId, epoch: i64) -> Result<(), StoreError> {
        self.write(Release { job, epoch }).await
    }

    async fn counts(&self) -> Result<JobCounts, StoreError> {
        let mut connection = self.reader().await?;
        Ok(counts(&mut connection).await?)
    }

    async fn renew_jobs(&self, host: Uuid, jobs: &[JobId], lease: Duration) -> Result<(), StoreError> {
        self.write(Renew { host, jobs: ids_text(jobs.iter().map(JobId::as_uuid)), lease }).await
    }
}

/// Statements that put jobs at the end of their lines, from [`jobs_text`], and make those due that stand first there.
/// The arguments: turn, conversation, tenant, issuer, subject, the time, the jobs.
macro_rules! enqueue {
    ($turn:literal, $conversation:literal, $tenant:literal, $issuer:literal, $subject:literal, $now:expr, $jobs:expr) => {
        concat!(
            "INSERT INTO jobs (id, tenant, issuer, subject, conversation, turn, plugin, ability, payload, status, created_at)
             SELECT unhex(value ->> 'id'), ", $tenant, ", ", $issuer, ", ", $subject, ", ", $conversation, ", ", $turn, ",
                    value ->> 'plugin', value ->> 'ability', value ->> 'payload', 'queued', ", $now, "
               FROM json_each(", $jobs, ") ORDER BY key;
             UPDATE jobs SET due_at = ", $now, "
              WHERE due_at IS NULL
                AND number IN (SELECT (SELECT min(j.number) FROM jobs j
                                        WHERE j.tenant = ", $tenant, " AND j.issuer = ", $issuer, "
                                          AND j.subject = ", $subject, " AND j.plugin = value ->> 'plugin'
                                          AND j.status <> 'parked')
                                 FROM json_each(", $jobs, "));"
        )
    };
}
pub(super) use enqueue;

/// Jobs as one argument of a statement.
pub(super) fn jobs_text(jobs: &[NewJob]) -> String {
    let jobs = jobs.iter().map(|job| {
        serde_json::json!({
            "id": job.id.as_uuid().simple().to_string(),
            "plugin": job.plugin,
            "ability": word(job.ability),
            "payload": job.payload,
        })
    });
    serde_json::Value::from_iter(jobs).to_string()
}

/// Makes the first job of a line due, if the one before it is gone.
pub(super) async fn advance(
    connection: &mut SqliteConnection,
    owner: &Owner,
    plugin: &str,
) -> Result<(), Fault> {
    sqlx::query(concat!(
        "UPDATE jobs SET due_at = ",
        now!(),
        "
          WHERE due_at IS NULL
            AND number = (SELECT min(number) FROM jobs WHERE tenant = ?1 AND issuer = ?2 AND subject = ?3
                             AND plugin = ?4 AND status <> 'parked')"
    ))
    .bind(&owner.tenant)
    .bind(&owner.issuer)
    .bind(&owner.subject)
    .bind(plugin)
    .execute(connection)
    .await?;
    Ok(())
}

/// The same for all lines of an owner.
pub(super) async fn advance_all(connection: &mut SqliteConnection, owner: &Owner) -> Result<(), Fault> {
    sqlx::query(concat!(
        "UPDATE jobs SET due_at = ",
        now!(),
        "
          WHERE due_at IS NULL
            AND number IN (SELECT min(number) FROM jobs WHERE tenant = ?1 AND issuer = ?2 AND subject = ?3
                              AND status <> 'parked' GROUP BY plugin)"
    ))
    .bind(&owner.tenant)
    .bind(&owner.issuer)
    .bind(&owner.subject)
    .execute(connection)
    .await?;
    Ok(())
}

fn word(ability: Ability) -> &'static str {
    match ability {
        Ability::Observe => "observe",
        Ability::Reflect => "reflect",
    }
}

pub(super) fn ability(word: &str) -> Result<Ability, Fault> {
    match word {
        "observe" => Ok(Ability::Observe),
        "reflect" => Ok(Ability::Reflect),
        other => Err(StoreError::Corrupt(format!("`{other}` is no ability")).into()),
    }
}

struct Take {
    host: Uuid,
    lease: Duration,
}

impl Operation for Take {
    type Answer = Option<JobRecord>;

    async fn run(self, session: Session<'_>) -> Result<Verdict<Self::Answer>, Fault> {
        let connection = session.open().await?;
        let row = sqlx::query(concat!(
            "UPDATE jobs
                SET status = 'running', host = ?1, attempt = attempt + 1, epoch = epoch + 1, due_at = ", now!(), " + ?2
              WHERE number = (SELECT number FROM jobs WHERE due_at > 0 AND due_at <= ", now!(), "
                               ORDER BY due_at, number LIMIT 1)
             RETURNING id, tenant, issuer, subject, conversation, turn, plugin, ability, payload, attempt, epoch"
        ))
        .bind(self.host)
        .bind(millis(self.lease))
        .fetch_optional(connection)
        .await?;
        let Some(row) = row else { return Ok(Verdict::Keep(None)) };
        Ok(Verdict::Keep(Some(JobRecord {
            id: JobId::from(row.try_get::<Uuid, _>(0)?),
            owner: line(&row, 1)?.0,
            conversation: ConversationId::from(row.try_get::<Uuid, _>(4)?),
            turn: TurnId::from(row.try_get::<Uuid, _>(5)?),
            plugin: row.try_get(6)?,
            ability: ability(row.try_get(7)?)?,
            payload: row.try_get(8)?,
            attempt: attempt(row.try_get(9)?)?,
            epoch: row.try_get(10)?,
        })))
    }
}

async fn next_due(connection: &mut SqliteConnection) -> Result<Option<Duration>, Fault> {
    let row = sqlx::query(concat!("SELECT min(due_at) - ", now!(), " FROM jobs WHERE due_at > 0"))
        .fetch_one(connection)
        .await?;
    Ok(row.try_get::<Option<i64>, _>(0)?.map(remaining))
}

async fn counts(connection: &mut SqliteConnection) -> Result<JobCounts, Fault> {
    let row = sqlx::query(
        "SELECT count(*) FILTER (WHERE status = 'queued'), count(*) FILTER (WHERE status = 'running'),
                count(*) FILTER (WHERE status = 'parked') FROM jobs",
    )
    .fetch_one(connection)
    .await?;
    Ok(JobCounts {
        queued: unsigned(row.try_get(0)?)?,
        running: unsigned(row.try_get(1)?)?,
        parked: unsigned(row.try_get(2)?)?,
    })
}

/// Owner and plugin from `tenant, issuer, subject, plugin` at a column (the plugin last, where it is read).
pub(super) fn line(row: &SqliteRow, column: usize) -> Result<(Owner, String), Fault> {
    let owner = Owner {
        tenant: row.try_get(column)?,
        issuer: row.try_get(column + 1)?,
        subject: row.try_get(column + 2)?,
    };
    Ok((owner, row.try_get("plugin")?))
}

struct Complete {
    job: JobId,
    epoch: i64,
    writes: Vec<StateWrite>,
}

impl Operation for Complete {
    type Answer = bool;

    async fn run(self, session: Session<'_>) -> Result<Verdict<bool>, Fault> {
        let connection = session.open().await?;
        let row = sqlx::query(
            "DELETE FROM jobs WHERE id = ?1 AND epoch = ?2 AND status = 'running'
             RETURNING tenant, issuer, subject, plugin",
        )
        .bind(self.job.as_uuid())
        .bind(self.epoch)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(row) = row else { return Ok(Verdict::Keep(false)) };
        let (owner, plugin) = line(&row, 0)?;
        advance(connection, &owner, &plugin).await?;
        state::apply(connection, &self.writes).await?.map_err(StoreError::Conflict)?;
        Ok(Verdict::Keep(true))
    }
}

struct Retry {
    job: JobId,
    epoch: i64,
    after: Duration,
    error: String,
}

impl Operation for Retry {
    type Answer = ();

    async fn run(self, session: Session<'_>) -> Result<Verdict<()>, Fault> {
        let connection = session.open().await?;
        sqlx::query(concat!(
            "UPDATE jobs SET status = 'queued', host = NULL, due_at = ",
            now!(),
            " + ?3, error = ?4
              WHERE id = ?1 AND epoch = ?2 AND status = 'running'"
        ))
        .bind(self.job.as_uuid())
        .bind(self.epoch)
        .bind(millis(self.after))
        .bind(&self.error)
        .execute(connection)
        .await?;
        Ok(Verdict::Keep(()))
    }
}

struct Park {
    job: JobId,
    epoch: i64,
    error: String,
}

impl Operation for Park {
    type Answer = ();

    async fn run(self, session: Session<'_>) -> Result<Verdict<()>, Fault> {
        let connection = session.open().await?;
        let row = sqlx::query(
            "UPDATE jobs SET status = 'parked', host = NULL, due_at = NULL, error = ?3
              WHERE id = ?1 AND epoch = ?2 AND status = 'running' RETURNING tenant, issuer, subject, plugin",
        )
        .bind(self.job.as_uuid())
        .bind(self.epoch)
        .bind(&self.error)
        .fetch_optional(&mut *connection)
        .await?;
        if let Some(row) = row {
            let (owner, plugin) = line(&row, 0)?;
            advance(connection, &owner, &plugin).await?;
        }
        Ok(Verdict::Keep(()))
    }
}

struct Release {
    job: JobId,
    epoch: i64,
}

impl Operation for Release {
    type Answer = ();

    async fn run(self, session: Session<'_>) -> Result<Verdict<()>, Fault> {
        let connection = session.open().await?;
        sqlx::query(concat!(
            "UPDATE jobs SET status = 'queued', host = NULL, attempt = attempt - 1, due_at = ",
            now!(),
            "
              WHERE id = ?1 AND epoch = ?2 AND status = 'running'"
        ))
        .bind(self.job.as_uuid())
        .bind(self.epoch)
        .execute(connection)
        .await?;
        Ok(Verdict::Keep(()))
    }
}

struct Renew {
    host: Uuid,
    /// From [`ids_text`].
    jobs: String,
    lease: Duration,
}

impl Operation for Renew {
    type Answer = ();

    async fn run(self, session: Session<'_>) -> Result<Verdict<()>, Fault> {
        let connection = session.open().await?;
        sqlx::query(concat!(
            "UPDATE jobs SET due_at = ",
            now!(),
            " + ?2
              WHERE host = ?1 AND status = 'running' AND id IN (SELECT unhex(value) FROM json_each(?3))"
        ))
        .bind(self.host)
        .bind(millis(self.lease))
        .bind(self.jobs)
        .execute(connection)
        .await?;
        Ok(Verdict::Keep(()))
    }
}
