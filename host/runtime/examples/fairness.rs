//! Measures what an open stream takes of the machine, and how long ordinary calls wait while other guests only compute. Run
//! `cargo run -p masque-runtime --example fairness` after `cargo xtask test` has built the fixtures. Quiet and busy rounds
//! alternate, so that other load on the machine shows in both.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a measuring tool")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use masque_grants::{Grants, Limits};
use masque_runtime::contract::{Message, Prompt, Recollection, Turn, User};
use masque_runtime::{Call, Plugin, Sandbox, SandboxConfig};

const ROUNDS: usize = 5;
const CALLS: usize = 400;
const SPINNERS: usize = 6;
const STREAMS: usize = 100;
/// Ordinary calls at the same time.
const CONCURRENT_CALLS: usize = 4;

async fn plugin(sandbox: &Arc<Sandbox>, name: &str, limits: Limits) -> Arc<Plugin> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/fixtures");
    let bytes = std::fs::read(folder.join(name).with_extension("wasm")).unwrap();
    let package = sandbox.load(bytes.into(), &Limits::default()).await.unwrap();
    Arc::new(Plugin::new(package, name.to_owned(), "{}".into(), Grants::default(), limits))
}

fn turn() -> Turn {
    Turn {
        id: "turn".into(),
        attempt: 1,
        conversation: "conversation".into(),
        companion: "companion".into(),
        tenant: "default".into(),
        user: User { id: "user".into(), name: None, locale: None, timezone: None, metadata: Vec::new() },
        message: Message::new("user", "hello"),
        tail: Vec::new(),
        has_earlier: false,
        now: 0,
        deadline_ms: 60_000,
        metadata: Vec::new(),
    }
}

async fn compose(plugin: &Plugin) -> Duration {
    let nothing = Recollection { messages: Vec::new(), memories: Vec::new(), metadata: Vec::new() };
    let begun = Instant::now();
    // A spinning guest ends with an error, which is not of interest here.
    let _ = plugin.compose(Call::until(begun + Duration::from_secs(60)), &turn(), nothing).await;
    begun.elapsed()
}

/// The memory mappings of this process, and its resident KiB.
fn memory_usage() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (maps.lines().count(), resident.trim().strip_suffix(" kB").unwrap().parse().unwrap())
}

async fn open_streams(model: &Plugin) -> String {
    let prompt = Prompt {
        messages: vec![turn().message],
        tools: Vec::new(),
        options: Vec::new(),
        metadata: Vec::new(),
    };
    let mut open = Vec::new();
    let before = memory_usage();
    for _ in 0..STREAMS {
        let call = Call::until(Instant::now() + Duration::from_secs(60));
        let mut deltas = model.generate(call, &prompt).await.unwrap();
        deltas.next().await.unwrap().unwrap();
        open.push(deltas);
    }
    let after = memory_usage();
    let each = |before: usize, after: usize| after.saturating_sub(before) / STREAMS;
    format!("{} mappings, {} KiB", each(before.0, after.0), each(before.1, after.1))
}

async fn measure_round(plugin: &Arc<Plugin>) -> String {
    let tasks: Vec<_> = (0..CONCURRENT_CALLS)
        .map(|_| {
            let plugin = plugin.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                for _ in 0..CALLS / CONCURRENT_CALLS {
                    took.push(compose(&plugin).await);
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    took.sort();
    let at = |part: usize| took[took.len() * part / 1000];
    format!("p50 {:?}, p99 {:?}, p999 {:?}", at(500), at(990), at(999))
}

fn main() {
    // The same event interval as in the host.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().event_interval(4).build().unwrap();
    runtime.block_on(async {
        let sandbox = Sandbox::new(&SandboxConfig::default()).unwrap();
        let ordinary = plugin(&sandbox, "counts-its-calls", Limits::default()).await;
        let limits = Limits { cpu: Duration::from_secs(60), ..Limits::default() };
        let spinning = plugin(&sandbox, "spins-in-a-call", limits).await;
        let model = plugin(&sandbox, "streams-for-ever", Limits::default()).await;
        println!("an open stream: {}", open_streams(&model).await);
        for _ in 0..ROUNDS {
            println!("quiet: {}", measure_round(&ordinary).await);
            let spinners: Vec<_> = (0..SPINNERS)
                .map(|_| {
                    let spinning = spinning.clone();
                    tokio::spawn(async move { compose(&spinning).await })
                })
                .collect();
            // By then they have used so much CPU time that they yield for a whole tick.
            tokio::time::sleep(Duration::from_millis(200)).await;
            println!("beside {SPINNERS} spinning: {}", measure_round(&ordinary).await);
            spinners.iter().for_each(|spinner| spinner.abort());
        }
    });
}
