//! Runs clients in a process of their own and prints a report as JSON. Each client has one connection and sends one request
//! after the other.

mod client;
mod options;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use client::{Client, TurnTiming};

pub(crate) use options::{Options, Protocol};

/// A gap between two deltas that is longer than this counts as a stall.
pub(crate) const STALL: Duration = Duration::from_millis(100);

/// The measurements of all clients. Times are in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LoadReport {
    pub(crate) turns: u64,
    pub(crate) failures: u64,
    /// The error of the first failed turn.
    pub(crate) failure: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) first: Quantiles,
    pub(crate) total: Quantiles,
    pub(crate) gap: Quantiles,
    pub(crate) stalls: u64,
    /// How many tokens came together, on average. There is one gap between two of these arrivals, not between two tokens.
    pub(crate) tokens_per_arrival: f64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl LoadReport {
    pub(crate) fn per_second(&self) -> f64 {
        self.turns as f64 / self.seconds
    }
}

/// The measurements of a client so far.
struct Tally {
    first: Histogram<u64>,
    total: Histogram<u64>,
    gap: Histogram<u64>,
    stalls: u64,
    turns: u64,
    failures: u64,
    failure: Option<String>,
}

impl Tally {
    fn new() -> anyhow::Result<Self> {
        // From 1 µs to a minute, with three significant digits.
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3);
        Ok(Self {
            first: histogram()?,
            total: histogram()?,
            gap: histogram()?,
            stalls: 0,
            turns: 0,
            failures: 0,
            failure: None,
        })
    }

    fn record(&mut self, turn: anyhow::Result<TurnTiming>) {
        match turn {
            Ok(timing) => {
                self.turns += 1;
                self.first.saturating_record(micros(timing.first));
                self.total.saturating_record(micros(timing.total));
                for gap in timing.gaps {
                    self.gap.saturating_record(micros(gap));
                    self.stalls += u64::from(gap > STALL);
                }
            }
            Err(error) => {
                self.failures += 1;
                self.failure.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }

    fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.first.add(&other.first)?;
        self.total.add(&other.total)?;
        self.gap.add(&other.gap)?;
        self.stalls += other.stalls;
        self.turns += other.turns;
        self.failures += other.failures;
        self.failure = self.failure.take().or(other.failure);
        Ok(())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

fn quantiles(histogram: &Histogram<u64>) -> Quantiles {
    Quantiles {
        p50: histogram.value_at_quantile(0.5),
        p99: histogram.value_at_quantile(0.99),
        max: histogram.max(),
    }
}

/// Runs the clients and prints their [`LoadReport`].
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let options = Arc::new(options);
    let begun = Instant::now();
    let end = begun.checked_add(Duration::from_millis(options.millis.min(86_400_000)));
    let number = Arc::new(AtomicU64::new(0));
    let clients = (0..options.clients).map(|index| {
        let (options, number) = (Arc::clone(&options), Arc::clone(&number));
        tokio::spawn(async move {
            let mut tally = Tally::new()?;
            let fraction = index as f64 / options.clients as f64;
            tokio::time::sleep(Duration::from_millis(options.ramp).mul_f64(fraction)).await;
            let mut client = Client::new(&options);
            for _ in 0..options.turns {
                if end.is_some_and(|end| Instant::now() >= end) {
                    break;
                }
                let number = number.fetch_add(1, Ordering::Relaxed);
                tally.record(client.turn(number).await);
            }
            anyhow::Ok(tally)
        })
    });
    let mut all = Tally::new()?;
    for client in clients.collect::<Vec<_>>() {
        all.add(client.await??)?;
    }
    let (tokens, arrivals) = (all.turns * options.tokens as u64, all.turns + all.gap.len());
    let report = LoadReport {
        turns: all.turns,
        failures: all.failures,
        failure: all.failure,
        seconds: begun.elapsed().as_secs_f64(),
        first: quantiles(&all.first),
        total: quantiles(&all.total),
        gap: quantiles(&all.gap),
        stalls: all.stalls,
        tokens_per_arrival: tokens as f64 / arrivals.max(1) as f64,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
