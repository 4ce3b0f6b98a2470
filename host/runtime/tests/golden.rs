//! A released version of the contract does not change: its files stay the same, and components that were built for it load,
//! link and answer as they did when it was released. `tests/golden/README.md` says how they were built.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed precondition fails the test"
)]

mod capabilities;
mod fixtures;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use capabilities::{InMemoryCapabilities, message_with_id, text_of, usage};
use fixtures::{Upstream, call, no_recollection, prompt, sandbox, turn};
use masque_grants::{Grants, Limits};
use masque_runtime::contract::{Delta, Exchange, Finish, Opening, Part, Recollection, Remembered, Turn};
use masque_runtime::{Cause, Package, Plugin, PluginKind, PluginStateScope};
use sha2::{Digest, Sha256};

/// Every file of every released version, with its digest at the release.
const RELEASED: &[(&str, &[(&str, &str)])] = &[(
    "0.1.0",
    &[
        ("deps/cli.wit", "04b2de3bf344052c78080f3c5320442132b4e7c20b42633a92b8400b6d29ab0d"),
        ("deps/clocks.wit", "5b59398732d19f6e327b1693c851a690bdf30e86cbf755d5a53b2fe7d6f2775e"),
        ("deps/filesystem.wit", "612729afb560f715c18de8787014f6b35ee7d3d12a8ef5566d93720ca463c9c9"),
        ("deps/http.wit", "905f68152b4ba133db28ad1283f5ab5e67af1c64b9d306b770a607f6076b03be"),
        ("deps/random.wit", "671234beada8dbdff53d10a6554bfbdc6ed9259d3093dfb8cc78c00b67fdf6e5"),
        ("deps/sockets.wit", "9ea0d8bbd63773ee67ee58f4dbb1a4ad5ec250ed79487ed847715c0b87ee95cf"),
        ("host.wit", "ca5effdd895b4c850a16ea3b2e22ba956a4c3f0f25f90a30e29325da39da42cc"),
        ("plugin.wit", "8aa2110261c7b07430a32adb1554ed129b66bd78c3074f415f599d8e2e988fb2"),
        ("types.wit", "fc85d63c7c92a31904e38f3072a37d7e823692994dc83f2d2e46ce2d8c4b4d52"),
    ],
)];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn a_released_version_of_the_contract_does_not_change() {
    for (version, released) in RELEASED {
        let folder = root().join("wit").join(version);
        let mut found = Vec::new();
        digest_files(&folder, "", &mut found);
        let found: Vec<_> = found.iter().map(|(path, digest)| (path.as_str(), digest.as_str())).collect();
        assert_eq!(
            &found, released,
            "wit/{version} differs from what was released: released versions are frozen: add a new folder"
        );
    }
}

fn digest_files(folder: &Path, prefix: &str, into: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = format!("{prefix}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            digest_files(&path, &format!("{name}/"), into);
        } else {
            into.push((name, format!("{:x}", Sha256::digest(std::fs::read(&path).unwrap()))));
        }
    }
}

