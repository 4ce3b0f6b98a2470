//! The database, Redis, hosts and background jobs.

use std::time::Instant;

use super::buckets::{OPERATION_SECONDS, REQUEST_SECONDS};
use super::declare::families;

families! {
    histogram QUERY_DURATION = "database_query_duration_seconds" ["database", "operation"] in OPERATION_SECONDS,
        "Time of one operation of the store, from its call to its answer, or until its caller gave up; database is `sqlite`, `postgresql` or `redis`.";
    counter QUERY_ERRORS = "masque_database_errors_total" ["database", "operation"],
        "Operations of the store that failed, or were given up before their answer.";
    gauge UP = "masque_database_up" ["database"],
        "1 while the database answers, else 0; database is `sqlite`, `postgresql` or `redis`.";
    fractional_counter DEGRADED = "masque_degraded_seconds_total" ["database"],
        "Time in which the database was away.";
    gauge POOL = "masque_database_pool_connections" ["database", "state"],
        "Connections to the database: `used` or `idle`.";
    gauge POOL_LIMIT = "masque_database_pool_connections_limit" ["database"],
        "The most connections to the database.";
    gauge HOSTS = "masque_hosts_live" [],
        "Hosts of the installation that live, as this host sees it.";
    gauge HEARTBEAT = "masque_heartbeat_timestamp_seconds" [],
        "When the last heartbeat of this host reached the database, in seconds since 1970.";
    counter LEASES_LOST = "masque_leases_lost_total" [],
        "Turns of this host that lost their lease.";
    gauge JOBS = "masque_jobs" ["state"],
        "Background jobs: `waiting`, `running` or `parked`.";
    gauge JOBS_OLDEST = "masque_jobs_oldest_seconds" [],
        "The age of the oldest job that waits.";
    counter JOB_RUNS = "masque_job_runs_total" ["plugin", "function", "outcome"],
        "Runs of background jobs: `done`, `retried`, `parked`, or `lost` with the lease to another run.";
    histogram JOB_DURATION = "masque_job_duration_seconds" ["plugin", "function"] in REQUEST_SECONDS,
        "Time of one run of a background job.";
}

/// The outcomes of a run of a background job.
pub const JOB_OUTCOMES: [&str; 4] = ["done", "retried", "parked", "lost"];

/// Makes the series of a plugin's jobs whose first increase has to be seen.
pub fn begin_jobs(plugin: &str, function: &str) {
    for outcome in JOB_OUTCOMES {
        JOB_RUNS.begin(&[plugin, function, outcome]);
    }
}

/// An operation of a database that runs. Dropping it counts it: as a failure unless its end was told before.
#[must_use]
pub struct MeasuredOperation {
    labels: [&'static str; 2],
    began: Instant,
    is_ok: bool,
}

impl MeasuredOperation {
    /// An operation of this database begins.
    pub fn begin(database: &'static str, operation: &'static str) -> Self {
        Self { labels: [database, operation], began: Instant::now(), is_ok: false }
    }

    /// There is an answer.
    pub fn end(mut self, is_ok: bool) {
        self.is_ok = is_ok;
    }
}

impl Drop for MeasuredOperation {
    fn drop(&mut self) {
        QUERY_DURATION.observe(&self.labels, self.began.elapsed().as_secs_f64());
        if !self.is_ok {
            QUERY_ERRORS.increment(&self.labels);
        }
    }
}
