//! Measures the cost of plugins: the parts of the sandbox, for Rust and for Python; a whole turn compared with the same
//! code without a sandbox; and the smallest component under `wasmtime serve`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::process::{Child, Command};

use super::bench::Bench;
use crate::load::{Options, Protocol};
use crate::mock::Pace;
use crate::pieces::Pieces;
use crate::process;
use crate::report::Table;
use crate::setup::{Mode, Server, clients, get, load, own_command};
use crate::stats::{Rounds, show};
use crate::venv::environment;

const PACE: Pace = Pace::at_once(40);
/// The tool that makes components of Python programs.
const COMPONENTIZE: &str = "componentize-py==0.25.1";
/// The folder into which xtask builds the components of tests and benchmarks.
const FIXTURES: &str = "target/fixtures";
const WIT: &str = "wit/0.1.0";
const PROGRAMS: &str = "bench/python";
const CLIENTS: usize = 8;
const START_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Table>> {
    Ok(vec![pieces(bench).await?, sandbox(bench).await?])
}

async fn pieces(bench: &Bench) -> anyhow::Result<Table> {
    let (rounds, calls) = (bench.size(7, 1), bench.size(200, 20));
    let persona = python(bench, "persona-plugin", "asks_its_state").await?;
    let model = python(bench, "model-plugin", "counts_out").await?;
    let mut command = own_command()?;
    command.args(["pieces", "--rounds", &rounds.to_string(), "--calls", &calls.to_string()]);
    command.arg("--compiled").arg(bench.out.join("compiled-pieces"));
    command.args(["--persona", &format!("Rust={FIXTURES}/asks-its-state.wasm")]);
    command.args(["--model", &format!("Rust={FIXTURES}/counts-out.wasm")]);
    command.args(["--persona", &format!("Python={}", persona.display())]);
    command.args(["--model", &format!("Python={}", model.display())]);
    let output = command.stderr(Stdio::inherit()).kill_on_drop(true).output().await?;
    ensure!(output.status.success(), "the pieces ended with {}", output.status);
    let languages: Vec<Pieces> = serde_json::from_slice(&output.stdout)?;

    let mut table = Table::new(
        "Cost of a sandboxed call",
        &format!(
            "A sandbox without a host, one call after the other, in microseconds; the same component in two languages \
             (the Python one is built by {COMPONENTIZE}). A host call is a `state.get` that is answered at once; a reply item \
             is written and read alone. {rounds} alternating rounds of {calls} calls; host calls and reply items are the \
             difference between calls with a thousand of them and calls with none."
        ),
        &["component", "MB", "call, reused instance", "call, fresh instance", "host call", "reply item"],
    );
    for Pieces { language, bytes, call, fresh, host_call, item } in languages {
        table.row([
            language,
            format!("{:.1}", bytes as f64 / 1e6),
            show(call, 0),
            show(fresh, 0),
            show(host_call, 2),
            show(item, 2),
        ]);
    }
    Ok(table)
}

/// Builds the component of a Python program.
async fn python(bench: &Bench, world: &str, program: &str) -> anyhow::Result<PathBuf> {
    let component = bench.out.join(program).with_extension("wasm");
    let tool = environment(&bench.out.join("componentize"), COMPONENTIZE).await?.join("bin/componentize-py");
    let output = Command::new(tool)
        .args(["-d", WIT, "-w", world, "componentize", "-p", PROGRAMS, program, "-o"])
        .arg(&component)
        .stdin(Stdio::null())
        .output()
        .await?;
    ensure!(output.status.success(), "componentize-py: {}", String::from_utf8_lossy(&output.stderr));
    Ok(component)
}

