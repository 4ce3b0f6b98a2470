//! Compares the host with the LiteLLM proxy in front of the same model, in the same run.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::process::{Child, Command};

use super::bench::Bench;
use crate::load::{LoadReport, Options};
use crate::mock::Pace;
use crate::process;
use crate::report::Table;
use crate::setup::{Mode, direct, get, load};
use crate::stats::{Rounds, show};
use crate::venv::environment;

/// All tokens in one piece, and one chunk per token as real models send them.
const PACES: [(Pace, &str); 2] = [(Pace::at_once(40), "at once"), (Pace::chunks(40), "one chunk per token")];
/// The release of LiteLLM.
const PACKAGE: &str = "litellm[proxy]==1.106.2";
const KEY: &str = "sk-bench";
const START_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    let (rounds, millis) = (bench.size(5, 1), bench.size(2500, 500));
    let (proxy, port) = start(bench).await?;
    let pid = proxy.id().context("the proxy ended")?;
    let mut hosts = Vec::new();
    for (pace, _) in PACES {
        hosts.push(bench.start(pace, Mode::ON).host().await?);
    }
    let mut table = Table::new(
        "Comparison with LiteLLM",
        &format!(
            "{PACKAGE}, one worker, no database, master key set, with the same model in the same run; 40 tokens. \
             Latency is that of one client, turns/s the best of 1, 4 and 16 clients. {rounds} alternating rounds."
        ),
        &["", "", "tokens", "added first byte p50, ms", "added whole turn p50, ms", "turns/s", "ratio", "MB"],
    );
    let streamed = PACES.iter().zip(&hosts).map(|(pace, host)| (pace, host, "streamed", true));
    let plain = PACES.iter().zip(&hosts).take(1).map(|(pace, host)| (pace, host, "plain", false));
    for ((pace, tokens), host, kind, stream) in streamed.chain(plain) {
        let theirs =
            Options { bearer: Some(KEY.to_owned()), ..direct(&format!("127.0.0.1:{port}"), *pace, stream) };
        let ours = host.clients(*pace, stream);
        let straight = direct(&bench.mock.address, *pace, stream);
        let mut figures: [Vec<(f64, f64, f64)>; 2] = [Vec::new(), Vec::new()];
        load(&Options { clients: 4, millis, ..theirs.clone() }).await?;
        load(&Options { clients: 4, millis, ..ours.clone() }).await?;
        for _ in 0..rounds {
            let base = load(&Options { millis, ..straight.clone() }).await?;
            for (options, figures) in [&theirs, &ours].into_iter().zip(&mut figures) {
                let one = load(&Options { millis, ..options.clone() }).await?;
                let mut best = one.per_second();
                for clients in [4, 16] {
                    best =
                        best.max(load(&Options { clients, millis, ..options.clone() }).await?.per_second());
                }
                let added = |figure: fn(&LoadReport) -> u64| {
                    figure(&one) as f64 / 1000.0 - figure(&base) as f64 / 1000.0
                };
                figures.push((added(|report| report.first.p50), added(|report| report.total.p50), best));
            }
        }
        let rates: Vec<_> =
            figures.iter().map(|rounds| Rounds::of(rounds.iter().map(|figure| figure.2))).collect();
        let ratio = match rates.as_slice() {
            [Some(theirs), Some(ours)] => format!("{:.0} ×", ours.median / theirs.median),
            _ => String::new(),
        };
        for ((name, pid), (figures, ratio)) in [("LiteLLM", pid), ("Masque", host.pid)]
            .into_iter()
            .zip(figures.iter().zip(["1 ×".to_owned(), ratio]))
        {
            let of = |figure: fn(&(f64, f64, f64)) -> f64, digits| show(figures.iter().map(figure), digits);
            let memory = format!("{:.0}", process::memory_bytes(pid)? / 1e6);
            table.row([
                name.to_owned(),
                kind.to_owned(),
                (*tokens).to_owned(),
                of(|figure| figure.0, 1),
                of(|figure| figure.1, 1),
                of(|figure| figure.2, 0),
                ratio,
                memory,
            ]);
        }
    }
    for host in hosts {
        host.stop().await?;
    }
    drop(proxy);
    Ok(vec![table])
}

async fn start(bench: &Bench) -> anyhow::Result<(Child, u16)> {
    let program = environment(&bench.out.join("litellm"), PACKAGE).await?.join("bin/litellm");
    let configuration = bench.out.join("litellm.yaml");
    let address = &bench.mock.address;
    let models = PACES.map(|(pace, _)| {
        let model = pace.name();
        format!(
            "  - model_name: {model}\n    litellm_params:\n      model: openai/{model}\n      \
             api_base: http://{address}/v1\n      api_key: unused\n"
        )
    });
    std::fs::write(
        &configuration,
        format!(
            "model_list:\n{}general_settings:\n  master_key: {KEY}\nlitellm_settings:\n  telemetry: false\n",
            models.concat()
        ),
    )?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let log = std::fs::File::create(bench.out.join("litellm.log"))?;
    let mut proxy = Command::new(program)
        .arg("--config")
        .arg(configuration)
        .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--num_workers", "1"])
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .env("LITELLM_LOG", "ERROR")
        .current_dir(&bench.out)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()?;
    let begun = Instant::now();
    while get(&format!("127.0.0.1:{port}"), "/health/liveliness").await != Some(200) {
        ensure!(
            proxy.try_wait()?.is_none() && begun.elapsed() < START_TIMEOUT,
            "the proxy did not start: see litellm.log"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok((proxy, port))
}
