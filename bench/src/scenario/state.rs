//! Measures what keeping state costs: in SQLite, in PostgreSQL, and in PostgreSQL with Redis beside it. The servers are started
//! for it, on free ports, and share the disk and the cores with everything else.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use masque_store_postgres::testing::{TestDatabase, TestServer as Postgres};
use masque_store_redis::testing::TestServer as Redis;

use super::bench::Bench;
use crate::load::Options;
use crate::mock::Pace;
use crate::process;
use crate::report::Table;
use crate::setup::{DATA, Host, LOG, Mode, load};
use crate::stats::show;

const PACE: Pace = Pace::at_once(40);
const CLIENTS: [usize; 4] = [1, 4, 16, 64];
/// The users on whose behalf the turns are made, so that none of them is a row that all turns write to.
const USERS: u64 = 100;
/// Makes the host say after each turn how long the turn waited for the store.
const LOG_STORE_TIME: &str = "[log]\nlevel = \"info,masque_turns::store=debug\"\n";
/// What is before that time in a line of the log.
const STORE_TIME: &str = "store_ms=";
/// The time within which the host has written the lines of all its turns.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// A host, the servers that only it uses, and what was measured of it.
struct Candidate {
    name: &'static str,
    host: Host,
    /// Dropped in this order.
    database: Option<(TestDatabase, Postgres)>,
    /// The first process of PostgreSQL.
    database_process: Option<u32>,
    redis: Option<Redis>,
    /// The rounds of each number of clients.
    seen: Vec<(usize, Figures)>,
}

/// What one round measured. Processor time is in microseconds per turn, the store's time in milliseconds.
#[derive(Clone, Copy)]
struct Figures {
    per_second: f64,
    turn_p50: f64,
    store_p50: f64,
    store_p99: f64,
    host: f64,
    database: Option<f64>,
    redis: Option<f64>,
}

/// The processor time that the processes have used, in seconds.
#[derive(Clone, Copy)]
struct Used {
    host: f64,
    database: Option<f64>,
    redis: Option<f64>,
}

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    let (rounds, millis) = (bench.size(5, 1), bench.size(3000, 300));
    let mut candidates = vec![
        Candidate::start(bench, "SQLite", false, false).await?,
        Candidate::start(bench, "PostgreSQL", true, false).await?,
        Candidate::start(bench, "PostgreSQL and Redis", true, true).await?,
    ];
    for candidate in &candidates {
        // Opens connections, and prepares statements on them.
        for clients in CLIENTS {
            candidate.round(clients, millis).await?;
        }
    }
    for _ in 0..rounds {
        for clients in CLIENTS {
            for candidate in &mut candidates {
                let figures = candidate.round(clients, millis).await?;
                candidate.seen.push((clients, figures));
            }
        }
    }
    let mut table = Table::new(
        "State in SQLite, PostgreSQL and Redis",
        &format!(
            "One host for each, with servers of its own on the same cores and disk; every commit is on disk. Closed-loop \
             clients, 40 tokens at once, streamed, all features on, each turn in a new conversation of the next of {USERS} users. \
             The time in the store is that of a turn's admission and of its end, until both are on disk; on SQLite the \
             turn's plugins run beside the first. {rounds} alternating rounds of {} s for each number of clients; no failures.",
            millis as f64 / 1000.0
        ),
        &[
            "state",
            "clients",
            "turns/s",
            "whole turn p50, ms",
            "in the store p50, ms",
            "in the store p99, ms",
            "µs of the host per turn",
            "µs of PostgreSQL per turn",
            "µs of Redis per turn",
        ],
    );
    for Candidate { name, host, seen, database, redis, .. } in candidates {
        for clients in CLIENTS {
            let of = |figure: fn(&Figures) -> Option<f64>, digits| {
                let rounds = seen.iter().filter(|(of, _)| *of == clients);
                let shown = show(rounds.filter_map(|(_, figures)| figure(figures)), digits);
                if shown.is_empty() { "–".to_owned() } else { shown }
            };
            table.row([
                name.to_owned(),
                clients.to_string(),
                of(|figures| Some(figures.per_second), 0),
                of(|figures| Some(figures.turn_p50), 2),
                of(|figures| Some(figures.store_p50), 2),
                of(|figures| Some(figures.store_p99), 2),
                of(|figures| Some(figures.host), 0),
                of(|figures| figures.database, 0),
                of(|figures| figures.redis, 0),
            ]);
        }
        host.stop().await?;
        // The host has left, and its servers go.
        drop((database, redis));
    }
    Ok(vec![table])
}

