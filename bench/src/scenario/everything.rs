//! What safety costs: everything on, each alone, and everything off.

use std::time::Duration;

use super::Bench;
use crate::load::Options;
use crate::mock::Pace;
use crate::process;
use crate::report::Table;
use crate::setup::{Mode, load};
use crate::stats::Rounds;

const PACE: Pace = Pace { tokens: 40, interval: Duration::ZERO };

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    let (rounds, millis) = (bench.size(7, 1), bench.size(2000, 300));
    let modes = [
        ("everything off", Mode::OFF),
        ("limits and tokens", Mode { tokens: true, limits: true, ..Mode::OFF }),
        ("limits", Mode { limits: true, ..Mode::OFF }),
        ("idempotency", Mode { idempotency: true, ..Mode::OFF }),
        ("everything on", Mode::ON),
    ];
    let mut hosts = Vec::new();
    for (name, mode) in modes {
        let host = bench.start(PACE, mode).host().await?;
        load(&Options { clients: 8, millis, ..host.clients(PACE, true) }).await?;
        hosts.push((name, host, Vec::new()));
    }
    for _ in 0..rounds {
        for (_, host, figures) in &mut hosts {
            let before = process::cpu(host.pid)?;
            let outcome = load(&Options { clients: 8, millis, ..host.clients(PACE, true) }).await?;
            let spent = process::cpu(host.pid)? - before;
            figures.push((spent * 1e6 / outcome.turns as f64, outcome.total.p50 as f64 / 1000.0));
        }
    }
    let mut table = Table::new(
        "Everything on",
        &format!(
            "40 tokens at once, streamed, 8 clients; a host for each line, {rounds} rounds in turn. Commits are durable in \
             all of them: there is no other way."
        ),
        &["", "µs of the host a turn", "whole turn p50, ms"],
    );
    for (name, host, figures) in hosts {
        let cost = Rounds::of(figures.iter().map(|(cost, _)| *cost)).map(|rounds| rounds.show(0));
        let whole = Rounds::of(figures.iter().map(|(_, whole)| *whole)).map(|rounds| rounds.show(2));
        table.row([name.to_owned(), cost.unwrap_or_default(), whole.unwrap_or_default()]);
        host.stop().await?;
    }
    Ok(vec![table])
}