fn component(version: &str, name: &str) -> Vec<u8> {
    let path = root().join("tests/golden").join(version).join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

async fn package(name: &str) -> Arc<Package> {
    sandbox().load(component("0.1.0", name).into(), &Limits::default()).await.unwrap()
}

async fn plugin(name: &str, settings: &str, grants: Grants) -> Plugin {
    Plugin::new(package(name).await, name.to_owned(), settings.to_owned(), grants, Limits::default())
}

/// Everything but the network.
fn all() -> Grants {
    Grants { state: true, state_shared: true, history: true, models: true, ..Grants::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_components_of_0_1_0_say_what_they_are() {
    for (name, kind, state_version) in [
        ("persona", PluginKind::Persona, 3),
        ("memory", PluginKind::Memory, 0),
        ("model", PluginKind::Model, 0),
    ] {
        let package = package(name).await;
        let description = package.description();
        assert_eq!((package.kind(), description.kind.as_str()), (kind, name));
        assert_eq!(
            (description.name.as_str(), description.version.as_str()),
            (&*format!("golden-{name}"), "0.1.0")
        );
        assert_eq!(description.state_version, state_version);
        assert!(description.settings_schema.contains("\"additionalProperties\":false"), "{name}");
        assert_eq!((package.greets(), package.reflects()), (name == "persona", name == "persona"));
        assert_eq!(package.observes(), name == "memory");
    }
}

/// The golden components together import every interface that 0.1.0 offers, so that the tests that load and call them leave
/// none out.
#[test]
fn the_components_of_0_1_0_import_all_that_it_offers() {
    let all = ["persona", "memory", "model"].map(|name| component("0.1.0", name)).concat();
    let has = |text: &str| all.windows(text.len()).any(|window| window == text.as_bytes());
    for interface in ["host", "state", "history", "models"] {
        assert!(has(&format!("masque:companion/{interface}@0.1.0")), "{interface}");
    }
    // The version depends on the toolchain that built them; it is not older than the contract's own.
    assert!(has("wasi:http/client@0.3."));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_persona_of_0_1_0_composes_from_all_that_it_is_given() {
    let capabilities = InMemoryCapabilities::with_history(2);
    let persona = plugin("persona", r#"{"name": "Ida"}"#, all()).await;
    let mut turn = turn("How are you?");
    turn.user.name = Some("Ada".into());
    turn.tail = vec![message_with_id("m-2", "user", "Hi.")];
    turn.has_earlier = true;
    (turn.now, turn.message.at) = (1_790_000_000_000, Some(5));
    let recalled = Recollection {
        messages: turn.tail.clone(),
        memories: vec![Remembered {
            id: "7".into(),
            text: "Ada sails.".into(),
            score: Some(0.5),
            source: None,
            metadata: Vec::new(),
        }],
        metadata: Vec::new(),
    };

    let prompt = persona.compose(capabilities.call(), &turn, recalled).await.unwrap();

    let said: Vec<_> = prompt.messages.iter().map(|message| (&*message.role, text_of(message))).collect();
    let system = "I am Ida. Ada is here for the 1. time. 1 messages, 2 before them, the last at Some(5). \
        It is about sailing, 1790000000000 ms after the beginning of time.";
    let wanted = [("system", system), ("system", "Ada sails."), ("user", "Hi."), ("user", "How are you?")];
    assert_eq!(said, wanted.map(|(role, text)| (role, text.to_owned())));
    assert!(prompt.messages[0].cache && !prompt.messages[1].cache);
    let sources: Vec<_> = prompt.messages.iter().map(|message| message.source.as_deref()).collect();
    assert_eq!(sources, [Some("golden.persona"), Some("memory:7"), None, None]);
    let properties = |of: &[masque_runtime::contract::Property]| {
        of.iter().map(|property| format!("{} {}", property.name, property.json)).collect::<Vec<_>>()
    };
    assert_eq!(properties(&prompt.messages[1].metadata), ["score 0.5"]);
    assert_eq!(properties(&prompt.options), ["temperature 0.5"]);
    assert_eq!(&*prompt.tools[0].name, "tide");
    assert_eq!(capabilities.asked.lock().unwrap().as_slice(), ["In a word?"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_persona_of_0_1_0_greets_and_reflects() {
    let capabilities = InMemoryCapabilities::with_history(0);
    let persona = plugin("persona", r#"{"name": "Ida"}"#, all()).await;
    let opening = Opening {
        conversation: "conversation".into(),
        companion: "ida".into(),
        tenant: "default".into(),
        user: turn("").user,
        now: 0,
        metadata: Vec::new(),
    };
    let greetings = persona.greet(capabilities.call(), &opening).await.unwrap();
    assert_eq!(greetings.iter().map(text_of).collect::<Vec<_>>(), ["ida greets someone.", "I am Ida."]);

    let mut exchange = exchange(turn("Hello"), "Good day.");
    persona.reflect(capabilities.call(), &exchange).await.unwrap();
    assert_eq!(
        capabilities.value(PluginStateScope::Conversation, "last"),
        "\"Good day. (1 thoughts, 5 tokens, try 2)\""
    );
    assert_eq!(capabilities.value(PluginStateScope::Shared, "exchanges"), "1");

    exchange.interrupted = true;
    let error = persona.reflect(capabilities.call(), &exchange).await.unwrap_err();
    assert_eq!((error.code(), error.retry_after()), ("unavailable", Some(Duration::from_secs(7))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_0_1_0_recalls_what_it_observed() {
    let capabilities = InMemoryCapabilities::with_history(5);
    let memory = plugin("memory", "{}", all()).await;
    for said in ["one", "two", "three", "four"] {
        memory.observe(capabilities.call(), &exchange(turn(said), "Yes.")).await.unwrap();
    }
    let mut turn = turn("Hello");
    turn.tail = vec![message_with_id("m-5", "user", "Hi.")];
    turn.has_earlier = true;

    let recalled = memory.recall(capabilities.call(), &turn, 900).await.unwrap();

    let ids: Vec<_> = recalled.messages.iter().filter_map(|message| message.id.as_deref()).collect();
    assert_eq!(ids, ["m-3", "m-4", "m-5"]);
    let memories: Vec<_> = recalled.memories.iter().map(|memory| (&*memory.id, &*memory.text)).collect();
    assert_eq!(memories, [("note-1", "one"), ("note-2", "two"), ("note-3", "three")]);
    assert_eq!(recalled.memories[0].score, Some(0.25));
    assert_eq!(recalled.memories[0].source.as_deref(), Some("version 1"));
    assert_eq!(&*recalled.metadata[0].json, "900");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_of_0_1_0_answers_with_every_kind_of_item() {
    let model = plugin("model", "{}", Grants::default()).await;
    let deltas = reply(&model, "so be it").await.unwrap();
    let told: Vec<_> = deltas
        .iter()
        .map(|delta| match delta {
            Delta::Text(text) => format!("text {text}"),
            Delta::Thinking(text) => format!("thinking {text}"),
            Delta::ToolCall(call) => format!("call {} {} {}", call.id, call.name, call.arguments),
            Delta::Usage(usage) => format!("usage {} {}", usage.input_tokens, usage.output_tokens),
            Delta::Finish(finish) => format!("finish {}", finish.reason),
            Delta::Failed(failure) => format!("failed {}", failure.code),
            Delta::Other(property) => format!("other {} {}", property.name, property.json),
        })
        .collect();
    let wanted = [
        "thinking Hm.",
        "text so ",
        "text be ",
        "text it",
        "call call-1 tide {}",
        "usage 3 2",
        "other golden.options 0",
        "finish stop",
    ];
    assert_eq!(told, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_of_0_1_0_fails_before_and_after_its_first_word() {
    let model = plugin("model", "{}", Grants::default()).await;
    let refused = reply(&model, "refuse now").await.unwrap_err();
    assert_eq!((refused.code(), refused.retry_after()), ("rate-limited", Some(Duration::from_millis(1500))));
    let broken = reply(&model, "break now").await.unwrap();
    assert!(
        matches!(&broken[..], [Delta::Text(text), Delta::Failed(failure)] if text == "Well" && failure.code == "stalled"),
        "{broken:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_model_of_0_1_0_reaches_what_it_was_granted_and_nothing_else() {
    let upstream = Upstream::answering("low tide").await;
    let asked = format!("fetch {}", upstream.url());
    let denied = reply(&plugin("model", "{}", Grants::default()).await, &asked).await.unwrap_err();
    assert_eq!((denied.code(), upstream.requests()), ("denied", 0));

    let grants = Grants { http: vec![upstream.origin().parse().unwrap()], ..Grants::default() };
    let fetched = reply(&plugin("model", "{}", grants).await, &asked).await.unwrap();
    assert!(
        matches!(&fetched[..], [Delta::Text(text), Delta::Finish(Finish { reason, .. })] if text == "low tide" && reason == "length"),
        "{fetched:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_grants_the_components_of_0_1_0_load_and_are_denied() {
    let capabilities = InMemoryCapabilities::with_history(0);
    let persona = plugin("persona", r#"{"name": "Ida"}"#, Grants::default()).await;
    let error = persona.compose(capabilities.call(), &turn("Hello"), no_recollection()).await.unwrap_err();
    assert_eq!(error.code(), "denied");
    let memory = plugin("memory", "{}", Grants::default()).await;
    let error = memory.recall(capabilities.call(), &turn("Hello"), 100).await.unwrap_err();
    assert_eq!(error.code(), "denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_persona_of_0_1_0_names_the_setting_that_it_misses() {
    let persona = plugin("persona", "{}", all()).await;
    let error = persona.compose(call(), &turn("Hello"), no_recollection()).await.unwrap_err();
    assert!(
        matches!(&error.cause, Cause::Failed(failure) if failure.code == "invalid" && failure.message.contains("`name`")),
        "{error}"
    );
}

fn exchange(turn: Turn, reply: &str) -> Exchange {
    let mut reply = message_with_id("reply", "assistant", reply);
    reply.parts.push(Part::Thinking("Hm.".into()));
    Exchange { turn, reply, usage: usage(3, 2), interrupted: false, attempt: 2, metadata: Vec::new() }
}

/// A model's whole reply to `text`.
async fn reply(model: &Plugin, text: &str) -> Result<Vec<Delta>, masque_runtime::CallError> {
    let mut deltas = model.generate(call(), &prompt(text)).await?;
    let mut all = Vec::new();
    while let Some(batch) = deltas.next().await {
        all.extend(batch?);
    }
    Ok(all)
}
