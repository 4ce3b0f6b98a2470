//! Background work: what memories and personas are told of an exchange once it is over, at least once, in order per
//! user and plugin.
//!
//! A turn leaves its jobs behind with its commit, so they are as durable as the exchange. [`Worker`] takes them one by
//! one, runs each with the versions that are current when it starts, and gives its state writes to the store together
//! with its completion: a job that fails half-way leaves no trace. When to try again is in `retry`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use masque_store::{
    Ability, JobCompletion, JobId, JobRecord, NewJob, NewMessage, Started, Store, StoreError, UsageRecord,
};
use tokio::sync::Notify;
use tokio::task::{self, JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::active::{Active, Companion};
use crate::config::Config;

mod buffer;
mod parked;
mod payload;
mod retry;
mod run;

pub(crate) use parked::parked;
use payload::Payload;

/// Jobs that run at once: they must not crowd out turns.
const AT_ONCE: usize = 2;
const LEASE: Duration = Duration::from_secs(30);
const RENEW: Duration = Duration::from_secs(10);
/// Between two looks at a store that could not be asked.
const STORE_AWAY: Duration = Duration::from_secs(5);
/// The longest sleep: clocks of hosts and databases drift.
const LONGEST: Duration = Duration::from_secs(60);
/// What a running job may still take when the host stops. Past it the job is dropped, which undoes it.
const LAST_CALL: Duration = Duration::from_secs(2);

/// The jobs that an exchange leaves behind.
pub(crate) fn after(
    companion: &Companion,
    started: &Started,
    reply: &NewMessage,
    usage: UsageRecord,
    interrupted: bool,
) -> Vec<NewJob> {
    let memory = (&companion.memory, Ability::Observe, companion.memory.package().observes());
    let persona = (&companion.persona, Ability::Reflect, companion.persona.package().reflects());
    let wanted = [memory, persona].into_iter().filter(|(_, _, wanted)| *wanted);
    wanted
        .map(|(plugin, ability, _)| NewJob {
            id: JobId::new(),
            plugin: plugin.name().to_owned(),
            ability,
            payload: Payload::new(started, reply, usage, interrupted).to_text(),
        })
        .collect()
}

/// Runs jobs until the host stops.
pub(crate) struct Worker {
    store: Arc<dyn Store>,
    active: Arc<Active>,
    config: Arc<Config>,
    host: Uuid,
}

impl Worker {
    /// `wake` is told whenever there may be new work. The handle resolves after `stop`, once no job runs.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        active: Arc<Active>,
        config: Arc<Config>,
        host: Uuid,
        wake: Arc<Notify>,
        stop: CancellationToken,
    ) -> JoinHandle<()> {
        let worker = Arc::new(Self { store, active, config, host });
        tokio::spawn(worker.work(wake, stop))
    }

    async fn work(self: Arc<Self>, wake: Arc<Notify>, stop: CancellationToken) {
        let mut running = Running::default();
        let mut renew = tokio::time::interval(RENEW);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = match self.fill(&mut running).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(%error, "background work can't be looked up");
                    Some(STORE_AWAY)
                }
            };
            let due = Instant::now() + due.unwrap_or(LONGEST).min(LONGEST);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(()) = running.ended() => {}
                () = wake.notified() => {}
                _ = renew.tick() => if let Err(error) = self.renew(&running).await {
                    tracing::warn!(%error, "the leases of background jobs could not be renewed");
                },
                () = tokio::time::sleep_until(due) => {}
            }
        }
        let finished = async { while running.ended().await.is_some() {} };
        if tokio::time::timeout(LAST_CALL, finished).await.is_err() {
            // Nothing of them is written before their completion, so they were not tried.
            for (job, epoch) in running.cut_off().await {
                if let Err(error) = self.store.release(job, epoch).await {
                    tracing::warn!(%job, %error, "a job could not be put back; the next start takes it again");
                }
            }
        }
    }

    /// Takes what is due while there is room; says when to look again.
    async fn fill(self: &Arc<Self>, running: &mut Running) -> Result<Option<Duration>, StoreError> {
        while let Some(free) = AT_ONCE.checked_sub(running.jobs.len()).filter(|free| *free > 0) {
            let limit = u32::try_from(free).unwrap_or(u32::MAX);
            let taken = self.store.take(self.host, LEASE, limit).await?;
            if taken.is_empty() {
                return self.store.next_due().await;
            }
            for job in taken {
                running.start(job.id, job.epoch, Arc::clone(self).run(job));
            }
        }
        Ok(None)
    }

    async fn renew(&self, running: &Running) -> Result<(), StoreError> {
        let jobs: Vec<_> = running.jobs.values().map(|(job, _)| *job).collect();
        if jobs.is_empty() { Ok(()) } else { self.store.renew_jobs(self.host, &jobs, LEASE).await }
    }

    /// One job from its call to its completion.
    async fn run(self: Arc<Self>, job: JobRecord) {
        if let Some(verdict) = retry::before(job.attempt) {
            return self.put_back(&job, verdict).await;
        }
        // Of this moment, whatever comes while the job runs.
        let set = self.active.current();
        let verdict = match self.call(&job, &set).await {
            run::Ended::Done(writes) => {
                match self.store.complete(job.id, job.epoch, JobCompletion::writing(writes)).await {
                    Ok(true) => return,
                    Ok(false) => {
                        tracing::warn!(job = %job.id, plugin = job.plugin, "a job's lease was lost; its writes are dropped");
                        return;
                    }
                    Err(error) => retry::verdict(job.attempt, seed(&job), error.to_string()),
                }
            }
            run::Ended::Failed(error) => retry::verdict(job.attempt, seed(&job), set.redactor.clean(&error)),
            run::Ended::Hopeless(error) => retry::Verdict::Park { error: set.redactor.clean(&error) },
        };
        self.put_back(&job, verdict).await;
    }

    async fn put_back(&self, job: &JobRecord, verdict: retry::Verdict) {
        let stored = match &verdict {
            retry::Verdict::Retry { after, error } => {
                tracing::warn!(job = %job.id, plugin = job.plugin, attempt = job.attempt, error, "a job failed");
                self.store.retry(job.id, job.epoch, *after, error).await
            }
            retry::Verdict::Park { error } => {
                tracing::error!(job = %job.id, plugin = job.plugin, attempt = job.attempt, error, "a job is given up");
                self.store.park(job.id, job.epoch, error).await
            }
        };
        if let Err(error) = stored {
            // Its lease runs out, and it is taken again.
            tracing::warn!(job = %job.id, %error, "the end of a job could not be stored");
        }
    }
}

