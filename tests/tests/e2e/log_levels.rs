//! What the log says of requests, and how its level changes while the host runs.

use masque_tests::{Host, MockModel, Setup};
use serde_json::json;

/// Asks for the liveness of the host, which is a line at `debug`, and then for something that is a line at `info`. Returns
/// whether the log has the first.
async fn are_probes_logged(host: &Host, id: &str) -> bool {
    let (probe, other) = (format!("{id}-probe"), format!("{id}-other"));
    host.client().get("/livez").header("x-request-id", &probe).send().await.expect(200);
    host.client().get("/companions").header("x-request-id", &other).send().await.expect(200);
    // Lines are written in order.
    host.logged_in_one_line(&["request completed", &other]).await;
    host.log().contains(&probe)
}

async fn masque_log(host: &Host, words: &[&str]) -> masque_tests::CommandOutput {
    let mut all = vec!["log", "--data", host.data().to_str().unwrap()];
    all.extend(words);
    host.run(&all).await
}

#[tokio::test]
async fn a_request_has_a_line_at_its_start_and_one_at_its_end() {
    let host = Setup::defaults().start().await;
    let request = host.client().chat(&json!({ "message": "Hello." })).header("x-request-id", "look-for-me");
    request.send().await.expect(200);
    let ids = ["request_id=\"look-for-me\"", "trace_id="];
    host.logged_in_one_line(&[ids[0], ids[1], "request started method=POST route=/chat"]).await;
    let end = "request completed method=POST route=/chat status=200 duration=";
    host.logged_in_one_line(&[ids[0], ids[1], end]).await;
    let log = host.log();
    let line = log.lines().find(|line| line.contains(end)).unwrap();
    let duration = line.split("duration=").nth(1).unwrap().split_whitespace().next().unwrap();
    let seconds = duration.strip_suffix('s').unwrap();
    assert!(seconds.parse::<f64>().is_ok() && seconds.split('.').nth(1).unwrap().len() == 3, "{line}");
}

#[tokio::test]
async fn each_line_of_a_turn_has_the_ids_of_its_request_and_trace_once() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let loud = "off,masque_turns=debug";
    for (format, level) in [("text", "info"), ("json", "info"), ("text", loud), ("json", loud)] {
        let log = format!("[log]\nformat = \"{format}\"\nlevel = \"{level}\"\n");
        let host = Setup::file(&log).start().await;
        let request = host.client().chat(&json!({ "message": "Hello." }));
        let request = request.header("x-request-id", "look-for-me");
        request.header("traceparent", &format!("00-{TRACE}-b7ad6b7169203331-01")).send().await.expect(200);
        host.logged_in_one_line(&["turn ended", "look-for-me", TRACE]).await;
        let log = host.log();
        for line in log.lines().filter(|line| line.contains("look-for-me") || line.contains(TRACE)) {
            let counts = ["look-for-me", TRACE].map(|id| line.matches(id).count());
            assert_eq!(counts, [1, 1], "{level}: {line}");
        }
    }
}

