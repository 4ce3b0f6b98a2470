//! Background jobs: calls of `observe` and `reflect` after the reply. Each job runs at least once, in order per owner
//! and plugin. The caller decides when a job is retried and when it is parked.

use std::collections::BTreeSet;
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
/// parked. A job that is taken is leased. When its lease has expired, another host can take it, and every call with the
/// old epoch changes nothing, whether or not that has happened.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Takes due jobs within `limits`, at most one of each queue, and leases them to `host`. A job that this version
    /// can't read is parked.
    ///
    /// A job whose lease ended on another host may be what ended that host. It is taken once more, and parked the second
    /// time. A host that takes its own job again lives, so that does not count.
    ///
    /// Plugins take turns: the next job is of the plugin with the fewest jobs running on this host, and of those of one
    /// plugin, the one that has been due for the longest. So neither a plugin nor a user with many jobs keeps those of
    /// others from being taken.
    ///
    /// `plugins`: take only jobs of these plugins; `None` for any. A host leaves the jobs of a plugin that it does not have
    /// to others.
    async fn take(
        &self,
        host: Uuid,
        lease: Duration,
        limits: JobLimits,
        plugins: Option<&BTreeSet<String>>,
    ) -> Result<TakenJobs, StoreError>;

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

    /// Removes jobs that were parked longer ago than this and not put back, a bounded number in one transaction. Returns
    /// how many; call again while it is not zero. Jobs that are not parked are never removed before they are done: an
    /// exchange that was stored is told to its plugins at least once.
    async fn forget_parked(&self, older_than: Duration) -> Result<u64, StoreError>;

    /// How many jobs there are.
    async fn counts(&self) -> Result<JobCounts, StoreError>;

    /// Makes the leases of these jobs end `lease` from now, as far as `host` still holds them and they have not expired.
    /// The lease of a job that is not named expires, so that a job whose end could not be stored is taken again.
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
    /// The arguments: any text, returned unchanged. A store keeps it as text and not as JSON, which could not be changed
    /// back and has rules of its own.
    pub payload: String,
}

/// How many jobs may be taken. Jobs that the host runs already count towards `per_user` and `per_plugin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobLimits {
    /// Taken by this call.
    pub total: u32,
    /// Running on the host at the same time, of one user.
    pub per_user: u32,
    /// Running on the host at the same time, of one plugin.
    pub per_plugin: u32,
}

impl JobLimits {
    /// Up to `total` jobs, whoever they are of.
    pub fn total(total: u32) -> Self {
        Self { total, per_user: u32::MAX, per_plugin: u32::MAX }
    }
}

/// The jobs that were taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TakenJobs {
    /// In the order in which they were chosen.
    pub jobs: Vec<JobRecord>,
    /// How long until another job of these plugins can be taken within the limits per user and plugin, leases that expire included, if
    /// none of those that run ends before. Zero if one is left because of [`JobLimits::total`], `None` if there is none.
    pub next_due: Option<Duration>,
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

/// How many jobs there are, over all owners, and for how long they wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// Waiting until they are due, or behind others of their queue.
    pub queued: u64,
    /// Taken and not ended yet.
    pub running: u64,
    /// Parked.
    pub parked: u64,
    /// The time since the turn of the oldest job that is neither done nor parked; `None` if there is no such job. It
    /// grows without end if jobs come faster than they are done, or if one fails again and again.
    pub oldest: Option<Duration>,
}
