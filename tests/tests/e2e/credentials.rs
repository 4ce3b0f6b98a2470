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
async fn a_key_that_the_server_echoes_does_not_reach_the_client() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    for (number, stream) in [false, true].into_iter().enumerate() {
        model.next(Answer::pieces(&["Your key is ", model.key(), ", is it not?"]));
        let body = json!({ "message": format!("Question {number}."), "stream": stream });
        let answer = host.client().chat(&body).send().await;
        assert_eq!(answer.status, 200);
        assert!(!answer.text.contains(model.key()), "{}", answer.text);
    }
}

#[tokio::test]
async fn no_part_of_a_credential_that_the_server_echoes_reaches_the_client() {
    let model = MockModel::start().await;
    let (session, theme) = ("0123-session-4567", "solarized-dark");
    // A cookie with two secrets next to the key, and white space at the end of both values.
    let plugin = model
        .plugin("mock", "")
        .replace("credentials = [\"mock\"]", "credentials = [\"mock\", \"cookie\"]")
        .replace(&format!("Bearer {}", model.key()), &format!("Bearer {}  ", model.key()));
    let cookie = format!(
        "[credentials.cookie]\norigin = \"{}\"\nheader = \"cookie\"\nvalue = \"session=${{SESSION}}; theme=${{THEME}} \"\n",
        model.origin()
    );
    let companion = "[companions.elara]\npersona = \"elara\"\nmemory = \"window\"\nmodels = [\"mock\"]\n";
    let host = Setup::file(companion)
        .and(&plugin)
        .and(&cookie)
        .environment("SESSION", session)
        .environment("THEME", theme)
        .start()
        .await;
    for secret in [model.key(), session, theme] {
        model.next(Answer::pieces(&["You sent ", secret, ", did you not?"]));
        let answer = host.client().chat(&json!({ "message": "Hello." })).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(!answer.text.contains(secret) && answer.text.contains("[redacted]"), "{}", answer.text);
    }
    let seen = model.request(0).await;
    assert_eq!(seen.headers["cookie"], format!("session={session}; theme={theme}"));
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
