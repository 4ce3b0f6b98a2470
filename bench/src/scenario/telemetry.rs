//! Measures what an operator's view of a host costs: its log, its traces, and the records of its turns. Metrics are always on;
//! their cost shows against an older binary without them, if one is given.

use super::bench::Bench;
use crate::load::Options;
use crate::mock::Pace;
use crate::process;
use crate::report::Table;
use crate::setup::{DATA, Mode, Start, load};
use crate::stats::show;
use std::path::Path;

const PACE: Pace = Pace::at_once(40);
const CLIENTS: usize = 8;
/// The file that records are in, and the one that its newest changes are in.
const RECORDS: [&str; 2] = ["records.db", "records.db-wal"];

/// What is on in one of the hosts.
struct Variant {
    name: &'static str,
    is_logging: bool,
    /// The share of traces of turns that did not fail which is exported; `None` if there are no traces.
    traced: Option<&'static str>,
    /// The setting `records.content`; `None` for a host that has no such setting.
    records: Option<&'static str>,
}

const BEFORE: Variant =
    Variant { name: "an older host, log off", is_logging: false, traced: None, records: None };
const VARIANTS: [Variant; 6] = [
    Variant { name: "metrics", is_logging: false, traced: None, records: Some("off") },
    Variant { name: "metrics, log", is_logging: true, traced: None, records: Some("off") },
    Variant {
        name: "metrics, log, traces (5 % kept)",
        is_logging: true,
        traced: Some("0.05"),
        records: Some("off"),
    },
    Variant {
        name: "metrics, log, traces (all kept)",
        is_logging: true,
        traced: Some("1"),
        records: Some("off"),
    },
    Variant {
        name: "all, records with digests",
        is_logging: true,
        traced: Some("0.05"),
        records: Some("digests"),
    },
    Variant { name: "all, records in full", is_logging: true, traced: Some("0.05"), records: Some("full") },
];

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    let (rounds, millis) = (bench.size(9, 1), bench.size(2000, 300));
    let mut hosts = Vec::new();
    let before = bench.before.as_deref().map(|bin| (&BEFORE, bin));
    for (variant, bin) in before.into_iter().chain(VARIANTS.iter().map(|variant| (variant, &*bench.bin))) {
        let host = variant.start(bench, bin).host().await?;
        load(&Options { clients: CLIENTS, millis, ..host.clients(PACE, true) }).await?;
        process::wait_until_idle(host.pid).await?;
        hosts.push((variant.name, host, Vec::new(), Vec::new(), Vec::new()));
    }
    for _ in 0..rounds {
        for (_, host, costs, waits, sizes) in &mut hosts {
            let used = process::cpu_seconds(host.pid)?;
            let size = records_size(&host.folder);
            let report = load(&Options { clients: CLIENTS, millis, ..host.clients(PACE, true) }).await?;
            // What is exported and recorded belongs to this host's turns and must not disturb the next host.
            process::wait_until_idle(host.pid).await?;
            costs.push((process::cpu_seconds(host.pid)? - used) * 1e6 / report.turns as f64);
            waits.push(report.total.p50 as f64 / 1000.0);
            sizes.push((records_size(&host.folder) - size) / report.turns as f64);
        }
    }
    let mut table = Table::new(
        "Cost of metrics, log, traces and records",
        &format!(
            "40 tokens at once, streamed, {CLIENTS} clients, all features on; one host for each line, {rounds} alternating \
             rounds. Traces are sent to a receiver on the same cores, whose own cost is not counted. The share is that of the \
             first line in the same round. Bytes are what the file of records grows by; it reuses space, so the largest round \
             counts."
        ),
        &[
            "",
            "µs of the host per turn",
            "share of the first line",
            "whole turn p50, ms",
            "bytes of records per turn",
        ],
    );
    let first: Vec<f64> = hosts.first().map(|(_, _, costs, _, _)| costs.clone()).unwrap_or_default();
    for (name, host, costs, waits, sizes) in hosts {
        let shares = costs.iter().zip(&first).map(|(cost, first)| cost / first);
        let largest = sizes.into_iter().fold(0.0, f64::max);
        let bytes = if largest > 0.0 { format!("{largest:.0}") } else { "–".to_owned() };
        table.row([name.to_owned(), show(costs.clone(), 0), show(shares, 3), show(waits, 2), bytes]);
        host.stop().await?;
    }
    Ok(vec![table])
}

impl Variant {
    fn start<'a>(&self, bench: &'a Bench, bin: &'a Path) -> Start<'a> {
        let mut start = bench.start(PACE, Mode::ON);
        start.bin = bin;
        start.extra = format!("[log]\nlevel = \"{}\"\n", if self.is_logging { "info" } else { "off" });
        if let Some(records) = self.records {
            start.extra.push_str(&format!("[records]\ncontent = \"{records}\"\n"));
        }
        if let Some(share) = self.traced {
            start.environment.extend([
                ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", bench.mock.address)),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
                ("OTEL_TRACES_SAMPLER", "traceidratio".to_owned()),
                ("OTEL_TRACES_SAMPLER_ARG", share.to_owned()),
            ]);
        }
        start
    }
}

/// The bytes of the records of a host on the disk.
fn records_size(folder: &Path) -> f64 {
    let bytes = |name| std::fs::metadata(folder.join(DATA).join(name)).map_or(0, |file| file.len());
    RECORDS.into_iter().map(bytes).sum::<u64>() as f64
}
