//! Measures turns beside plugins that compute without end.

use std::time::Duration;

use super::bench::Bench;
use crate::load::{LoadReport, Options};
use crate::mock::Pace;
use crate::report::Table;
use crate::setup::{Mode, load, make_turn};
use crate::stats::show;

const PACE: Pace = Pace::at_once(40);
/// A fixture of the tests: a persona that computes without end.
const SPINNER: &str = "target/fixtures/spins-in-a-call.wasm";

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    let (rounds, millis) = (bench.size(5, 1), bench.size(3000, 500));
    let cores = std::thread::available_parallelism()?.get();
    let spinner = std::path::absolute(SPINNER)?;
    let mut start = bench.start(PACE, Mode::ON);
    start.extra = format!(
        "[companions.spinner]\npersona = \"spinner\"\nmemory = \"window\"\nmodels = [\"mock\"]\n\
         [plugins.spinner]\nsource = \"{}\"\nlimits = {{ cpu = \"1s\", wall = \"10s\" }}\n",
        spinner.display()
    );
    let host = start.host().await?;
    let mut table = Table::new(
        "Noisy neighbors",
        &format!(
            "4 clients, 40 tokens at once, streamed, on {cores} cores. At the same time, turns run whose persona spins until \
             its CPU limit of 1 s, and start again at once. {rounds} alternating rounds."
        ),
        &["spinning turns", "turns/s of the others", "whole turn p50, ms", "whole turn p99, ms"],
    );
    load(&Options { clients: 4, millis, ..host.clients(PACE, true) }).await?;
    let mut crowds = [0, cores, 3 * cores].map(|spinning| (spinning, Vec::new()));
    for _ in 0..rounds {
        for (spinning, reports) in &mut crowds {
            let spinners: Vec<_> = (0..*spinning)
                .map(|_| {
                    let (address, bearer) = (host.address.clone(), host.bearer.clone());
                    tokio::spawn(async move {
                        loop {
                            // Each turn fails when the limit of its processor time is reached, as intended.
                            let _limit_reached = make_turn(&address, bearer.as_deref(), "spinner").await;
                        }
                    })
                })
                .collect();
            let report = load(&Options { clients: 4, millis, ..host.clients(PACE, true) }).await;
            spinners.iter().for_each(tokio::task::JoinHandle::abort);
            reports.push(report?);
            // Calls that still run end within a second; wait for them before the next round.
            tokio::time::sleep(Duration::from_millis(bench.size(1500, 0))).await;
        }
    }
    for (spinning, reports) in crowds {
        let of = |figure: fn(&LoadReport) -> f64, digits| show(reports.iter().map(figure), digits);
        table.row([
            spinning.to_string(),
            of(LoadReport::per_second, 0),
            of(|report| report.total.p50 as f64 / 1000.0, 1),
            of(|report| report.total.p99 as f64 / 1000.0, 1),
        ]);
    }
    host.stop().await?;
    Ok(vec![table])
}
