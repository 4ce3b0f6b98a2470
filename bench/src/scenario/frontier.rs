//! Measures the throughput by latency, and the processor time of a turn.

use super::bench::Bench;
use crate::load::Options;
use crate::mock::Pace;
use crate::plot::{Axis, Line, Plot};
use crate::process;
use crate::report::Table;
use crate::setup::{Host, Mode, direct, load};
use crate::stats::{Rounds, show};

const PACE: Pace = Pace::at_once(40);
const CLIENTS: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Upper bounds of p99, in milliseconds.
const BOUNDS: [u64; 4] = [5, 10, 50, 100];

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    let (rounds, millis) = (bench.size(5, 1), bench.size(3000, 300));
    let host = bench.start(PACE, Mode::ON).host().await?;
    load(&Options { clients: 8, millis, ..host.clients(PACE, true) }).await?;

    let mut runs = Vec::new();
    for _ in 0..rounds {
        for clients in CLIENTS {
            let report = load(&Options { clients, millis, ..host.clients(PACE, true) }).await?;
            runs.push((clients, report.per_second(), report.total.p99));
        }
    }
    let mut frontier = Table::new(
        "Throughput and latency",
        &format!(
            "Closed-loop clients, 40 tokens at once, streamed, all features on; model, host and clients share the cores. \
             {rounds} rounds of {} s for each number of clients; no failures.",
            millis as f64 / 1000.0
        ),
        &["clients", "turns/s", "whole turn p99, ms"],
    );
    let mut line = Line { name: "all features on".to_owned(), points: Vec::new() };
    for clients in CLIENTS {
        let of = |figure: fn(&(usize, f64, u64)) -> f64| {
            let values = runs.iter().filter(|run| run.0 == clients).map(figure);
            Rounds::of(values)
        };
        let (rate, p99) = (of(|run| run.1), of(|run| run.2 as f64 / 1000.0));
        let (Some(rate), Some(p99)) = (rate, p99) else { continue };
        line.points.push((rate.median, p99.median));
        frontier.row([clients.to_string(), rate.show(0), p99.show(1)]);
    }
    frontier.plots.push(Plot {
        name: "frontier".to_owned(),
        title: "Throughput and p99 latency".to_owned(),
        x: Axis::linear("turns per second, for 1 to 128 clients"),
        y: Axis::logarithmic("p99 of a whole turn, ms"),
        lines: vec![line],
    });
    let mut bounded = Table::new(
        "Throughput under a latency bound",
        "The highest median throughput of the table above whose median p99 is below the bound.",
        &["p99 under", "turns/s"],
    );
    for bound in BOUNDS {
        let best = CLIENTS.iter().filter_map(|clients| {
            let of = |figure: fn(&(usize, f64, u64)) -> f64| {
                Rounds::of(runs.iter().filter(|run| run.0 == *clients).map(figure))
            };
            let (rate, p99) = (of(|run| run.1)?, of(|run| run.2 as f64 / 1000.0)?);
            (p99.median < bound as f64).then_some(rate.median)
        });
        let best = best.fold(f64::NAN, f64::max);
        bounded
            .row([format!("{bound} ms"), if best.is_nan() { "–".to_owned() } else { format!("{best:.0}") }]);
    }
    let cost = cost(bench, &host, rounds, millis).await?;
    host.stop().await?;
    Ok(vec![frontier, bounded, cost])
}

/// Measures processor time, which other load on the machine changes the least.
async fn cost(bench: &Bench, host: &Host, rounds: usize, millis: u64) -> anyhow::Result<Table> {
    let clients = 8;
    let mut streamed = Vec::new();
    let mut plain = Vec::new();
    let mut direct_rates = Vec::new();
    for _ in 0..rounds {
        for (stream, figures) in [(true, &mut streamed), (false, &mut plain)] {
            let before = process::cpu_seconds(host.pid)?;
            let report = load(&Options { clients, millis, ..host.clients(PACE, stream) }).await?;
            let spent = process::cpu_seconds(host.pid)? - before;
            figures.push((spent * 1e6 / report.turns as f64, report.per_second()));
        }
        let report = load(&Options { clients, millis, ..direct(&bench.mock.address, PACE, true) }).await?;
        direct_rates.push(report.per_second());
    }
    let mut table = Table::new(
        "CPU time per turn",
        &format!(
            "User and kernel time of the host's process, at {clients} clients; {rounds} alternating rounds."
        ),
        &["40 tokens", "µs of the host per turn", "turns/s"],
    );
    for (name, figures) in [("streamed", streamed), ("plain", plain)] {
        let cost = figures.iter().map(|(cost, _)| *cost);
        let rate = figures.iter().map(|(_, rate)| *rate);
        table.row([name.to_owned(), show(cost, 0), show(rate, 0)]);
    }
    table.row(["model directly".to_owned(), "–".to_owned(), show(direct_rates, 0)]);
    Ok(table)
}
