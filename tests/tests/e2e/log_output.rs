//! What the host logs and what a command prints, also where the reader is gone or the disk is full.

use masque_tests::{Setup, fixture, within};
use serde_json::json;

#[tokio::test]
async fn the_last_lines_of_a_host_that_stops_are_in_its_log() {
    let mut host = Setup::defaults().start().await;
    host.terminate();
    assert!(host.ended().await.success());
    within("the log to end", host.logged("stopped")).await;
}

#[tokio::test]
async fn the_message_of_a_panic_is_logged_with_the_requests_id() {
    let source = fixture("panics");
    let companion = "[companions.ida]\npersona = \"ida\"\nmodels = [\"offline\"]\n";
    let host = Setup::file(companion).and(&format!("[plugins.ida]\nsource = {source:?}")).start().await;
    let request = host.client().chat(&json!({ "message": "Hello." })).header("x-request-id", "look-for-me");
    let answered = request.send().await;
    answered.problem(500, "plugin-failed");
    assert!(!answered.text.contains("no answer"), "{}", answered.text);
    host.logged_in_one_line(&["look-for-me", "no answer to Hello."]).await;
    host.logged_in_one_line(&["a call failed", "unreachable", "its last words: ", "no answer to Hello."])
        .await;
    assert!(!host.log().contains("RUST_BACKTRACE"), "{}", host.log());
}

#[tokio::test]
async fn a_command_whose_reader_is_gone_ends_quietly() {
    let made = Setup::defaults();
    made.create_key(&["--scope", "chat"]).await;
    let data = made.data().to_str().unwrap();
    for (words, said) in [
        (&["check"][..], String::new()),
        (&["keys", "list", "--data", data][..], format!("state: SQLite in {data}\n")),
        (&["--help"][..], String::new()),
    ] {
        let pipeline = "set -o pipefail; \"$@\" | true";
        let setup = Setup::defaults().launched_by(&["bash", "-c", pipeline, "bash"]);
        let output = setup.run(words).await;
        assert!(output.status.success(), "{words:?}: {}", output.text);
        assert_eq!(output.text, said, "{words:?}");
    }
}

#[tokio::test]
async fn an_error_that_can_not_be_printed_is_no_panic() {
    let words = ["keys", "rotate", "none"];
    let setup = Setup::defaults().launched_by(&["sh", "-c", "\"$@\" 2> /dev/full", "sh"]);
    let output = setup.run(&words).await;
    assert_eq!(output.status.code(), Some(1), "{}", output.text);
}

#[tokio::test]
async fn standard_output_of_a_new_key_is_the_key_alone() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path().to_str().unwrap();
    // What a shell puts into the variable of `KEY=$(masque keys create …)`.
    let capture = "captured=$(\"$@\" 2> stderr) && printf '<%s>' \"$captured\"";
    let setup = Setup::defaults().launched_by(&["sh", "-c", capture, "sh"]);
    let created = setup.run(&["keys", "create", "mine", "--scope", "chat", "--data", data]).await;
    let key = created.text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap();
    assert!(key.starts_with("msq_") && !key.contains(char::is_whitespace), "{}", created.text);
    let id = key.split('_').nth(1).unwrap();
    let rotated = setup.run(&["keys", "rotate", id, "--data", data]).await;
    assert!(
        rotated.text.starts_with("<msq_") && !rotated.text.contains(char::is_whitespace),
        "{}",
        rotated.text
    );
    let said = std::fs::read_to_string(setup.folder().join("stderr")).unwrap();
    assert!(said.contains("shown this once"), "{said}");
}

#[tokio::test]
async fn a_secret_that_can_not_be_shown_is_a_failure() {
    let words = ["keys", "create", "mine", "--scope", "chat"];
    let setup = Setup::defaults().launched_by(&["sh", "-c", "\"$@\" > /dev/full", "sh"]);
    let output = setup.run(&words).await;
    assert_eq!(output.status.code(), Some(1), "{}", output.text);
    assert!(output.text.contains("standard output can't be written"), "{}", output.text);
}