impl Candidate {
    async fn start(
        bench: &Bench,
        name: &'static str,
        with_database: bool,
        with_redis: bool,
    ) -> anyhow::Result<Self> {
        let mut start = bench.start(PACE, Mode::ON);
        start.extra = LOG_STORE_TIME.to_owned();
        let database = match with_database {
            true => {
                let server = Postgres::start_durable(&bench.out);
                let database = server.migrated_database().await;
                start.environment.push(("DATABASE_URL", database.url.clone()));
                Some((database, server))
            }
            false => None,
        };
        let redis = with_redis.then(Redis::start);
        start.environment.extend(redis.as_ref().map(|redis| ("REDIS_URL", redis.url())));
        let database_process = database.as_ref().map(|(_, server)| server.process());
        Ok(Self { name, host: start.host().await?, database, database_process, redis, seen: Vec::new() })
    }

    /// Makes turns with so many clients.
    async fn round(&self, clients: usize, millis: u64) -> anyhow::Result<Figures> {
        let options = Options {
            clients,
            millis,
            users: USERS,
            bearer: self.host.key.clone(),
            ..self.host.clients(PACE, true)
        };
        let log = StoreTimes::from_now(&self.host.folder)?;
        let before = self.used()?;
        let report = load(&options).await?;
        let after = self.used()?;
        let store = log.of_turns(report.turns).await?;
        let per_turn = |after: f64, before: f64| (after - before) * 1e6 / report.turns as f64;
        let of_server = |after: Option<f64>, before: Option<f64>| {
            after.zip(before).map(|(after, before)| per_turn(after, before))
        };
        let milliseconds = |quantile| store.value_at_quantile(quantile) as f64 / 1000.0;
        Ok(Figures {
            per_second: report.per_second(),
            turn_p50: report.total.p50 as f64 / 1000.0,
            store_p50: milliseconds(0.5),
            store_p99: milliseconds(0.99),
            host: per_turn(after.host, before.host),
            database: of_server(after.database, before.database),
            redis: of_server(after.redis, before.redis),
        })
    }

    fn used(&self) -> anyhow::Result<Used> {
        let database = self.database_process.map(process::family_cpu_seconds);
        let redis = self.redis.as_ref().map(|server| process::cpu_seconds(server.process()));
        Ok(Used {
            host: process::cpu_seconds(self.host.pid)?,
            database: database.transpose()?,
            redis: redis.transpose()?,
        })
    }
}

/// The times in the store that a host writes to its log from one moment on.
struct StoreTimes {
    log: PathBuf,
    from: u64,
}

impl StoreTimes {
    fn from_now(folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(DATA).join(LOG);
        let from = std::fs::metadata(&log)?.len();
        Ok(Self { log, from })
    }

    /// Waits until the log has the times of so many turns. They are in microseconds.
    async fn of_turns(&self, turns: u64) -> anyhow::Result<Histogram<u64>> {
        let read = async {
            loop {
                let mut text = Vec::new();
                let mut log = File::open(&self.log)?;
                log.seek(SeekFrom::Start(self.from))?;
                log.read_to_end(&mut text)?;
                let times = store_times(&String::from_utf8_lossy(&text))?;
                if times.len() >= turns {
                    return anyhow::Ok(times);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let times = tokio::time::timeout(LOG_TIMEOUT, read).await;
        let times = times.context("the log does not say of every turn how long it was in the store")??;
        ensure!(times.len() == turns, "the log has {} turns, and the clients made {turns}", times.len());
        Ok(times)
    }
}

/// The times in the complete lines of a log, in microseconds.
fn store_times(log: &str) -> anyhow::Result<Histogram<u64>> {
    let mut times = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.lines() {
        let Some((_, rest)) = line.split_once(STORE_TIME) else { continue };
        let milliseconds: f64 = rest.split_whitespace().next().unwrap_or_default().parse()?;
        let time = Duration::try_from_secs_f64(milliseconds / 1000.0)?;
        times.saturating_record(u64::try_from(time.as_micros())?.max(1));
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_those_of_complete_lines() {
        let log = "INFO turn ended total_ms=9.5\n\
                   DEBUG masque_turns::store: the store admitted and ended the turn store_ms=1.25\n\
                   DEBUG masque_turns::store: store_ms=2 more=1\n\
                   DEBUG masque_turns::store: store_ms=7";
        let times = store_times(log).unwrap();
        assert_eq!((times.len(), times.min(), times.value_at_quantile(1.0)), (2, 1250, 2000));
        assert!(store_times("store_ms=soon\n").is_err());
    }
}
