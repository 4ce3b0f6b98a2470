//! Background jobs: calls of `observe` and `reflect` after the reply. Each job runs at least once, in order per owner
//! and plugin. The caller decides when a job is retried and when it is parked.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::error::StoreError;
use crate::ids::{ConversationId, JobId, TurnId};
use crate::owner::Owner;
use crate::state_values::StateWrite;

/// Queues of jobs, filled by [`crate::Turns::commit`] and [`crate::Turns::interrupt`].
///
/// Jobs of one owner and plugin form a queue. Only its head can be taken: the first job that is neither done nor
/// parked. A job that is taken is leased. When its lease has expired, another host can take it, and every later call
/// with the old epoch changes nothing.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Takes up to `limit` due jobs, at most one of each queue, those that have waited longest first, and leases them
    /// to `host`. A job that this version can't read is parked. More jobs can be due although fewer than `limit` are
    /// returned; [`Jobs::next_due`] tells.
    async fn take(&self, host: Uuid, lease: Duration, limit: u32) -> Result<Vec<JobRecord>, StoreError>;

    /// How long until [`Jobs::take`] can return a job, leases that expire included; `None` if there is no
    /// job that can become due, zero if one is due.
    async fn next_due(&self) -> Result<Option<Duration>, StoreError>;

    /// The job is done: its writes are applied and the job is removed, in one transaction. False, with nothing written,
    /// if the lease was lost.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if a state write met another version than it asked for: nothing is written and the job
    /// is still leased, to be [retried](Jobs::retry).
    async fn complete(&self, job: JobId, epoch: i64, completion: JobCompletion) -> Result<bool, StoreError>;

    /// The job failed and is due again `after` from now, still first in its queue. Changes nothing if the lease was
    /// lost.
    async fn retry(&self, job: JobId, epoch: i64, after: Duration, error: &str) -> Result<(), StoreError>;

    /// The job is parked: it keeps its error and no longer blocks its queue. Changes nothing if the lease was lost.
    async fn park(&self, job: JobId, epoch: i64, error: &str) -> Result<(), StoreError>;

    /// The job was taken but not tried: it is due at once, and this attempt does not count. Changes nothing if the
    /// lease was lost.
    async fn release(&self, job: JobId, epoch: i64) -> Result<(), StoreError>;

    /// How many jobs there are.
    async fn counts(&self) -> Result<JobCounts, StoreError>;

    /// Makes the leases of these jobs end `lease` from now, as far as `host` still holds them. The lease of a job that
    /// is not named expires, so that a job whose end could not be stored is taken again.
    async fn renew_jobs(&self, host: Uuid, jobs: &[JobId], lease: Duration) -> Result<(), StoreError>;
}

/// The function of a plugin that a job calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ability {
    /// A memory observes an exchange (`observe`).
    Observe,
    /// A persona reflects on an exchange (`reflect`).
    Reflect,
}

/// A job to be enqueued.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// The plugin's name.
    pub plugin: String,
    /// The function of the plugin that is called.
    pub ability: Ability,
    /// The arguments: any text, returned unchanged.
    pub payload: String,
}

/// A job that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// The user of the exchange.
    pub owner: Owner,
    /// The conversation it came from.
    pub conversation: ConversationId,
    /// The turn it came from.
    pub turn: TurnId,
    /// The plugin's name.
    pub plugin: String,
    /// The function of the plugin that is called.
    pub ability: Ability,
    /// The arguments: any text, returned unchanged.
    pub payload: String,
    /// How often it was taken, this time included.
    pub attempt: u32,
    /// Proves the lease to [`Jobs::complete`], [`Jobs::retry`] and [`Jobs::park`].
    pub epoch: i64,
}

/// The result of a job that is done.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct JobCompletion {
    /// State writes of its plugin, applied in this order.
    pub writes: Vec<StateWrite>,
}

impl JobCompletion {
    /// A result that consists of these writes.
    pub fn writing(writes: Vec<StateWrite>) -> Self {
        Self { writes }
    }
}

/// How many jobs there are, over all owners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// Waiting until they are due, or behind others of their queue.
    pub queued: u64,
    /// Taken and not ended yet.
    pub running: u64,
    /// Parked.
    pub parked: u64,
}
