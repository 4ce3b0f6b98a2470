//! Replacements under load: no request fails, no turn mixes versions, and nothing is leaked. The last test measures the time
//! of a replacement and prints it without a judgement (`cargo xtask test how_long -- --nocapture`).

#![allow(clippy::print_stdout, reason = "prints measurements on request")]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use masque_tests::{Client, Host, Setup, full};
use serde_json::Value;

use super::*;

const CLIENTS: usize = 4;
/// Replacements before the first measurement. After them, every slot of the pool and the pages of the allocator have been
/// used.
const WARM_UP: u32 = VERSIONS;
/// Memory that may grow: the allocator keeps freed pages. A version that is leaked takes at least 2 MB.
const MEMORY_SLACK: usize = 64 << 20;
/// Descriptors that may be added: connections of clients and of the store.
const DESCRIPTOR_SLACK: usize = 2 * CLIENTS + 8;

/// The number of versions, which are used again and again, so that the folder of compiled components does not grow.
const VERSIONS: u32 = 8;

/// The persona and the memory of one version. Their digests identify the version.
fn pair(number: u32) -> (Vec<u8>, Vec<u8>) {
    let mut memory = fixture("counts-exchanges");
    // A custom section: id, size, length of the name, name, content.
    memory.extend([0, 9, 4]);
    memory.extend(b"pair");
    memory.extend(number.to_le_bytes());
    (build(number), memory)
}

/// Versions by digest.
type VersionsByDigest = Arc<HashMap<String, u32>>;

fn assert_not_mixed(reply: &Value, known: &VersionsByDigest) {
    let (persona, memory) = (digest_in_reply(reply, "persona"), digest_in_reply(reply, "memory"));
    let (persona, memory) = (known.get(&persona), known.get(&memory));
    assert!(persona.is_some() && persona == memory, "{persona:?} and {memory:?} in one turn: {reply}");
}

