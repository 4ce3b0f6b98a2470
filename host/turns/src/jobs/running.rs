//! The tasks of the jobs that run, each with its lease.

use std::collections::HashMap;

use masque_store::JobId;
use tokio::task::{self, AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{Instrument, Span};

/// The jobs that run.
#[derive(Default)]
pub(super) struct RunningJobs {
    tasks: JoinSet<()>,
    leases: HashMap<task::Id, JobLease>,
}

/// The lease of a job that runs.
struct JobLease {
    job: JobId,
    epoch: i64,
    /// When it was taken or last renewed.
    since: Instant,
    task: AbortHandle,
    /// For lines about the job.
    log: Span,
}

impl RunningJobs {
    pub(super) fn len(&self) -> usize {
        self.leases.len()
    }

    pub(super) fn ids(&self) -> Vec<JobId> {
        self.leases.values().map(|lease| lease.job).collect()
    }

    /// Spawns the work of a job that was taken with this epoch, within `log`.
    pub(super) fn start(
        &mut self,
        job: JobId,
        epoch: i64,
        log: Span,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(work.instrument(log.clone()));
        self.leases.insert(task.id(), JobLease { job, epoch, since: Instant::now(), task, log });
    }

    /// The leases of these jobs were renewed by a request that was sent at `asked`.
    pub(super) fn renewed(&mut self, jobs: &[JobId], asked: Instant) {
        for lease in self.leases.values_mut().filter(|lease| jobs.contains(&lease.job)) {
            lease.since = asked;
        }
    }

    /// Stops the jobs for whose lease, by the time when it was taken or last renewed, `condition` holds.
    pub(super) fn abort_if(&mut self, condition: impl Fn(Instant) -> bool) {
        for lease in self.leases.values().filter(|lease| condition(lease.since)) {
            let _in_job = lease.log.enter();
            tracing::error!(job = %lease.job, "a job is stopped, since its lease can't be renewed");
            lease.task.abort();
        }
    }

    /// Waits for one job to end; `None` if none runs. No end is lost when the future is dropped.
    pub(super) async fn next_end(&mut self) -> Option<()> {
        let (task, panic) = match self.tasks.join_next_with_id().await? {
            Ok((task, ())) => (task, None),
            Err(error) => (error.id(), Some(error)),
        };
        if let (Some(JobLease { job, log, .. }), Some(error)) =
            (self.leases.remove(&task), panic.filter(JoinError::is_panic))
        {
            // Its lease is no longer renewed. When it has run out, the job is tried again.
            log.in_scope(|| tracing::error!(%job, %error, "a background job panicked"));
        }
        Some(())
    }

    /// Aborts the remaining jobs and returns their ids and epochs, and the spans for lines about them.
    pub(super) async fn abort(mut self) -> Vec<(JobId, i64, Span)> {
        self.tasks.shutdown().await;
        self.leases.into_values().map(|lease| (lease.job, lease.epoch, lease.log)).collect()
    }
}