/// Measures the processor time of a turn, or of a request, of each program.
async fn sandbox(bench: &Bench) -> anyhow::Result<Table> {
    let (rounds, millis) = (bench.size(7, 1), bench.size(3000, 500));
    let data = tempfile::Builder::new().prefix("native-baseline-").tempdir_in(&bench.out)?;
    let baseline = Server::native_baseline(&bench.mock, PACE, data.path()).await?;
    let host = bench.start(PACE, Mode::OFF).host().await?;
    let hello = Hello::start(bench).await?;
    let measured: [(&str, u32, Options); 3] = [
        ("native baseline", baseline.pid, clients(&baseline.address, Protocol::Masque, PACE, true)),
        ("host, all features off", host.pid, host.clients(PACE, true)),
        ("`wasmtime serve`, `hello`", hello.pid, clients(&hello.address, Protocol::Hello, PACE, false)),
    ];
    let mut costs = [const { Vec::new() }; 3];
    let mut waits = [const { Vec::new() }; 3];
    for (_, _, options) in &measured {
        load(&Options { clients: CLIENTS, millis, ..options.clone() }).await?;
    }
    for _ in 0..rounds {
        for ((_, pid, options), (costs, waits)) in measured.iter().zip(costs.iter_mut().zip(&mut waits)) {
            let before = process::cpu_seconds(*pid)?;
            let report = load(&Options { clients: CLIENTS, millis, ..options.clone() }).await?;
            costs.push((process::cpu_seconds(*pid)? - before) * 1e6 / report.turns as f64);
            let alone = load(&Options { millis: millis / 3, ..options.clone() }).await?;
            waits.push(alone.total.p50 as f64 / 1000.0);
        }
    }
    let mut table = Table::new(
        "Sandbox overhead",
        &format!(
            "One process each, {CLIENTS} clients, 40 tokens at once, streamed. The native baseline runs the same three plugins \
             as functions, with the same store and the same events, one thread per core and nothing else of a host, so the \
             ratio is an upper bound of the sandbox's overhead. `wasmtime serve` uses one fresh instance of its pool per \
             request; a turn uses three. {rounds} alternating rounds; the whole turn is that of a single client."
        ),
        &["", "µs of the process", "ratio to native", "whole turn p50, ms"],
    );
    let native =
        costs.first().and_then(|costs| Rounds::of(costs.iter().copied())).context("no rounds")?.median;
    for ((name, ..), (costs, waits)) in measured.iter().zip(costs.into_iter().zip(waits)) {
        let ratio = Rounds::of(costs.iter().map(|cost| cost / native));
        let ratio = ratio.map(|ratio| format!("{:.2} ×", ratio.median)).unwrap_or_default();
        table.row([(*name).to_owned(), show(costs, 0), ratio, show(waits, 2)]);
    }
    host.stop().await?;
    Ok(table)
}

/// `wasmtime serve` with the smallest component.
struct Hello {
    address: String,
    pid: u32,
    _process: Child,
}

impl Hello {
    async fn start(bench: &Bench) -> anyhow::Result<Self> {
        let tool = wasmtime_cli(bench).await?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let process = Command::new(tool)
            .args([
                "serve",
                "--addr",
                &address,
                "-Scli",
                "-Sp3",
                "-Wcomponent-model-async",
                "-Opooling-allocator",
            ])
            // Each request gets a fresh instance, as each call of a turn does.
            .args(["--max-instance-reuse-count", "1"])
            .arg(Path::new(FIXTURES).join("says-hello.wasm"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(bench.out.join("wasmtime.log"))?)
            .kill_on_drop(true)
            .spawn()?;
        let pid = process.id().context("wasmtime ended at once: see wasmtime.log")?;
        let begun = Instant::now();
        while get(&address, "/").await != Some(200) {
            ensure!(begun.elapsed() < START_TIMEOUT, "wasmtime serve does not answer: see wasmtime.log");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { address, pid, _process: process })
    }
}

/// Builds the command line of wasmtime, in the version that the host embeds, unless it is there already.
async fn wasmtime_cli(bench: &Bench) -> anyhow::Result<PathBuf> {
    let version = crate::machine::wasmtime_version();
    let root = bench.out.join("wasmtime");
    let binary = root.join("bin/wasmtime");
    let present = Command::new(&binary).arg("--version").output().await;
    if present.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&version)) {
        return Ok(binary);
    }
    eprintln!("building wasmtime-cli {version}, once");
    let features = "run,serve,compile,parallel-compilation,pooling-allocator,component-model-async";
    let built = Command::new("cargo")
        .args(["install", "wasmtime-cli", "--locked", "--version", &version, "--no-default-features"])
        .args(["--features", features, "--root"])
        .arg(&root)
        .env("CARGO_TARGET_DIR", root.join("target"))
        .stdin(Stdio::null())
        .status()
        .await?;
    ensure!(built.success(), "cargo install wasmtime-cli failed");
    Ok(binary)
}