async fn talk(client: Client, known: VersionsByDigest, done: Arc<AtomicBool>, turns: Arc<AtomicU64>) {
    while !done.load(Ordering::Relaxed) {
        let first = client.say("Hello.").await;
        let conversation = first["conversation_id"].as_str().unwrap();
        for reply in [&first, &client.say_in(conversation, "And now?").await] {
            assert_not_mixed(reply, &known);
            turns.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replacements_under_load_fail_no_request_mix_no_versions_and_leave_nothing_behind() {
    let replacements = if full() { 500 } else { 20 };
    // By default the events of ended turns are kept for a minute, which would look like a leak.
    let toml = "[companions.elara]\npersona = \"speaker\"\nmemory = \"counting\"\nmodels = [\"offline\"]\n\
                [plugins.counting]\ngrants = { state = true }\n[turn]\nlog_ttl = \"0s\"\n";
    let setup = Setup::file(toml);
    let pairs: Vec<_> = (0..VERSIONS).map(pair).collect();
    let known: HashMap<_, _> = (0..VERSIONS)
        .zip(&pairs)
        .flat_map(|(number, (persona, memory))| [(sha256(persona), number), (sha256(memory), number)])
        .collect();
    let known = VersionsByDigest::new(known);
    let files = |number: u32| {
        let (persona, memory) = &pairs[(number % VERSIONS) as usize];
        [("speaker.wasm", persona.as_slice()), ("counting.wasm", memory.as_slice())]
    };
    let mut mount = Mount::new(&setup.data().join("plugins"), &files(0));
    let host = setup.start().await;

    let (done, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(talk(host.client(), known.clone(), done.clone(), turns.clone()));
    }
    let mut before = None;
    for number in 1..=WARM_UP + replacements {
        mount.swap(&files(number));
        let status = generation(&host, u64::from(number) + 1).await;
        assert_eq!(known.get(&digest(&status, "speaker")), Some(&(number % VERSIONS)));
        if number <= WARM_UP {
            // Each version has all its series from here on.
            host.client().say("Hello.").await;
        }
        if number == WARM_UP {
            let observed = "masque_job_duration_seconds_count{";
            let series = masque_tests::eventually("a job to have run", || async {
                let series = plugin_series(&host).await;
                series.iter().any(|series| series.starts_with(observed)).then_some(series)
            });
            before = Some((host.memory(), host.descriptors(), series.await));
        }
    }
    done.store(true, Ordering::Relaxed);
    // A client panics if a request fails or a turn mixes versions.
    clients.join_all().await;

    let gone = 2 * (WARM_UP + replacements) as usize;
    masque_tests::eventually("every old version to be unloaded", || async {
        (host.log().matches("unloaded").count() == gone).then_some(())
    })
    .await;
    let (memory, descriptors, series) = before.unwrap();
    // The versions are loaded again and again, so none was unloaded for ten minutes.
    let versions: HashSet<_> = series.iter().filter_map(|series| label(series, "version")).collect();
    assert!(versions.len() > VERSIONS as usize, "the builds have one version: {versions:?}");
    let after = plugin_series(&host).await;
    let changed: Vec<_> = after.symmetric_difference(&series).collect();
    assert!(changed.is_empty(), "{} series became {}: {changed:#?}", series.len(), after.len());
    println!(
        "{} turns over {replacements} replacements; memory {} -> {} MiB, descriptors {descriptors} -> {}",
        turns.load(Ordering::Relaxed),
        memory >> 20,
        host.memory() >> 20,
        host.descriptors(),
    );
    assert!(host.memory() < memory + MEMORY_SLACK, "{} -> {} bytes", memory, host.memory());
    assert!(host.descriptors() <= descriptors + DESCRIPTOR_SLACK, "{descriptors} -> {}", host.descriptors());
    assert!(turns.load(Ordering::Relaxed) >= u64::from(replacements), "there was no load");
}

/// The names and labels of all series about plugins, companions and their jobs.
async fn plugin_series(host: &Host) -> BTreeSet<String> {
    let text = host.client().get("/metrics").send().await.text;
    let is_about =
        |line: &&str| !line.starts_with('#') && (line.contains("plugin=\"") || line.contains("companion=\""));
    let series = text.lines().filter(is_about).filter_map(|line| line.rsplit_once(' '));
    series.map(|(series, _)| series.to_owned()).collect()
}

/// The value of a label of a series.
fn label<'a>(series: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = series.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}

fn sha256(component: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    format!("sha256:{:x}", Sha256::digest(component))
}

/// The time from the rename of a build to the end of the first turn with it. It makes this generation.
async fn time_to_first_turn(host: &Host, client: &Client, number: u32, generation: u32) -> Duration {
    let (component, file) = (build(number), plugin_file(host, "speaker"));
    let wanted = sha256(&component);
    let unfinished = file.with_extension("part");
    std::fs::write(&unfinished, component).unwrap();
    let start = Instant::now();
    std::fs::rename(unfinished, file).unwrap();
    host.logged(&format!("generation={generation} ")).await;
    let reply = client.say("Hello.").await;
    assert_eq!(digest_in_reply(&reply, "persona"), wanted);
    start.elapsed()
}

#[tokio::test]
async fn how_long_it_takes_from_a_written_file_to_the_first_turn_with_it() {
    let toml = SPEAKER.replace("mock", "offline");
    let host = with_plugin(Setup::file(&toml), "speaker", &build(0)).start().await;
    let client = host.client();
    let mut generations = 2..;
    for kind in ["cold", "warm"] {
        let mut times = Vec::new();
        for number in 1..=7 {
            let generation = generations.next().unwrap();
            times.push(time_to_first_turn(&host, &client, number, generation).await);
        }
        times.sort();
        println!("{kind} cache: median {:?}, of which 100 ms are waited for quiet; all {times:?}", times[3]);
    }
}
