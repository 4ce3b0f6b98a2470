//! Measures the latency that the host adds to a model, for one client and 40 tokens at once.

use super::bench::Bench;
use crate::load::{LoadReport, Options};
use crate::mock::Pace;
use crate::report::Table;
use crate::setup::{Mode, direct, load};
use crate::stats::show;

const PACE: Pace = Pace::at_once(40);

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    let (rounds, turns) = (bench.size(9, 2), bench.size(400, 20));
    let host = bench.start(PACE, Mode::ON).host().await?;
    let through = Options { turns, ..host.clients(PACE, true) };
    let straight = Options { turns, ..direct(&bench.mock.address, PACE, true) };
    // Warm up caches, pools and branch predictors.
    load(&through).await?;
    load(&straight).await?;
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        pairs.push((load(&straight).await?, load(&through).await?));
    }
    host.stop().await?;

    let mut table = Table::new(
        "Added latency",
        &format!(
            "One client, 40 tokens at once, streamed, all features on. {rounds} rounds of {turns} turns, alternating between \
             the model directly and through the host. Milliseconds."
        ),
        &["", "model directly", "through the host", "added"],
    );
    type Figure = fn(&LoadReport) -> u64;
    let figures: [(&str, Figure); 4] = [
        ("first byte p50", |report| report.first.p50),
        ("first byte p99", |report| report.first.p99),
        ("whole turn p50", |report| report.total.p50),
        ("whole turn p99", |report| report.total.p99),
    ];
    for (name, figure) in figures {
        let ms = |report: &LoadReport| figure(report) as f64 / 1000.0;
        let straight = pairs.iter().map(|(straight, _)| ms(straight));
        let through = pairs.iter().map(|(_, through)| ms(through));
        let added = pairs.iter().map(|(straight, through)| ms(through) - ms(straight));
        table.row([name.to_owned(), show(straight, 2), show(through, 2), show(added, 2)]);
    }
    Ok(vec![table])
}
