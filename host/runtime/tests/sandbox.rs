//! The sandbox's rules, shown with real components that break them. `cargo xtask test` builds the components.

mod fixtures;
mod models;
mod reuse;
mod scratch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fixtures::{Upstream, call, composed, model, persona, prompt, sandbox, turn};
use masque_runtime::contract::{Delta, Recollection};
use masque_runtime::{Call, Cause, Credential, Grants, Limits, LoadError, Sandbox, SandboxConfig, Secret};

fn nothing() -> Recollection {
    Recollection { messages: Vec::new(), memories: Vec::new(), metadata: Vec::new() }
}

/// Short enough to wait for, long enough for a machine that is busy with other tests.
fn short(limits: Limits) -> Limits {
    Limits { wall: limits.wall.min(Duration::from_secs(20)), ..limits }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_only_computes_ends_with_its_cpu_budget_and_says_so() {
    let limits = Limits { cpu: Duration::from_millis(200), ..Limits::default() };
    let plugin = persona("spins-in-a-call", Grants::default(), short(limits)).await;
    let error = plugin.compose(call(), &turn("hello"), nothing()).await.unwrap_err();
    assert!(matches!(error.cause, Cause::CpuTime(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("spins-in-a-call") && text.contains("compose") && text.contains("`cpu`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spinning_guests_on_every_core_stop_neither_other_calls_nor_timers() {
    let limits = Limits { cpu: Duration::from_secs(1), ..Limits::default() };
    let spinning = persona("spins-in-a-call", Grants::default(), short(limits)).await;
    let cores = std::thread::available_parallelism().unwrap().get();
    let spinners: Vec<_> = (0..2 * cores)
        .map(|_| {
            let spinning = spinning.clone();
            tokio::spawn(async move { spinning.compose(call(), &turn("hello"), nothing()).await })
        })
        .collect();
    let other = persona("uses-what-it-can", Grants::default(), Limits::default()).await;
    for _ in 0..20 {
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
    let limits =
        Limits { wall: Duration::from_millis(400), cpu: Duration::from_secs(10), ..Limits::default() };
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
    let error = plugin.compose(call, &turn("hello"), nothing()).await.unwrap_err();
    assert!(matches!(error.cause, Cause::WallTime(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_reply_frees_its_instance() {
    let plugin = model("streams-for-ever", "{}", Grants::default(), Limits::default()).await;
    let sandbox = sandbox();
    let mut deltas = plugin.generate(call(), &prompt("hello")).await.unwrap();
    assert!(deltas.next().await.unwrap().is_ok());
    let taken = sandbox.free_instances();
    drop(deltas);
    fixtures::eventually(|| sandbox.free_instances() > taken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_lags_stops_the_writer_rather_than_filling_memory() {
    let limits =
        Limits { cpu: Duration::from_secs(1), wall: Duration::from_millis(700), ..Limits::default() };
    let sandbox = Sandbox::new(&SandboxConfig { instances: 1, ..SandboxConfig::default() }).unwrap();
    let plugin = fixtures::plugin_in(&sandbox, "streams-for-ever", "{}", Grants::default(), limits).await;
    let mut deltas = plugin.generate(call(), &prompt("hello")).await.unwrap();
    // Without backpressure the guest would burn its CPU budget meanwhile; held back, it runs into the wall limit.
    fixtures::eventually(|| sandbox.free_instances() == 1).await;
    let mut batches = 0;
    let error = loop {
        match deltas.next().await.unwrap() {
            Ok(_) => batches += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error.cause, Cause::WallTime(_)), "{error}");
    assert!(batches <= 32, "{batches} batches were buffered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_lags_holds_up_no_more_bytes_than_the_channel_may_have() {
    let limits = Limits { wall: Duration::from_millis(700), ..Limits::default() };
    let sandbox = Sandbox::new(&SandboxConfig { instances: 1, ..SandboxConfig::default() }).unwrap();
    let settings = r#"{"bytes": 60000}"#;
    let plugin = fixtures::plugin_in(&sandbox, "streams-for-ever", settings, Grants::default(), limits).await;
    let mut deltas = plugin.generate(call(), &prompt("hello")).await.unwrap();
    fixtures::eventually(|| sandbox.free_instances() == 1).await;
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
    let error = plugin.compose(call(), &turn("hello"), nothing()).await.unwrap_err();
    assert!(matches!(error.cause, Cause::Memory { limit } if limit == 16 << 20), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_one_call() {
    let plugin = persona("panics", Grants::default(), Limits::default()).await;
    for _ in 0..3 {
        let error = plugin.compose(call(), &turn("hello"), nothing()).await.unwrap_err();
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
async fn a_full_pool_is_an_error_after_a_bounded_wait() {
    let config =
        SandboxConfig { instances: 1, slot_wait: Duration::from_millis(100), ..SandboxConfig::default() };
    let sandbox = Sandbox::new(&config).unwrap();
    let plugin =
        fixtures::plugin_in(&sandbox, "streams-for-ever", "{}", Grants::default(), Limits::default()).await;
    let held = plugin.generate(call(), &prompt("hello")).await.unwrap();
    let error = plugin.generate(call(), &prompt("hello")).await.err().unwrap();
    assert!(matches!(error.cause, Cause::Busy(_)) && error.code() == "overloaded", "{error}");
    drop(held);
    fixtures::eventually(|| sandbox.free_instances() == 1).await;
    assert!(plugin.generate(call(), &prompt("hello")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_plugin_can_hold_every_place_in_any_number_of_versions() {
    let config = SandboxConfig { instances: 4, slot_wait: Duration::ZERO, ..SandboxConfig::default() };
    let sandbox = Sandbox::new(&config).unwrap();
    let load =
        async |name| fixtures::plugin_in(&sandbox, name, "{}", Grants::default(), Limits::default()).await;
    let (greedy, successor) = (load("streams-for-ever").await, load("streams-for-ever").await);
    let mut held = Vec::new();
    for plugin in [&greedy, &successor, &greedy] {
        held.push(plugin.generate(call(), &prompt("hello")).await.unwrap());
    }
    let error = successor.generate(call(), &prompt("hello")).await.err().unwrap();
    assert!(matches!(error.cause, Cause::Busy(_)), "{error}");
    let other = load("uses-what-it-can").await;
    assert_eq!(composed(&other, "nothing").await, "0 variables");
    drop(held);
    fixtures::eventually(|| sandbox.free_instances() == 4).await;
    assert!(successor.generate(call(), &prompt("hello")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_for_an_instance_is_part_of_the_call() {
    let config =
        SandboxConfig { instances: 1, slot_wait: Duration::from_secs(60), ..SandboxConfig::default() };
    let sandbox = Sandbox::new(&config).unwrap();
    let plugin =
        fixtures::plugin_in(&sandbox, "streams-for-ever", "{}", Grants::default(), Limits::default()).await;
    let _held = plugin.generate(call(), &prompt("hello")).await.unwrap();
    let soon = Call::until(Instant::now() + Duration::from_millis(100));
    let error = plugin.generate(soon, &prompt("hello")).await.err().unwrap();
    assert!(matches!(error.cause, Cause::WallTime(waited) if waited < Duration::from_secs(30)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_on_what_the_host_holds_for_a_guest_is_named() {
    let failure = async |asked: &str, limits: Limits| {
        let plugin = persona("uses-what-it-can", Grants::default(), limits).await;
        plugin.compose(call(), &turn(asked), nothing()).await.unwrap_err()
    };
    let error = failure("fields 2000", Limits::default()).await;
    assert!(error.to_string().contains("limit `resources`"), "{error}");
    let error = failure("fields 2000", Limits { handles: 500, ..Limits::default() }).await;
    assert!(error.to_string().contains("limit `handles`"), "{error}");
    let error = failure("descend 100000000", Limits::default()).await;
    assert!(matches!(error.cause, Cause::Stack { .. } | Cause::Trap(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn askers_on_a_full_pool_wait_for_one_another_and_are_all_answered() {
    let config =
        SandboxConfig { instances: 8, slot_wait: Duration::from_secs(60), ..SandboxConfig::default() };
    let sandbox = Sandbox::new(&config).unwrap();
    let asker = models::asker_in(&sandbox, Limits::default()).await;
    let answering =
        fixtures::plugin_in(&sandbox, "streams-for-ever", "{}", Grants::default(), Limits::default()).await;
    let askers: Vec<_> = (0..24)
        .map(|_| {
            let (asker, call) = (asker.clone(), models::lending(models::Answering(answering.clone())));
            tokio::spawn(async move { asker.compose(call, &turn("ask-often anything"), nothing()).await })
        })
        .collect();
    for asker in askers {
        let said = fixtures::first_text(&asker.await.unwrap().unwrap());
        // As many as the limit allows, one after the other on the one place that was set aside.
        assert_eq!(said, "8, then denied: more than 8 questions in one call (limit `questions`)");
    }
    fixtures::eventually(|| sandbox.free_instances() == 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_can_not_ask_on_though_it_is_lent_models() {
    let asker = models::asker_in(&sandbox(), Limits::default()).await;
    let call = models::lending(models::AskingOn(asker.clone()));
    let prompt = asker.compose(call, &turn("ask yourself"), nothing()).await.unwrap();
    assert_eq!(fixtures::first_text(&prompt), "denied: a call that was itself asked can't ask on");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_spends_the_askers_cpu_budget() {
    let limits = Limits { cpu: Duration::from_millis(200), ..Limits::default() };
    let asker = models::asker_in(&sandbox(), short(limits)).await;
    let spinning = persona("spins-in-a-call", Grants::default(), short(Limits::default())).await;
    let call = models::lending(models::AskingOn(spinning));
    let outcome = asker.compose(call, &turn("ask for ever"), nothing()).await;
    match outcome {
        Ok(prompt) => {
            let said = fixtures::first_text(&prompt);
            assert!(said.starts_with("timeout") && said.contains("200 ms of CPU"), "{said}");
        }
        Err(error) => assert!(matches!(error.cause, Cause::CpuTime(_)), "{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_grants_every_door_is_shut_and_named() {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_opens_its_origin_and_a_name_that_resolves_to_this_machine_stays_shut() {
    let upstream = Upstream::answering("open").await;
    let grants = Grants { http: vec![upstream.origin().parse().unwrap()], ..Grants::default() };
    let plugin = persona("uses-what-it-can", grants, Limits::default()).await;
    assert_eq!(composed(&plugin, &format!("get {}", upstream.url())).await, "200 open");
    let port = upstream.port();
    for host in ["localhost", "127.1", "[::ffff:127.0.0.1]", "0x7f.1", "127.0.0.1.nip.invalid"] {
        let said = composed(&plugin, &format!("get http://{host}:{port}/")).await;
        assert!(said.starts_with("denied"), "{host}: {said}");
    }
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_reaches_its_origin_and_never_the_guest() {
    let upstream = Upstream::echoing().await;
    let secret = Secret::from("Bearer sk-very-secret".to_owned());
    let credential = Credential::new("key".into(), &upstream.origin(), "authorization", &secret).unwrap();
    let grants = Grants {
        http: vec![upstream.origin().parse().unwrap()],
        credentials: vec![Arc::new(credential)],
        ..Grants::default()
    };
    let plugin = persona("uses-what-it-can", grants, Limits::default()).await;
    let said = composed(&plugin, &format!("get {}", upstream.url())).await;
    assert!(
        upstream.last_request().contains("authorization: Bearer sk-very-secret"),
        "{}",
        upstream.last_request()
    );
    assert!(said.contains("[redacted]") && !said.contains("sk-very-secret"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let upstream = Upstream::redirecting().await;
    let grants = Grants { http: vec![upstream.origin().parse().unwrap()], ..Grants::default() };
    let plugin = persona("uses-what-it-can", grants, Limits::default()).await;
    assert!(composed(&plugin, &format!("get {}", upstream.url())).await.starts_with("302"));
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_with_the_reason() {
    let sandbox = sandbox();
    let load = async |bytes: &[u8]| sandbox.load(bytes.into()).await.unwrap_err();
    assert!(matches!(load(b"hello").await, LoadError::NotWasm));
    assert!(matches!(load(b"\0asm\x01\0\0\0").await, LoadError::CoreModule));
    assert!(matches!(load(b"\0asm\x0d\0\x01\0").await, LoadError::Exports(_)));
    let whole = fixtures::component("panics");
    assert!(matches!(load(&whole[..whole.len() / 2]).await, LoadError::Compile(_)));
}

#[tokio::test]
async fn a_component_is_compiled_once_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        SandboxConfig { instances: 4, cache: Some(folder.path().to_owned()), ..SandboxConfig::default() };
    let load = async || {
        let sandbox = Sandbox::new(&config).unwrap();
        sandbox.load(fixtures::component("panics").into()).await.unwrap().digest().to_owned()
    };
    let digest = load().await;
    let kept = || {
        use std::os::unix::fs::MetadataExt;
        let files = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap());
        // What is written again is another file, under the same name.
        let mut kept: Vec<_> = files.map(|file| (file.file_name(), file.metadata().unwrap().ino())).collect();
        kept.sort();
        kept
    };
    let first = kept();
    assert_eq!(first.len(), 2, "the key and one component: {first:?}");
    assert_eq!(load().await, digest);
    assert_eq!(kept(), first);
    // Altered code is never run: it is compiled again and replaced.
    let (file, _) = first.iter().find(|(name, _)| name.to_string_lossy().ends_with(".aot")).unwrap();
    let path = folder.path().join(file);
    let mut code = std::fs::read(&path).unwrap();
    let middle = code.len() / 2;
    code[middle] ^= 1;
    std::fs::write(&path, &code).unwrap();
    assert_eq!(load().await, digest);
    assert_ne!(std::fs::read(&path).unwrap(), code);
}
