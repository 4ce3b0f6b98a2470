//! Jobs that were given up, for whoever looks after a host. Works beside a running one: SQLite lets another process
//! write between two of its transactions.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};
use uuid::Uuid;

use super::PATIENCE;
use super::fault::Fault;
use super::jobs::{ability, advance, line};
use super::rows::attempt;
use crate::{Ability, JobId, OpenError, Owner, StoreError};

/// The parked jobs in a data folder.
#[derive(Debug)]
pub struct ParkedJobs {
    connection: SqliteConnection,
}

/// A job that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedJob {
    /// Its id.
    pub id: JobId,
    /// Whose exchange it is about.
    pub owner: Owner,
    /// The plugin's name.
    pub plugin: String,
    /// What the plugin was asked to do.
    pub ability: Ability,
    /// How often it was tried.
    pub attempt: u32,
    /// What went wrong the last time.
    pub error: String,
    /// When its turn ended, in milliseconds.
    pub created_at: i64,
}

impl ParkedJobs {
    /// Opens the folder of a host, which may run.
    ///
    /// # Errors
    /// [`OpenError`] if no host has kept anything there, or it can't be read.
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        let database = |fault: Fault| OpenError::Database { folder: folder.to_owned(), source: fault.into() };
        let options = SqliteConnectOptions::new()
            .filename(folder.join("masque.db"))
            .create_if_missing(false)
            .busy_timeout(PATIENCE)
            .disable_statement_logging();
        let connection = options.connect().await.map_err(|error| database(error.into()))?;
        Ok(Self { connection })
    }

    /// All of them, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] if they can't be read.
    pub async fn list(&mut self) -> Result<Vec<ParkedJob>, StoreError> {
        Ok(list(&mut self.connection).await?)
    }

    /// Puts a job back at its place in its line, as if it had never been tried. A running host finds it within a minute.
    /// False if no parked job has this id.
    ///
    /// # Errors
    /// [`StoreError`] if it could not be written.
    pub async fn retry(&mut self, job: JobId) -> Result<bool, StoreError> {
        Ok(retry(&mut self.connection, job).await?)
    }

    /// Closes the connection.
    pub async fn close(self) {
        // All that was answered is on disk already.
        let _ = self.connection.close().await;
    }
}

async fn list(connection: &mut SqliteConnection) -> Result<Vec<ParkedJob>, Fault> {
    let rows = sqlx::query(
        "SELECT id, tenant, issuer, subject, plugin, ability, attempt, coalesce(error, ''), created_at
           FROM jobs WHERE status = 'parked' ORDER BY number",
    )
    .fetch_all(connection)
    .await?;
    let jobs = rows.iter().map(|row| {
        let (owner, plugin) = line(row, 1)?;
        Ok(ParkedJob {
            id: JobId::from(row.try_get::<Uuid, _>(0)?),
            owner,
            plugin,
            ability: ability(row.try_get(5)?)?,
            attempt: attempt(row.try_get(6)?)?,
            error: row.try_get(7)?,
            created_at: row.try_get(8)?,
        })
    });
    jobs.collect()
}

async fn retry(connection: &mut SqliteConnection, job: JobId) -> Result<bool, Fault> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let row = sqlx::query(
        "UPDATE jobs SET status = 'queued', attempt = 0, error = NULL WHERE id = ?1 AND status = 'parked'
         RETURNING tenant, issuer, subject, plugin",
    )
    .bind(job.as_uuid())
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(row) = row else { return Ok(false) };
    let (owner, plugin) = line(&row, 0)?;
    // It stands before those that came later, and one of a line runs at a time: what is due there waits, and where one
    // runs already, its end makes this one due.
    let running = sqlx::query(
        "UPDATE jobs SET due_at = NULL
          WHERE tenant = ?1 AND issuer = ?2 AND subject = ?3 AND plugin = ?4 AND status = 'queued';
         SELECT 1 FROM jobs
          WHERE tenant = ?1 AND issuer = ?2 AND subject = ?3 AND plugin = ?4 AND status = 'running'",
    )
    .bind(&owner.tenant)
    .bind(&owner.issuer)
    .bind(&owner.subject)
    .bind(&plugin)
    .fetch_all(&mut *transaction)
    .await?;
    if running.is_empty() {
        advance(&mut transaction, &owner, &plugin).await?;
    }
    transaction.commit().await?;
    Ok(true)
}
