//! Measures paced streams: the time that the host adds between two tokens, and the memory of an open stream.

use std::time::Duration;

use anyhow::Context;

use super::bench::Bench;
use crate::load::{LoadReport, Options};
use crate::mock::Pace;
use crate::plot::{Axis, Line, Plot};
use crate::process;
use crate::report::Table;
use crate::setup::{Host, Mode, direct, load};
use crate::stats::{Rounds, show};

const FAST: Pace = Pace::paced(64, Duration::from_millis(20));
const SLOW: Pace = Pace::paced(20, Duration::from_secs(1));

/// Open streams of each model plugin, of which there are three: a plugin has 1024 connections to its upstream at most, and the plan
/// for 65,530 memory mappings (`vm.max_map_count` as Linux ships it) leaves one plugin three quarters of 3,845 slots.
const EACH: [usize; 2] = [333, 1000];
/// The companions beside the usual one.
const OTHERS: [&str; 2] = ["second", "third"];

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    Ok(vec![paced(bench).await?, memory(bench).await?])
}

/// Uses up to half the number of streams at which the model alone begins to stall with the same clients.
async fn paced(bench: &Bench) -> anyhow::Result<Table> {
    let counts: &[usize] = bench.size(&[1, 50, 200, 500, 1000, 1500, 2000, 3000, 4000], &[1, 20]);
    let mut limit = 0;
    for &clients in counts {
        let report = load(&several(direct(&bench.mock.address, FAST, true), clients, 1)).await?;
        if report.stalls > 0 {
            break;
        }
        limit = clients;
    }
    let mut counts: Vec<_> = counts.iter().copied().filter(|count| *count < limit.div_ceil(2)).collect();
    counts.push(limit.div_ceil(2));

    let (rounds, turns) = (bench.size(3, 1), bench.size(3, 1));
    let mut ways = vec![Way { name: "model directly", host: None }];
    let older = bench.before.as_deref().map(|bin| ("through an older host", bin));
    for (name, bin) in older.into_iter().chain([("through the host", &*bench.bin)]) {
        let mut start = bench.start(FAST, Mode::ON);
        start.bin = bin;
        ways.push(Way { name, host: Some(start.host().await?) });
    }
    let mut table = Table::new(
        "Paced streams",
        &format!(
            "64 tokens, 20 ms apart; up to half of the {limit} open streams that the model serves directly without a stall. \
             The starts are spread over the duration of one stream, and each client has {turns} streams in a row; {rounds} \
             rounds, alternating between the model directly and through the host. A gap is the time between two arrivals at the \
             client. A connection that is behind passes on together what has arrived, so it has longer gaps, but fewer. A stall \
             is a gap of more than 100 ms."
        ),
        &[
            "open",
            "",
            "first token p50, ms",
            "first token p99, ms",
            "whole stream p50, ms",
            "tokens per arrival",
            "gap p50, ms",
            "gap p99, ms",
            "longest gap, ms",
            "stalls",
            "CPU of the host per token, µs",
        ],
    );
    let mut lines: Vec<_> =
        ways.iter().map(|way| Line { name: way.name.to_owned(), points: Vec::new() }).collect();
    for clients in counts {
        let mut seen: Vec<Vec<Seen>> = ways.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (way, seen) in ways.iter().zip(&mut seen) {
                seen.push(way.round(bench, clients, turns).await?);
            }
        }
        for ((way, rounds), line) in ways.iter().zip(seen).zip(&mut lines) {
            let of = |figure: fn(&LoadReport) -> u64| {
                rounds.iter().map(move |round| figure(&round.report) as f64 / 1000.0)
            };
            let gap = Rounds::of(of(|report| report.gap.p99)).context("no rounds")?;
            line.points.push((clients as f64, gap.median));
            let cpu = rounds.iter().filter_map(|round| round.cpu);
            table.row([
                clients.to_string(),
                way.name.to_owned(),
                show(of(|report| report.first.p50), 1),
                show(of(|report| report.first.p99), 1),
                show(of(|report| report.total.p50), 0),
                show(rounds.iter().map(|round| round.report.tokens_per_arrival), 2),
                show(of(|report| report.gap.p50), 1),
                gap.show(1),
                show(of(|report| report.gap.max), 1),
                rounds.iter().map(|round| round.report.stalls).sum::<u64>().to_string(),
                if way.host.is_some() { show(cpu, 0) } else { "–".to_owned() },
            ]);
        }
    }
    for way in ways {
        if let Some(host) = way.host {
            host.stop().await?;
        }
    }
    table.plots.push(Plot {
        name: "streams".to_owned(),
        title: "Gap between tokens that the model sends 20 ms apart".to_owned(),
        x: Axis::logarithmic("open streams"),
        y: Axis::linear("p99 of the gap, ms"),
        lines,
    });
    Ok(table)
}

