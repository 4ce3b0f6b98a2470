//! The sandbox's rules, shown with real components that break them. `cargo xtask test` builds the components.

mod capabilities;
mod egress;
mod fixtures;
mod host_memory;
mod loading;
mod nested_calls;
mod observed;
mod pool;
mod reuse;
mod scratch;

use std::time::{Duration, Instant};

use fixtures::{
    Upstream, call, composed, eventually, model, no_recollection, persona, plugin_in, prompt, short, turn,
};
use masque_grants::{Grants, Limits};
use masque_runtime::contract::Delta;
use masque_runtime::{Cause, Sandbox, SandboxConfig};

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_only_computes_ends_with_its_cpu_budget_and_says_so() {
    let limits = Limits { cpu: Duration::from_millis(200), ..Limits::default() };
    let plugin = persona("spins-in-a-call", Grants::default(), short(limits)).await;
    let error = plugin.compose(call(), &turn("hello"), no_recollection()).await.unwrap_err();
    assert!(matches!(error.cause, Cause::CpuTime(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("spins-in-a-call") && text.contains("compose") && text.contains("`cpu`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spinning_guests_on_every_core_stop_neither_other_calls_nor_timers() {
    // Longer than the other calls take on a slow machine.
    let limits = Limits { cpu: Duration::from_secs(2), ..Limits::default() };
    let spinning = persona("spins-in-a-call", Grants::default(), limits).await;
    let cores = std::thread::available_parallelism().unwrap().get();
    let spinners: Vec<_> = (0..2 * cores)
        .map(|_| {
            let spinning = spinning.clone();
            tokio::spawn(async move { spinning.compose(call(), &turn("hello"), no_recollection()).await })
        })
        .collect();
    let other = persona("uses-what-it-can", Grants::default(), Limits::default()).await;
    for _ in 0..20 {
        // The calls come one after the other while the spinners run.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(composed(&other, "nothing").await, "0 variables");
    }
    assert!(spinners.iter().all(|spinner| !spinner.is_finished()), "the others ran only after the spinners");
    for spinner in spinners {
        assert!(matches!(spinner.await.unwrap().unwrap_err().cause, Cause::CpuTime(_)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_only_computes_ends_after_what_it_said() {
    let limits = Limits { cpu: Duration::from_millis(200), ..Limits::default() };
    let plugin = model("spins-in-a-stream", "{}", Grants::default(), short(limits)).await;
    let mut deltas = plugin.generate(call(), &prompt("hello")).await.unwrap();
    let first = deltas.next().await.unwrap().unwrap();
    assert!(matches!(first.as_slice(), [Delta::Text(text)] if text == "well"));
    let error = deltas.next().await.unwrap().unwrap_err();
    assert!(matches!(error.cause, Cause::CpuTime(_)), "{error}");
    assert!(deltas.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_costs_wall_time_and_no_cpu_time() {
    let upstream = Upstream::silent().await;
    let settings = format!(r#"{{"speaks": true, "url": "{}"}}"#, upstream.url());
    let grants = Grants { http: vec![upstream.origin().parse().unwrap()], ..Grants::default() };
    // Long enough for the first words on a busy machine.
    let limits = Limits { wall: Duration::from_secs(2), cpu: Duration::from_secs(10), ..Limits::default() };
    let plugin = model("never-answers", &settings, grants, limits).await;
    let mut deltas = plugin.generate(call(), &prompt("hello")).await.unwrap();
    assert!(deltas.next().await.unwrap().is_ok());
    let error = deltas.next().await.unwrap().unwrap_err();
    assert!(matches!(error.cause, Cause::WallTime(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_at_the_turns_deadline_though_its_own_limit_is_later() {
    let limits = Limits { cpu: Duration::from_secs(60), ..Limits::default() };
    let plugin = persona("spins-in-a-call", Grants::default(), limits).await;
    let mut call = call();
    call.deadline = Instant::now() + Duration::from_millis(300);
    let error = plugin.compose(call, &turn("hello"), no_recollection()).await.unwrap_err();
    assert!(matches!(error.cause, Cause::WallTime(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_stops_the_writer() {
    // Long enough for the first words on a busy machine.
    let limits = Limits { cpu: Duration::from_secs(1), wall: Duration::from_secs(3), ..Limits::default() };
    let sandbox = Sandbox::new(&SandboxConfig { instances: 1, ..SandboxConfig::default() }).unwrap();
    let plugin = plugin_in(&sandbox, "streams-for-ever", "{}", Grants::default(), limits.clone()).await;
    let begun = Instant::now();
    let mut deltas = plugin.generate(call(), &prompt("hello")).await.unwrap();
    // Without backpressure the guest would use up its CPU budget; held back, it reaches its wall limit.
    tokio::time::sleep_until((begun + limits.wall).into()).await;
    let mut batches = 0;
    let error = loop {
        match deltas.next().await.unwrap() {
            Ok(_) => batches += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error.cause, Cause::WallTime(_)), "{error}");
    assert!(batches <= 32, "{batches} batches were buffered");
    eventually(|| sandbox.free_instances() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_bytes_wait_for_a_slow_reader_than_the_buffer_holds() {
    // Long enough to fill the buffer on a busy machine.
    let limits = Limits { wall: Duration::from_secs(3), ..Limits::default() };
    let sandbox = Sandbox::new(&SandboxConfig { instances: 1, ..SandboxConfig::default() }).unwrap();
    let settings = r#"{"bytes": 60000}"#;
    let plugin = plugin_in(&sandbox, "streams-for-ever", settings, Grants::default(), limits.clone()).await;
    let begun = Instant::now();
    let mut deltas = plugin.generate(call(), &prompt("hello")).await.unwrap();
    tokio::time::sleep_until((begun + limits.wall).into()).await;
    let mut bytes = 0;
    while let Ok(batch) = deltas.next().await.unwrap() {
        for delta in batch {
            if let Delta::Text(text) = delta {
                bytes += text.len();
            }
        }
    }
    assert!((100_000..=256 << 10).contains(&bytes), "{bytes} bytes were buffered");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_past_the_limit_is_named_as_the_cause() {
    let limits = Limits { memory_bytes: 16 << 20, ..Limits::default() };
    let plugin = persona("hoards", Grants::default(), limits).await;
    let error = plugin.compose(call(), &turn("hello"), no_recollection()).await.unwrap_err();
    assert!(matches!(error.cause, Cause::Memory { limit } if limit == 16 << 20), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_one_call() {
    let plugin = persona("panics", Grants::default(), Limits::default()).await;
    for _ in 0..3 {
        let error = plugin.compose(call(), &turn("hello"), no_recollection()).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Trap(_)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_past_the_limit_ends_the_reply() {
    let plugin = model("says-too-much-at-once", "{}", Grants::default(), Limits::default()).await;
    let mut deltas = plugin.generate(call(), &prompt("hello")).await.unwrap();
    let error = deltas.next().await.unwrap().unwrap_err();
    assert!(
        matches!(&error.cause, Cause::HostResources(reason) if reason.contains("delta_bytes")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_on_what_the_host_holds_for_a_guest_is_named() {
    let failure = async |asked: &str, limits: Limits| {
        let plugin = persona("uses-what-it-can", Grants::default(), limits).await;
        plugin.compose(call(), &turn(asked), no_recollection()).await.unwrap_err()
    };
    let error = failure("fields 2000", Limits::default()).await;
    assert!(error.to_string().contains("limit `resources`"), "{error}");
    let error = failure("fields 2000", Limits { handles: 500, ..Limits::default() }).await;
    assert!(error.to_string().contains("limit `handles`"), "{error}");
    let error = failure("descend 100000000", Limits::default()).await;
    assert!(matches!(error.cause, Cause::Stack { .. } | Cause::Trap(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_grants_every_capability_is_denied_and_named() {
    let upstream = Upstream::answering("open").await;
    let plugin = persona("uses-what-it-can", Grants::default(), Limits::default()).await;
    for (attempt, expected) in [
        (format!("get {}", upstream.url()), "denied"),
        ("state counter".to_owned(), "denied"),
        ("shared counter".to_owned(), "denied"),
        ("history x".to_owned(), "denied"),
        ("ask something".to_owned(), "denied"),
        ("look localhost".to_owned(), "internal"),
        ("file /etc/hostname".to_owned(), "internal"),
    ] {
        let said = composed(&plugin, &attempt).await;
        assert!(said.starts_with(expected), "{attempt}: {said}");
    }
    assert_eq!(upstream.requests(), 0);
}
