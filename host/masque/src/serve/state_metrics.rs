//! Keeps the metrics of the database, of Redis, of hosts and of background jobs, which no operation changes by itself.

use std::sync::Arc;
use std::time::Duration;

use masque_store::{Shared, SharedStatus, Store};
use masque_store_postgres::PostgresStore;
use masque_telemetry::metrics::state::{DEGRADED, HOSTS, JOBS, JOBS_OLDEST, POOL, POOL_LIMIT, UP};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::observed_store::Database;

/// How often the values are read: as often as Prometheus scrapes by the configuration in `deploy`.
const INTERVAL: Duration = Duration::from_secs(5);
/// A database that takes longer counts as away.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Jobs are counted in every so many rounds, since the count reads a row of each job that waits.
const ROUNDS_PER_COUNT: u32 = 3;
const REDIS: &str = "redis";

/// What is looked at.
#[derive(Clone)]
pub(super) struct StateMetrics {
    pub(super) store: Arc<dyn Store>,
    pub(super) database: Database,
    pub(super) pool: Option<Arc<PostgresStore>>,
    pub(super) shared: Shared,
}

impl StateMetrics {
    /// Runs until `stop`.
    pub(super) async fn keep(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut round) = (Instant::now(), 0);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let elapsed = last.elapsed();
            last = Instant::now();
            self.read_health(elapsed).await;
            if round % ROUNDS_PER_COUNT == 0 {
                self.count_jobs().await;
            }
            round = round.wrapping_add(1);
        }
    }

    /// Reads what answers. `elapsed` is the time since the last look.
    async fn read_health(&self, elapsed: Duration) {
        let is_up = matches!(tokio::time::timeout(TIMEOUT, self.store.check()).await, Ok(Ok(())));
        note(self.database.label(), is_up, elapsed);
        match self.shared.health.status() {
            SharedStatus::InProcess => {}
            SharedStatus::Connected => note(REDIS, true, elapsed),
            SharedStatus::Unavailable { .. } => note(REDIS, false, elapsed),
        }
        HOSTS.set(&[], self.shared.live_hosts.get().into());
        if let Some(pool) = &self.pool {
            let (pool, database) = (pool.pool_use(), self.database.label());
            POOL.set(&[database, "used"], pool.used.into());
            POOL.set(&[database, "idle"], pool.idle.into());
            POOL_LIMIT.set(&[database], pool.limit.into());
        }
    }

    async fn count_jobs(&self) {
        // A database that is away is in the metrics already; the last counts stay.
        let Ok(Ok(counts)) = tokio::time::timeout(TIMEOUT, self.store.counts()).await else { return };
        JOBS.set(&["waiting"], counts.queued);
        JOBS.set(&["running"], counts.running);
        JOBS.set(&["parked"], counts.parked);
        JOBS_OLDEST.set_fraction(&[], counts.oldest.unwrap_or_default().as_secs_f64());
    }
}

fn note(database: &str, is_up: bool, elapsed: Duration) {
    UP.set(&[database], u64::from(is_up));
    // Zero, too: the series is there before the first failure, so that its increase can be told.
    DEGRADED.add(&[database], if is_up { 0.0 } else { elapsed.as_secs_f64() });
}
