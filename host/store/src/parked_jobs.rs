//! Parked jobs: jobs that failed too often. Used by operators.

use async_trait::async_trait;

use crate::connection::StoreConnection;
use crate::error::StoreError;
use crate::ids::JobId;
use crate::owner::Owner;

/// Lists parked jobs and puts them back. Works while a host uses the same database.
#[async_trait]
pub trait ParkedJobs: StoreConnection {
    /// All parked jobs, oldest first.
    async fn parked_jobs(&self) -> Result<Vec<ParkedJob>, StoreError>;

    /// Puts a parked job back at its place in its queue, with no attempt counted. A running host finds it within a
    /// minute. False if no parked job has this id.
    async fn retry_parked(&self, job: JobId) -> Result<bool, StoreError>;
}

/// A job that failed too often, or that this version can't read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedJob {
    /// Its id.
    pub id: JobId,
    /// The user of the exchange.
    pub owner: Owner,
    /// The plugin's name.
    pub plugin: String,
    /// What the plugin was to do: `observe`, `reflect`, or a word that another version of Masque wrote.
    pub kind: String,
    /// How often it was tried.
    pub attempt: u32,
    /// The error of the last try.
    pub error: String,
    /// When its turn ended, in milliseconds.
    pub created_at: i64,
}
