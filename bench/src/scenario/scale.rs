//! As plugins, messages and users grow.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::Bench;
use crate::load::Options;
use crate::mock::Pace;
use crate::process;
use crate::report::Table;
use crate::setup::{Mode, load, talk};
use crate::stats::Rounds;

const PACE: Pace = Pace { tokens: 40, interval: Duration::ZERO };

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    Ok(vec![plugins(bench).await?, messages(bench).await?])
}

/// Each with a component of its own by its digest would measure the compiler; these share one, as tenants' personas do.
async fn plugins(bench: &Bench) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "As plugins are loaded",
        "Personas of one component with settings of their own, beside the three that a turn uses. 4 clients, 40 tokens at \
         once, streamed; one run of each.",
        &["plugins more", "exec to ready, ms", "host, MB", "turns/s", "whole turn p99, ms"],
    );
    let millis = bench.size(3000, 300);
    let counts: &[usize] = bench.size(&[0, 10, 100, 1000], &[0, 10]);
    for &count in counts {
        let mut start = bench.start(PACE, Mode::ON);
        for number in 0..count {
            // Writing to a string cannot fail.
            let _ = write!(
                start.more,
                "[plugins.p{number}]\nsource = \"builtin:card\"\nsettings = {{ card = {CARD} }}\n"
            );
        }
        let host = start.host().await?;
        let outcome = load(&Options { clients: 4, millis, ..host.clients(PACE, true) }).await?;
        table.row([
            count.to_string(),
            format!("{:.0}", host.ready_after.as_secs_f64() * 1000.0),
            format!("{:.0}", process::memory(host.pid)? / 1e6),
            format!("{:.0}", outcome.per_second()),
            format!("{:.1}", outcome.total.p99 as f64 / 1000.0),
        ]);
        host.stop().await?;
    }
    Ok(table)
}

const CARD: &str = r#""{\"spec\": \"chara_card_v2\", \"spec_version\": \"2.0\", \"data\": {\"name\": \"P\", \"description\": \"\", \"personality\": \"\", \"scenario\": \"\", \"first_mes\": \"\", \"mes_example\": \"\"}}""#;

async fn messages(bench: &Bench) -> anyhow::Result<Table> {
    let host = bench.start(PACE, Mode::ON).host().await?;
    let most = bench.size(5000, 40);
    let mut table = Table::new(
        "As a conversation grows",
        "One conversation, one turn after the other, plain; each turn is two messages. The median of a hundred turns.",
        &["messages before", "whole turn p50, ms"],
    );
    let (mut conversation, mut recent) = (None, Vec::new());
    let marks: &[usize] = bench.size(&[100, 500, 1000, 2500, 5000], &[20, 40]);
    for turn in 1..=most {
        let begun = Instant::now();
        let said = talk(&host.address, host.bearer.as_deref(), "elara", conversation.as_deref()).await?;
        recent.push(begun.elapsed().as_secs_f64() * 1000.0);
        conversation = Some(said);
        if recent.len() > 100 {
            recent.remove(0);
        }
        if marks.contains(&turn) {
            let shown = Rounds::of(recent.iter().copied()).map(|rounds| format!("{:.2}", rounds.median));
            table.row([(2 * turn).to_string(), shown.unwrap_or_default()]);
        }
    }
    host.stop().await?;
    Ok(table)
}
