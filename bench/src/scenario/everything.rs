//! Measures the cost of features: all on, each alone, and all off.

use super::bench::Bench;
use crate::load::Options;
use crate::mock::Pace;
use crate::process;
use crate::report::Table;
use crate::setup::{Mode, Start, load};
use crate::stats::show;
use std::path::Path;

const PACE: Pace = Pace::at_once(40);

/// A fixture of the tests: a memory that observes every exchange and writes to its state.
const OBSERVER: &str = "target/fixtures/counts-exchanges.wasm";
/// A file system in memory, which Linux has.
const NO_DISK: &str = "/dev/shm";

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    let (rounds, millis) = (bench.size(7, 1), bench.size(2000, 300));
    let observer = std::path::absolute(OBSERVER)?;
    let observed = format!(
        "[companions.elara]\npersona = \"elara\"\nmemory = \"observer\"\nmodels = [\"mock\"]\n\
         [plugins.observer]\nsource = \"{}\"\ngrants = {{ state = true }}\n",
        observer.display()
    );
    let mut starts = vec![("all features off", bench.start(PACE, Mode::OFF))];
    if Path::new(NO_DISK).is_dir() {
        let out = Path::new(NO_DISK);
        starts
            .push(("all features off, store without a disk", Start { out, ..bench.start(PACE, Mode::OFF) }));
    }
    let with = |mode| bench.start(PACE, mode);
    starts.extend([
        ("rate limits", with(Mode { limits: true, ..Mode::OFF })),
        ("rate limits and tokens", with(Mode { tokens: true, limits: true, ..Mode::OFF })),
        ("idempotency", with(Mode { idempotency: true, ..Mode::OFF })),
        ("background job after each turn", Start { elara: observed.clone(), ..with(Mode::OFF) }),
        ("all features on", with(Mode::ON)),
        ("all features on, and a background job", Start { elara: observed, ..with(Mode::ON) }),
    ]);
    let mut hosts = Vec::new();
    for (name, start) in starts {
        let host = start.host().await?;
        load(&Options { clients: 8, millis, ..host.clients(PACE, true) }).await?;
        process::wait_until_idle(host.pid).await?;
        hosts.push((name, host, Vec::new(), Vec::new()));
    }
    for _ in 0..rounds {
        for (_, host, costs, waits) in &mut hosts {
            let before = process::cpu_seconds(host.pid)?;
            let report = load(&Options { clients: 8, millis, ..host.clients(PACE, true) }).await?;
            // Background work belongs to this host's turns and must not disturb the next host.
            process::wait_until_idle(host.pid).await?;
            costs.push((process::cpu_seconds(host.pid)? - before) * 1e6 / report.turns as f64);
            waits.push(report.total.p50 as f64 / 1000.0);
        }
    }
    let mut table = Table::new(
        "Cost of features",
        &format!(
            "40 tokens at once, streamed, 8 clients; one host for each line, {rounds} alternating rounds. Every commit is \
             durable; the line without a disk (store in `{NO_DISK}`) shows the cost of the disk. A host with tokens has rate limits. \
             The background job is a call of a memory that writes three values; each round waits for its jobs to finish."
        ),
        &["", "µs of the host per turn", "difference to off", "whole turn p50, ms"],
    );
    let off: Vec<f64> = hosts.first().map(|(_, _, costs, _)| costs.clone()).unwrap_or_default();
    for (name, host, costs, waits) in hosts {
        let more = costs.iter().zip(&off).map(|(cost, off)| cost - off);
        table.row([name.to_owned(), show(costs.clone(), 0), show(more, 0), show(waits, 2)]);
        host.stop().await?;
    }
    Ok(vec![table])
}