/// How tokens reach the clients.
struct Way {
    name: &'static str,
    /// `None`: from the model.
    host: Option<Host>,
}

/// What one round measured.
struct Seen {
    report: LoadReport,
    /// The processor time of the host for one token, in microseconds.
    cpu: Option<f64>,
}

impl Way {
    async fn round(&self, bench: &Bench, clients: usize, turns: usize) -> anyhow::Result<Seen> {
        let Some(host) = &self.host else {
            let options = several(direct(&bench.mock.address, FAST, true), clients, turns);
            return Ok(Seen { report: load(&options).await?, cpu: None });
        };
        let before = process::cpu_seconds(host.pid)?;
        let report = load(&several(host.clients(FAST, true), clients, turns)).await?;
        let tokens = report.turns as f64 * FAST.tokens as f64;
        let cpu = (process::cpu_seconds(host.pid)? - before) * 1e6 / tokens;
        Ok(Seen { report, cpu: Some(cpu) })
    }
}

fn several(options: Options, clients: usize, turns: usize) -> Options {
    let ramp = FAST.interval().as_millis() as u64 * FAST.tokens as u64;
    Options { clients, turns, ramp, ..options }
}

/// Measures the memory while slow streams are open, and after their end.
async fn memory(bench: &Bench) -> anyhow::Result<Table> {
    let mut start = bench.start(SLOW, Mode::ON);
    let (address, model) = (&bench.mock.address, SLOW.name());
    for companion in OTHERS {
        start.extra.push_str(&format!(
            "[companions.{companion}]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"{companion}-mock\"]\n\
             [plugins.{companion}-mock]\nsource = \"builtin:openai\"\n\
             settings = {{ base_url = \"http://{address}/v1\", model = \"{model}\" }}\n\
             grants = {{ http = [\"http://{address}\"] }}\n"
        ));
    }
    let host = start.host().await?;
    let mut table = Table::new(
        "Memory per open stream",
        "Streams of one token per second, all open at once, with three models, each with clients in a process of their own. \
         Proportional set size of the host.",
        &["open", "host, MB", "per stream, KB", "maximum delay of a token, ms"],
    );
    let mb = |bytes: f64| format!("{:.0}", bytes / 1e6);
    let idle = process::memory_bytes(host.pid)?;
    table.row(["0, after start".to_owned(), mb(idle), "–".to_owned(), "–".to_owned()]);
    let mut line = Line { name: "the host".to_owned(), points: vec![(0.0, idle / 1e6)] };
    let counts: &[usize] = bench.size(&EACH, &[20]);
    for &clients in counts {
        let running = ["elara", OTHERS[0], OTHERS[1]].map(|companion| {
            let companion = companion.to_owned();
            let options = Options { clients, turns: 1, ramp: 6000, companion, ..host.clients(SLOW, true) };
            tokio::spawn(async move { load(&options).await })
        });
        // After 13 s all streams have begun (the ramp takes 6 s) and none has ended (each takes 20 s).
        tokio::time::sleep(Duration::from_secs(13)).await;
        let (open, streams) = (process::memory_bytes(host.pid)?, running.len() * clients);
        let mut late = 0;
        for report in running {
            late = late.max(report.await??.gap.max.saturating_sub(1_000_000) / 1000);
        }
        line.points.push((streams as f64, open / 1e6));
        table.row([
            streams.to_string(),
            mb(open),
            format!("{:.0}", (open - idle) / 1e3 / streams as f64),
            late.to_string(),
        ]);
    }
    // The host keeps a turn for a second after its end, and its event log for a minute.
    tokio::time::sleep(Duration::from_secs(bench.size(75, 1))).await;
    let after = process::memory_bytes(host.pid)?;
    table.row(["0, after the streams".to_owned(), mb(after), "–".to_owned(), "–".to_owned()]);
    host.stop().await?;
    table.plots.push(Plot {
        name: "memory".to_owned(),
        title: "Memory of the host by open streams".to_owned(),
        x: Axis::linear("open streams"),
        y: Axis::linear("MB"),
        lines: vec![line],
    });
    Ok(table)
}
