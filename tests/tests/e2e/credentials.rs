//! The key of a credential reaches only its own origin: no log, no response, no other server, no file.

use std::path::Path;

use masque_tests::{Answer, MockModel, Setup};
use serde_json::json;

#[tokio::test]
async fn the_key_is_injected_and_appears_nowhere_else() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).and("[log]\nlevel = \"trace\"").start().await;
    let client = host.client();

    let reply = client.say("Hello.").await;
    model.next(Answer::error(
        401,
        "invalid_api_key",
        &format!("Incorrect API key provided: {}", model.key()),
    ));
    let refused = client.chat(&json!({ "message": "Hello." })).send().await;

    let authorization = model.request(0).await.headers["authorization"].to_str().unwrap().to_owned();
    assert_eq!(authorization, format!("Bearer {}", model.key()));
    let status = client.get("/status").send().await;
    for (location, text) in [
        ("the reply", reply.to_string()),
        ("the refusal", refused.text),
        ("/status", status.text),
        ("the log", host.log()),
    ] {
        assert!(!text.contains(model.key()), "the key is in {location}: {text}");
    }
    assert!(!contains(host.data(), model.key().as_bytes()), "the key is in the data folder");
}

/// Whether a file below `folder` contains the bytes.
fn contains(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => contains(&entry.path(), bytes),
            kind if kind.is_file() => {
                let content = std::fs::read(entry.path()).unwrap();
                content.windows(bytes.len()).any(|window| window == bytes)
            }
            _ => false,
        }
    })
}

#[tokio::test]
async fn a_key_is_not_sent_to_another_origin() {
    let (keyed, other) = (MockModel::start().await, MockModel::start().await);
    // The plugin calls the other server, with the credential of the first one.
    let plugin = keyed
        .plugin("mock", "")
        .replace(&format!("base_url = \"{}", keyed.origin()), &format!("base_url = \"{}", other.origin()));
    let plugin = plugin.replace(
        &format!("grants = {{ http = [\"{}\"]", keyed.origin()),
        &format!("grants = {{ http = [\"{}\", \"{}\"]", keyed.origin(), other.origin()),
    );
    let companion = "[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"mock\"]\n";
    let host = Setup::file(companion).and(&plugin).start().await;

    host.client().chat(&json!({ "message": "Hello." })).send().await.problem(502, "model-unauthorized");

    let seen = other.request(0).await;
    assert!(!format!("{:?}", seen.headers).contains(keyed.key()));
    assert!(keyed.seen().is_empty());
}

#[tokio::test]
async fn a_plugin_reaches_no_server_without_a_grant() {
    let (granted, other) = (MockModel::start().await, MockModel::start().await);
    let plugin = granted
        .plugin("mock", "")
        .replace(&format!("base_url = \"{}", granted.origin()), &format!("base_url = \"{}", other.origin()));
    let companion = "[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"mock\"]\n";
    let host = Setup::file(companion).and(&plugin).start().await;

    host.client().chat(&json!({ "message": "Hello." })).send().await.problem(500, "plugin-failed");

    host.logged(&other.origin()).await;
    assert!(other.seen().is_empty() && granted.seen().is_empty());
}

#[tokio::test]
async fn a_key_can_come_from_the_environment_or_from_a_file() {
    let model = MockModel::start().await;
    let value = format!("value = \"Bearer {}\"", model.key());
    let companion = "[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"mock\"]\n";

    let from_variable = model.plugin("mock", "").replace(&value, "value = \"Bearer ${MOCK_KEY}\"");
    let host = Setup::file(companion).and(&from_variable).environment("MOCK_KEY", model.key()).start().await;
    host.client().say("Hello.").await;

    let from_file = model.plugin("mock", "").replace(&value, "value_file = \"key.txt\"");
    let content = format!("Bearer {}\n", model.key());
    let host = Setup::file(companion).and(&from_file).beside("key.txt", content.as_bytes()).start().await;
    host.client().say("Hello.").await;
}
