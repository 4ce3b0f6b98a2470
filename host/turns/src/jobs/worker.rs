//! Takes jobs from the store while there is room, renews their leases, and puts back what still runs when the host stops.
//!
//! Threat: jobs that stall (a model that does not answer) take every place, and the jobs of everyone else wait. Policy: no
//! user and no plugin has more than half of the places, the store chooses fairly among what is due, a job has a time limit,
//! and one that held its place for long waits for longer (see [`retry`](super::retry)). Accepted consequence: a plugin or a
//! user alone gets half of the places.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use masque_companions::Active;
use masque_store::{Budgets, JobLimits, LiveHosts, Store, StoreError, TakenJobs};
use masque_telemetry::trace::Tracer;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::observed_run::log_span;
use super::runner::JobRunner;
use super::running::RunningJobs;

/// How long the store keeps a job for this host unless its lease is renewed.
pub(super) const LEASE: Duration = Duration::from_secs(30);
const RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// The time between two renewals if the first one failed.
const RENEW_RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// How long the store may take to answer a renewal.
const RENEW_TIMEOUT: Duration = Duration::from_secs(3);
/// How long before the end of its lease a job is stopped that can't be renewed.
const SAFETY_MARGIN: Duration = Duration::from_secs(5);
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
    pub(super) live_hosts: LiveHosts,
    max_running: NonZeroU32,
}

/// What bounds the background jobs of one host.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// Jobs that run at the same time. They must not crowd out turns.
    pub max_concurrent: NonZeroU32,
    /// The longest time for one attempt.
    pub timeout: Duration,
    /// Begins the trace of each run.
    pub tracer: Tracer,
}

impl JobWorker {
    /// A worker that takes jobs from `store` and runs them with the plugins of `active`. `budgets` pay for their questions
    /// to models. `host` names this process in the store. If there are other hosts, the jobs of plugins that are not in
    /// `active` are left to them; a host alone parks them.
    pub fn new(
        store: Arc<dyn Store>,
        active: Arc<Active>,
        budgets: Arc<Budgets>,
        options: JobOptions,
        live_hosts: LiveHosts,
        host: Uuid,
    ) -> Self {
        let JobOptions { max_concurrent, timeout, tracer } = options;
        let runner = Arc::new(JobRunner { store: Arc::clone(&store), active, budgets, timeout, tracer });
        Self { store, host, runner, live_hosts, max_running: max_concurrent }
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
                _ = renew.tick() => if !self.renew_leases(&mut running).await {
                    renew.reset_after(RENEW_RETRY_INTERVAL);
                },
                () = tokio::time::sleep_until(due) => {}
            }
        }
        self.shut_down(running).await;
    }

    /// Takes due jobs while there is room. Returns the time until another can be taken, if there is room for it.
    async fn take_due(&self, running: &mut RunningJobs) -> Result<Option<Duration>, StoreError> {
        loop {
            let free = self.limits(running.len());
            if free.total == 0 {
                return Ok(None);
            }
            let plugins = self.plugins();
            let taken = self.store.take(self.host, LEASE, free, plugins.as_ref()).await?;
            let TakenJobs { jobs, next_due } = taken;
            let is_empty = jobs.is_empty();
            for job in jobs {
                running.start(job.id, job.epoch, log_span(&job), Arc::clone(&self.runner).run(job));
            }
            if is_empty || next_due != Some(Duration::ZERO) {
                return Ok(next_due);
            }
        }
    }

    /// The plugins whose jobs this host takes; `None` for any.
    fn plugins(&self) -> Option<BTreeSet<String>> {
        let has_others = self.live_hosts.get() > 1;
        has_others.then(|| self.runner.active.current().plugins.keys().cloned().collect())
    }

    /// How many jobs may be taken while `running` run.
    fn limits(&self, running: usize) -> JobLimits {
        let max = self.max_running.get();
        let share = max.div_ceil(2);
        let running = u32::try_from(running).unwrap_or(u32::MAX);
        JobLimits { total: max.saturating_sub(running), per_user: share, per_plugin: share }
    }

    /// Renews once, and returns whether the store answered. If it did not, stops the jobs whose leases may end before
    /// another renewal has failed: another host may take them then.
    async fn renew_leases(&self, running: &mut RunningJobs) -> bool {
        let (jobs, asked) = (running.ids(), Instant::now());
        if jobs.is_empty() {
            return true;
        }
        match tokio::time::timeout(RENEW_TIMEOUT, self.store.renew_jobs(self.host, &jobs, LEASE)).await {
            Ok(Ok(())) => {
                running.renewed(&jobs, asked);
                return true;
            }
            Ok(Err(error)) => tracing::warn!(%error, "the leases of background jobs could not be renewed"),
            Err(_elapsed) => tracing::warn!("the store does not answer; the leases of jobs are not renewed"),
        }
        // A job that is stopped writes nothing and is tried again.
        let next_failure = Instant::now() + RENEW_RETRY_INTERVAL + RENEW_TIMEOUT;
        running.abort_if(|since| next_failure > since + LEASE - SAFETY_MARGIN);
        false
    }

    /// Waits a moment for running jobs, and puts the rest back.
    async fn shut_down(&self, mut running: RunningJobs) {
        let ended = async { while running.next_end().await.is_some() {} };
        if tokio::time::timeout(SHUTDOWN_GRACE, ended).await.is_err() {
            // Nothing of these jobs is written before they complete, so this does not count as an attempt.
            for (job, epoch, log) in running.abort().await {
                if let Err(error) = self.store.release(job, epoch).await {
                    let _in_job = log.enter();
                    tracing::warn!(%job, %error, "a job could not be put back; the next start takes it again");
                }
            }
        }
    }
}
