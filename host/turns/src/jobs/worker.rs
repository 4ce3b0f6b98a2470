//! Takes jobs from the store while there is room, renews their leases, and puts back what still runs when the host stops.

use std::sync::Arc;
use std::time::Duration;

use masque_companions::Active;
use masque_store::{Store, StoreError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::runner::JobRunner;
use super::running::RunningJobs;

/// Jobs that run at the same time. They must not crowd out turns.
const MAX_RUNNING: usize = 2;
/// How long the store keeps a job for this host unless its lease is renewed.
pub(super) const LEASE: Duration = Duration::from_secs(30);
const RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// How long the worker waits when the store can't be asked.
const STORE_RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// The longest wait for the next due job, since the clocks of hosts and databases drift.
const MAX_SLEEP: Duration = Duration::from_secs(60);
/// How long running jobs may take when the host stops. After that they are dropped, which undoes them.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// Runs background jobs until the host stops.
pub struct JobWorker {
    pub(super) store: Arc<dyn Store>,
    pub(super) host: Uuid,
    pub(super) runner: Arc<JobRunner>,
}

impl JobWorker {
    /// A worker that takes jobs from `store` and runs them with the plugins of `active`, each for `timeout` at most. `host`
    /// names this process in the store.
    pub fn new(store: Arc<dyn Store>, active: Arc<Active>, timeout: Duration, host: Uuid) -> Self {
        let runner = Arc::new(JobRunner { store: Arc::clone(&store), active, timeout });
        Self { store, host, runner }
    }

    /// Starts the worker. `wake` is notified when there may be new jobs. The handle resolves after `stop` is cancelled, once
    /// no job runs.
    pub fn start(self, wake: Arc<Notify>, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(async move { self.work(&wake, &stop).await })
    }

    pub(super) async fn work(&self, wake: &Notify, stop: &CancellationToken) {
        let mut running = RunningJobs::default();
        let mut renew = tokio::time::interval(RENEW_INTERVAL);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = match self.take_due(&mut running).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(%error, "background work can't be looked up");
                    Some(STORE_RETRY_INTERVAL)
                }
            };
            let due = Instant::now() + due.unwrap_or(MAX_SLEEP).min(MAX_SLEEP);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(()) = running.next_end() => {}
                () = wake.notified() => {}
                _ = renew.tick() => if let Err(error) = self.renew_leases(&running).await {
                    tracing::warn!(%error, "the leases of background jobs could not be renewed");
                },
                () = tokio::time::sleep_until(due) => {}
            }
        }
        self.shut_down(running).await;
    }

    /// Takes due jobs while there is room. Returns the time until the next one is due, if there is room for it.
    async fn take_due(&self, running: &mut RunningJobs) -> Result<Option<Duration>, StoreError> {
        while let Some(free) = MAX_RUNNING.checked_sub(running.len()).filter(|free| *free > 0) {
            let limit = u32::try_from(free).unwrap_or(u32::MAX);
            let taken = self.store.take(self.host, LEASE, limit).await?;
            if taken.is_empty() {
                return self.store.next_due().await;
            }
            for job in taken {
                running.start(job.id, job.epoch, Arc::clone(&self.runner).run(job));
            }
        }
        Ok(None)
    }

    async fn renew_leases(&self, running: &RunningJobs) -> Result<(), StoreError> {
        let jobs = running.ids();
        if jobs.is_empty() { Ok(()) } else { self.store.renew_jobs(self.host, &jobs, LEASE).await }
    }

    /// Waits a moment for running jobs, and puts the rest back.
    async fn shut_down(&self, mut running: RunningJobs) {
        let ended = async { while running.next_end().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_GRACE, ended).await.is_err() {
            // Nothing of these jobs is written before they complete, so this does not count as an attempt.
            for (job, epoch) in running.abort().await {
                if let Err(error) = self.store.release(job, epoch).await {
                    tracing::warn!(%job, %error, "a job could not be put back; the next start takes it again");
                }
            }
        }
    }
}
