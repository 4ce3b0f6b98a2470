//! Streams at a model's pace: what the host adds between one word and the next, and what an open stream holds.

use std::time::Duration;

use super::Bench;
use crate::load::Options;
use crate::mock::Pace;
use crate::process;
use crate::report::Table;
use crate::setup::{Mode, direct, load};

const FAST: Pace = Pace { tokens: 64, interval: Duration::from_millis(20) };
const SLOW: Pace = Pace { tokens: 20, interval: Duration::from_secs(1) };

/// What the plan for 65,530 memory mappings (`vm.max_map_count` as Linux ships it) leaves one plugin: three quarters of
/// 3,845 places.
const MOST: usize = 2800;

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    Ok(vec![paced(bench).await?, held(bench).await?])
}

async fn paced(bench: &Bench) -> anyhow::Result<Table> {
    let host = bench.start(FAST, Mode::ON).host().await?;
    let mut table = Table::new(
        "Paced streams",
        "64 tokens 20 ms apart. Open streams begin spread over a stream's time and each client has three in a row; the \
         model straight and through the host in turn, one run of each. A stall is a gap of more than 100 ms.",
        &["open", "", "first token p50 / p99, ms", "gap p50 / p99 / max, ms", "stalls"],
    );
    let counts: &[usize] = bench.size(&[1, 50, 200, 500, 1000], &[1, 20]);
    for &clients in counts {
        let turns = bench.size(3, 1);
        let ramp = 1280;
        for (name, options) in
            [("straight", direct(&bench.mock.address, FAST, true)), ("host", host.clients(FAST, true))]
        {
            let outcome = load(&Options { clients, turns, ramp, ..options }).await?;
            let ms = |micros: u64| format!("{:.1}", micros as f64 / 1000.0);
            table.row([
                clients.to_string(),
                name.to_owned(),
                format!("{} / {}", ms(outcome.first.p50), ms(outcome.first.p99)),
                format!("{} / {} / {}", ms(outcome.gap.p50), ms(outcome.gap.p99), ms(outcome.gap.max)),
                outcome.stalls.to_string(),
            ]);
        }
    }
    host.stop().await?;
    Ok(table)
}

/// Memory while slow streams are open, and after they are gone.
async fn held(bench: &Bench) -> anyhow::Result<Table> {
    let host = bench.start(SLOW, Mode::ON).host().await?;
    let mut table = Table::new(
        "Memory",
        "Streams of one token a second, all open at once; more than 2,883 through one plugin would need a higher \
         `vm.max_map_count`. Proportional set size of the host.",
        &["open", "host, MB", "for each stream, KB", "stalls over the pace"],
    );
    let mb = |bytes: f64| format!("{:.0}", bytes / 1e6);
    let idle = process::memory(host.pid)?;
    table.row(["0, fresh".to_owned(), mb(idle), "–".to_owned(), "–".to_owned()]);
    let counts: &[usize] = bench.size(&[1000, MOST], &[50]);
    for &clients in counts {
        let options = Options { clients, turns: 1, ramp: 6000, ..host.clients(SLOW, true) };
        let running = tokio::spawn(async move { load(&options).await });
        // All have begun after the ramp, and none has ended before its twenty seconds.
        tokio::time::sleep(Duration::from_secs(13)).await;
        let open = process::memory(host.pid)?;
        let outcome = running.await??;
        let late = outcome.gap.max.saturating_sub(1_000_000) / 1000;
        table.row([
            clients.to_string(),
            mb(open),
            format!("{:.0}", (open - idle) / 1e3 / clients as f64),
            format!("latest {late} ms"),
        ]);
    }
    // Turns linger for a second, their logs for a minute.
    tokio::time::sleep(Duration::from_secs(bench.size(75, 1))).await;
    let after = process::memory(host.pid)?;
    table.row(["0, after".to_owned(), mb(after), "–".to_owned(), "–".to_owned()]);
    host.stop().await?;
    Ok(table)
}
