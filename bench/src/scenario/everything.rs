//! What safety costs: everything on, each alone, and everything off.

use std::path::Path;
use std::time::Duration;

use super::Bench;
use crate::load::Options;
use crate::mock::Pace;
use crate::process;
use crate::report::Table;
use crate::setup::{Mode, Start, load};
use crate::stats::show;

const PACE: Pace = Pace { tokens: 40, interval: Duration::ZERO };

/// A memory that looks back on every exchange and writes what it saw, as this repository's tests build it.
const OBSERVER: &str = "target/fixtures/counts-exchanges.wasm";
/// A file system without a disk below, where Linux has one.
const NO_DISK: &str = "/dev/shm";

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    let (rounds, millis) = (bench.size(7, 1), bench.size(2000, 300));
    let observer = std::path::absolute(OBSERVER)?;
    let observed = format!(
        "[companions.elara]\npersona = \"elara\"\nmemory = \"observer\"\nmodels = [\"mock\"]\n\
         [plugins.observer]\nsource = \"{}\"\ngrants = {{ state = true }}\n",
        observer.display()
    );
    let mut starts = vec![("everything off", bench.start(PACE, Mode::OFF))];
    if Path::new(NO_DISK).is_dir() {
        let out = Path::new(NO_DISK);
        starts.push((
            "everything off, and no disk below the store",
            Start { out, ..bench.start(PACE, Mode::OFF) },
        ));
    }
    let with = |mode| bench.start(PACE, mode);
    starts.extend([
        ("limits", with(Mode { limits: true, ..Mode::OFF })),
        ("limits and tokens", with(Mode { tokens: true, limits: true, ..Mode::OFF })),
        ("idempotency", with(Mode { idempotency: true, ..Mode::OFF })),
        ("background work after each turn", Start { elara: observed.clone(), ..with(Mode::OFF) }),
        ("everything on", with(Mode::ON)),
        ("everything on, background work too", Start { elara: observed, ..with(Mode::ON) }),
    ]);
    let mut hosts = Vec::new();
    for (name, start) in starts {
        let host = start.host().await?;
        load(&Options { clients: 8, millis, ..host.clients(PACE, true) }).await?;
        process::quiet(host.pid).await?;
        hosts.push((name, host, Vec::new(), Vec::new()));
    }
    for _ in 0..rounds {
        for (_, host, costs, waits) in &mut hosts {
            let before = process::cpu(host.pid)?;
            let outcome = load(&Options { clients: 8, millis, ..host.clients(PACE, true) }).await?;
            // What a turn leaves to be done is its own, and not to be in the way of the next host's.
            process::quiet(host.pid).await?;
            costs.push((process::cpu(host.pid)? - before) * 1e6 / outcome.turns as f64);
            waits.push(outcome.total.p50 as f64 / 1000.0);
        }
    }
    let mut table = Table::new(
        "Everything on",
        &format!(
            "40 tokens at once, streamed, 8 clients; a host for each line, {rounds} rounds in turn. Every commit is durable: \
             without a disk below (`{NO_DISK}`) shows what that takes. A host that has users limits them. Background work is \
             a memory that writes three values after each turn, in a call of its own, and is waited for."
        ),
        &["", "µs of the host a turn", "more than off", "whole turn p50, ms"],
    );
    let off: Vec<f64> = hosts.first().map(|(_, _, costs, _)| costs.clone()).unwrap_or_default();
    for (name, host, costs, waits) in hosts {
        let more = costs.iter().zip(&off).map(|(cost, off)| cost - off);
        table.row([name.to_owned(), show(costs.clone(), 0), show(more, 0), show(waits, 2)]);
        host.stop().await?;
    }
    Ok(vec![table])
}
