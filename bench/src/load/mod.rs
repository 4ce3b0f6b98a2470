//! Clients, in a process of their own: so many at once, each with one connection, one request after the other. Prints one
//! object of what they saw.

mod client;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use client::{Client, Seen};

/// A delta that comes later than this after the one before, where they are paced faster, is a stall.
pub(crate) const STALL: Duration = Duration::from_millis(100);

#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// `HOST:PORT`
    #[arg(long)]
    pub(crate) to: String,
    #[arg(long)]
    pub(crate) protocol: Protocol,
    #[arg(long)]
    pub(crate) bearer: Option<String>,
    /// The model to name, where the protocol has one.
    #[arg(long, default_value = "")]
    pub(crate) model: String,
    /// Tokens that each reply must have.
    #[arg(long)]
    pub(crate) tokens: usize,
    #[arg(long)]
    pub(crate) stream: bool,
    /// An `Idempotency-Key` with each request.
    #[arg(long)]
    pub(crate) keyed: bool,
    #[arg(long, default_value_t = 1)]
    pub(crate) clients: usize,
    /// Ends after so many requests of each client,
    #[arg(long, default_value_t = usize::MAX)]
    pub(crate) turns: usize,
    /// or after so many milliseconds; what is under way then is finished and counted.
    #[arg(long, default_value_t = u64::MAX)]
    pub(crate) millis: u64,
    /// Clients begin one after the other over so many milliseconds.
    #[arg(long, default_value_t = 0)]
    pub(crate) ramp: u64,
    /// Who is talked to, where the protocol has companions.
    #[arg(long, default_value = "elara")]
    pub(crate) companion: String,
    /// One turn after the other on behalf of so many users, where that is not 0.
    #[arg(long, default_value_t = 0)]
    pub(crate) users: u64,
}

impl Protocol {
    /// As it is named on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Masque => "masque",
            Self::Hello => "hello",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// Chat completions: a model server, or a proxy before one.
    Openai,
    /// `POST /chat`
    Masque,
    /// `GET /`, answered with `hello`: no turn, but what serving costs at least.
    Hello,
}

/// What all clients saw. Times are in microseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) turns: u64,
    pub(crate) failures: u64,
    /// The first of them.
    pub(crate) failure: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) first: Quantiles,
    pub(crate) total: Quantiles,
    pub(crate) gap: Quantiles,
    pub(crate) stalls: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.turns as f64 / self.seconds
    }
}

/// What is counted on the way.
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
        // Three digits, up to a minute.
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

    fn note(&mut self, seen: anyhow::Result<Seen>) {
        match seen {
            Ok(seen) => {
                self.turns += 1;
                self.first.saturating_record(micros(seen.first));
                self.total.saturating_record(micros(seen.total));
                for gap in seen.gaps {
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

/// Runs the clients and prints their [`Outcome`].
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let options = Arc::new(options);
    let begun = Instant::now();
    let end = begun.checked_add(Duration::from_millis(options.millis.min(86_400_000)));
    let number = Arc::new(AtomicU64::new(0));
    let clients = (0..options.clients).map(|index| {
        let (options, number) = (Arc::clone(&options), Arc::clone(&number));
        tokio::spawn(async move {
            let mut tally = Tally::new()?;
            let share = index as f64 / options.clients as f64;
            tokio::time::sleep(Duration::from_millis(options.ramp).mul_f64(share)).await;
            let mut client = Client::new(&options);
            for _ in 0..options.turns {
                if end.is_some_and(|end| Instant::now() >= end) {
                    break;
                }
                let number = number.fetch_add(1, Ordering::Relaxed);
                tally.note(client.turn(number).await);
            }
            anyhow::Ok(tally)
        })
    });
    let mut all = Tally::new()?;
    for client in clients.collect::<Vec<_>>() {
        all.add(client.await??)?;
    }
    let outcome = Outcome {
        turns: all.turns,
        failures: all.failures,
        failure: all.failure,
        seconds: begun.elapsed().as_secs_f64(),
        first: quantiles(&all.first),
        total: quantiles(&all.total),
        gap: quantiles(&all.gap),
        stalls: all.stalls,
    };
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}