#[tokio::test]
async fn a_request_has_the_same_fields_in_json() {
    let host = Setup::file("[log]\nformat = \"json\"\n").start().await;
    let request = host.client().get("/companions").header("x-request-id", "look-for-me");
    request.send().await.expect(200);
    host.logged_in_one_line(&["look-for-me", "request completed"]).await;
    let log = host.log();
    let line = log.lines().find(|line| line.contains("request completed")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!((&line["method"], &line["route"]), (&json!("GET"), &json!("/companions")), "{line}");
    assert_eq!(line["status"], 200, "{line}");
    assert!(line["duration"].as_str().unwrap().ends_with('s'), "{line}");
    assert_eq!(line["spans"][0]["request_id"], "look-for-me", "{line}");
    assert_eq!(line["spans"][0]["trace_id"].as_str().unwrap().len(), 32, "{line}");
}

#[tokio::test]
async fn the_level_of_the_file_is_followed_while_the_host_runs() {
    let host = Setup::file("[log]\nlevel = \"info\"\n").start().await;
    assert!(!are_probes_logged(&host, "before").await);
    std::fs::write(host.folder().join("masque.toml"), "[log]\nlevel = \"debug\"\n").unwrap();
    host.logged("the configured log level is another one now").await;
    assert!(are_probes_logged(&host, "after").await);
    let state = host.socket().get("/admin/log").send().await.expect(200);
    assert_eq!((&state["level"], &state["until"]), (&json!("debug"), &json!(null)), "{state}");
}

#[tokio::test]
async fn the_level_of_a_file_is_followed_although_the_rest_of_it_is_refused() {
    let host = Setup::file("[log]\nlevel = \"info\"\n").start().await;
    let file = host.folder().join("masque.toml");
    std::fs::write(host.folder().join("broken.wasm"), "no component").unwrap();
    for (level, is_debug, rest) in [
        ("debug", true, "[plugins.broken]\nsource = \"broken.wasm\"\n"),
        ("info", false, "[turn]\nwait = \"soon\"\n"),
    ] {
        std::fs::write(&file, format!("[log]\nlevel = \"{level}\"\n{rest}")).unwrap();
        host.logged(&format!("the configured log level is another one now level=\"{level}\"")).await;
        assert_eq!(are_probes_logged(&host, &format!("after-{level}")).await, is_debug);
        host.logged("a change is refused").await;
    }
}

#[tokio::test]
async fn another_level_is_in_effect_for_a_while_and_is_in_the_audit_log() {
    let host = Setup::defaults().start().await;
    let shown = masque_log(&host, &[]).await;
    assert_eq!(shown.text.trim(), "The level is info, as configured.");

    let changed = masque_log(&host, &["debug", "--for", "1h"]).await;
    assert!(changed.status.success(), "{}", changed.text);
    assert!(changed.text.starts_with("The level is debug until "), "{}", changed.text);
    assert!(are_probes_logged(&host, "during").await);
    let audit = host.socket().get("/admin/audit").send().await.expect(200);
    let entry = &audit["items"][0];
    assert_eq!((&entry["action"], &entry["actor"]), (&json!("log.level"), &json!("machine")), "{entry}");
    assert_eq!(entry["detail"], json!({ "level": "debug", "for_seconds": 3600 }), "{entry}");

    let changed = masque_log(&host, &["debug", "--for", "1s"]).await;
    assert!(changed.status.success(), "{}", changed.text);
    host.logged("the configured log level is in effect again").await;
    assert!(!are_probes_logged(&host, "later").await);
}

#[tokio::test]
async fn a_level_that_is_none_is_refused_with_what_is_wrong() {
    let host = Setup::defaults().start().await;
    let cases: &[(&[&str], &str)] = &[
        (&["loud"], "`loud` is not a level"),
        (&["info,masque_http=loud"], "`loud` is not a level"),
        (&["nonsense="], "`nonsense=` has no level after the `=`; write a level such as `debug`"),
        (&[""], "the level is empty; write a level such as `debug`"),
        (&["debug", "--for", "25h"], "a day at most"),
        (&["debug", "--for", "1500ms"], "whole seconds"),
    ];
    for (words, said) in cases {
        let refused = masque_log(&host, words).await;
        assert_eq!(refused.status.code(), Some(1), "{}", refused.text);
        assert!(refused.text.contains(said), "{words:?}: {}", refused.text);
    }
    let shown = masque_log(&host, &[]).await;
    assert_eq!(shown.text.trim(), "The level is info, as configured.");
    let audit = host.socket().get("/admin/audit").send().await.expect(200);
    assert_eq!(audit["items"], json!([]));
}

#[tokio::test]
async fn no_level_logs_the_text_of_a_message() {
    let model = MockModel::start().await;
    let mut host = Setup::model(&model).and("[log]\nlevel = \"trace\"\n").start().await;
    let planted = "PLANTED-5f0c2e";
    let reply = host.client().say(planted).await;
    assert_eq!(reply["reply"]["content"], format!("You said: {planted}"));
    let transcript = host.client().stream(planted).await.transcript().await;
    assert!(!transcript.turn_id.is_empty());
    let conversation = reply["conversation_id"].as_str().unwrap();
    host.client().messages(conversation).await;
    host.terminate();
    assert!(host.ended().await.success());
    host.logged("stopped").await;
    assert!(host.log().contains("DEBUG"), "{}", host.log());
    assert!(!host.log().contains(planted), "{}", host.log());
}
