//! The tasks of the jobs that run, each with its lease.

use std::collections::HashMap;

use masque_store::JobId;
use tokio::task::{self, JoinSet};

/// The jobs that run.
#[derive(Default)]
pub(super) struct RunningJobs {
    tasks: JoinSet<()>,
    leases: HashMap<task::Id, (JobId, i64)>,
}

impl RunningJobs {
    pub(super) fn len(&self) -> usize {
        self.leases.len()
    }

    pub(super) fn ids(&self) -> Vec<JobId> {
        self.leases.values().map(|(job, _)| *job).collect()
    }

    /// Spawns the work of a job that was taken with this epoch.
    pub(super) fn start(&mut self, job: JobId, epoch: i64, work: impl Future<Output = ()> + Send + 'static) {
        self.leases.insert(self.tasks.spawn(work).id(), (job, epoch));
    }

    /// Waits for one job to end; `None` if none runs. No end is lost when the future is dropped.
    pub(super) async fn next_end(&mut self) -> Option<()> {
        let (task, panic) = match self.tasks.join_next_with_id().await? {
            Ok((task, ())) => (task, None),
            Err(error) => (error.id(), Some(error)),
        };
        if let (Some((job, _)), Some(error)) = (self.leases.remove(&task), panic) {
            // Its lease is no longer renewed. When it has run out, the job is tried again.
            tracing::error!(%job, %error, "a background job panicked");
        }
        Some(())
    }

    /// Aborts the remaining jobs and returns their ids and epochs.
    pub(super) async fn abort(mut self) -> Vec<(JobId, i64)> {
        self.tasks.shutdown().await;
        self.leases.into_values().collect()
    }
}