/// The jobs that run, each with its lease.
#[derive(Default)]
struct Running {
    tasks: JoinSet<()>,
    jobs: HashMap<task::Id, (JobId, i64)>,
}

impl Running {
    fn start(&mut self, job: JobId, epoch: i64, work: impl Future<Output = ()> + Send + 'static) {
        self.jobs.insert(self.tasks.spawn(work).id(), (job, epoch));
    }

    /// Waits for one to end; `None` if none runs.
    async fn ended(&mut self) -> Option<()> {
        let (task, panicked) = match self.tasks.join_next_with_id().await? {
            Ok((task, ())) => (task, None),
            Err(error) => (error.id(), Some(error)),
        };
        if let (Some((job, _)), Some(error)) = (self.jobs.remove(&task), panicked) {
            // Its lease is renewed no more, and when it has run out the job is tried again.
            tracing::error!(%job, %error, "a background job panicked");
        }
        Some(())
    }

    /// Ends what still runs, and says what that was.
    async fn cut_off(mut self) -> Vec<(JobId, i64)> {
        self.tasks.shutdown().await;
        self.jobs.into_values().collect()
    }
}

/// The random half of the job's id: what spreads retries.
fn seed(job: &JobRecord) -> u64 {
    job.id.as_uuid().as_u64_pair().1
}

#[cfg(test)]
mod tests;
