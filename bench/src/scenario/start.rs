//! Measures the time from exec to ready, and turns while components are replaced.

use std::path::Path;
use std::time::{Duration, Instant};

use super::bench::Bench;
use crate::load::Options;
use crate::mock::Pace;
use crate::report::Table;
use crate::setup::{Host, Mode, load};
use crate::stats::show;

const PACE: Pace = Pace::at_once(40);
/// The component that is replaced.
const COMPONENT: &str = "target/plugins/card.wasm";
/// A replacement that takes longer counts as lost.
const REPLACEMENT_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    Ok(vec![start(bench).await?, swap(bench).await?])
}

async fn start(bench: &Bench) -> anyhow::Result<Table> {
    let rounds = bench.size(7, 1);
    let mut table = Table::new(
        "Startup time",
        &format!(
            "From exec to the first 200 of `/readyz`, with three components; {rounds} alternating starts of each."
        ),
        &["components", "ms"],
    );
    let mut kinds =
        [("compiled at this start", true, Vec::new()), ("cached by an earlier start", false, Vec::new())];
    for round in 0..rounds {
        for (_, cold, figures) in &mut kinds {
            let mut start = bench.start(PACE, Mode::ON);
            if *cold {
                start.compiled = bench.out.join(format!("cold-{}-{round}", std::process::id()));
            }
            let host = start.host().await?;
            figures.push(host.ready_after.as_secs_f64() * 1000.0);
            host.stop().await?;
            if *cold {
                std::fs::remove_dir_all(&start.compiled)?;
            }
        }
    }
    for (name, _, figures) in kinds {
        table.row([name.to_owned(), show(figures, 0)]);
    }
    Ok(table)
}

/// Replaces the persona under load: with a new component each time, which must be compiled, or with one of two components
/// that are compiled already.
async fn swap(bench: &Bench) -> anyhow::Result<Table> {
    let component = std::fs::read(COMPONENT)?;
    let replacements = bench.size(100, 3);
    let mut table = Table::new(
        "Hot reload under load",
        &format!(
            "8 clients, 40 tokens at once, streamed, while the persona's component is replaced {replacements} times in a row, \
             and without replacements before and after. No turn fails. The time until in effect is from the rename of the \
             file to the generation that uses it, including the debounce of 100 ms."
        ),
        &["", "turns/s", "whole turn p99, ms", "until in effect, ms"],
    );
    let mut start = bench.start(PACE, Mode::ON);
    start.extra = "[plugins.elara]\nsettings = { card = { file = \"card.json\" } }\n".to_owned();
    let folder = tempfile::Builder::new().prefix("swap-").tempdir_in(&bench.out)?;
    std::fs::write(folder.path().join("card.json"), CARD)?;
    let plugins = folder.path().join("data/plugins");
    std::fs::create_dir_all(&plugins)?;
    write_component(&plugins, &component, 0)?;
    let host = start.host_in(folder.path()).await?;
    let millis = bench.size(8000, 500);
    let quiet = |host: &Host| Options { clients: 8, millis, ..host.clients(PACE, true) };
    load(&quiet(&host)).await?;
    let row = |table: &mut Table, name: &str, report: &crate::load::LoadReport, effect: String| {
        let p99 = format!("{:.1}", report.total.p99 as f64 / 1000.0);
        table.row([name.to_owned(), format!("{:.0}", report.per_second()), p99, effect]);
    };
    row(&mut table, "no replacement, before", &load(&quiet(&host)).await?, "–".to_owned());
    for (name, known) in [("by one of two cached components", true), ("by a new component each time", false)]
    {
        let options = Options { millis: 3_600_000, ..quiet(&host) };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut waits = Vec::new();
        // Run the clients in rounds of a second until all replacements are done.
        let clients = tokio::spawn(async move {
            let mut reports = Vec::new();
            let mut stopped = stopped;
            while stopped.try_recv().is_err() {
                reports.push(load(&Options { millis: 1000, ..options.clone() }).await?);
            }
            anyhow::Ok(reports)
        });
        for number in 0..replacements {
            let version = if known { 1 + number % 2 } else { 1000 + number };
            let generation = generation(&host)?;
            let begun = Instant::now();
            write_component(&plugins, &component, version)?;
            while self::generation(&host)? == generation {
                anyhow::ensure!(
                    begun.elapsed() < REPLACEMENT_TIMEOUT,
                    "a replacement did not come into effect"
                );
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            waits.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        let _clients_ended = stop.send(());
        let reports = clients.await??;
        let rate = reports.iter().map(crate::load::LoadReport::per_second);
        let p99 = reports.iter().map(|report| report.total.p99 as f64 / 1000.0);
        table.row([name.to_owned(), show(rate, 0), show(p99, 1), show(waits, 0)]);
    }
    row(&mut table, "no replacement, after", &load(&quiet(&host)).await?, "–".to_owned());
    host.stop().await?;
    Ok(table)
}

const CARD: &str = r#"{"spec": "chara_card_v2", "spec_version": "2.0", "data": {"name": "Elara",
"description": "A companion.", "personality": "", "scenario": "", "first_mes": "Hello.", "mes_example": ""}}"#;

/// Returns the number of changes that are in effect, according to the host's log.
fn generation(host: &Host) -> anyhow::Result<usize> {
    Ok(std::fs::read_to_string(host.folder.join("data/log"))?.matches("changes are in effect").count())
}

/// Writes the component with this number in a custom section, which changes only its digest.
fn write_component(folder: &Path, component: &[u8], number: usize) -> anyhow::Result<()> {
    let name = b"version";
    let payload = number.to_string();
    let length = u8::try_from(1 + name.len() + payload.len())?;
    let mut bytes = component.to_vec();
    bytes.extend([0, length, u8::try_from(name.len())?]);
    bytes.extend(name);
    bytes.extend(payload.as_bytes());
    let part = folder.join("elara.part");
    std::fs::write(&part, bytes)?;
    std::fs::rename(part, folder.join("elara.wasm"))?;
    Ok(())
}
