//! Turns beside plugins that never stop computing.

use std::time::Duration;

use super::Bench;
use crate::load::{Options, Outcome};
use crate::mock::Pace;
use crate::report::Table;
use crate::setup::{Mode, load, say};
use crate::stats::show;

const PACE: Pace = Pace { tokens: 40, interval: Duration::ZERO };
/// As this repository's tests build it: a persona that spins in its call.
const SPINNER: &str = "target/fixtures/spins-in-a-call.wasm";

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    let (rounds, millis) = (bench.size(5, 1), bench.size(3000, 500));
    let cores = std::thread::available_parallelism()?.get();
    let spinner = std::path::absolute(SPINNER)?;
    let mut start = bench.start(PACE, Mode::ON);
    start.more = format!(
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
        for (spinning, outcomes) in &mut crowds {
            let spinners: Vec<_> = (0..*spinning)
                .map(|_| {
                    let (address, bearer) = (host.address.clone(), host.bearer.clone());
                    tokio::spawn(async move {
                        loop {
                            // Each fails when its time is spent: that is what it is for.
                            let _spent = say(&address, bearer.as_deref(), "spinner").await;
                        }
                    })
                })
                .collect();
            let outcome = load(&Options { clients: 4, millis, ..host.clients(PACE, true) }).await;
            spinners.iter().for_each(tokio::task::JoinHandle::abort);
            outcomes.push(outcome?);
            // What still spins has a second left at most; the next round begins without it.
            tokio::time::sleep(Duration::from_millis(bench.size(1500, 0))).await;
        }
    }
    for (spinning, outcomes) in crowds {
        let of = |figure: fn(&Outcome) -> f64, digits| show(outcomes.iter().map(figure), digits);
        table.row([
            spinning.to_string(),
            of(Outcome::per_second, 0),
            of(|outcome| outcome.total.p50 as f64 / 1000.0, 1),
            of(|outcome| outcome.total.p99 as f64 / 1000.0, 1),
        ]);
    }
    host.stop().await?;
    Ok(vec![table])
}
