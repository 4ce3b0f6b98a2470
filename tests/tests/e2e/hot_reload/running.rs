//! Turns that run while a plugin is replaced keep their versions. The old version is unloaded with the last of them.

use masque_tests::{Answer, Gate, MockModel, Setup};

use super::*;

#[tokio::test]
async fn a_running_turn_keeps_its_versions_while_the_next_turn_gets_the_new_ones() {
    let model = MockModel::start().await;
    let setup = Setup::file(SPEAKER).and(&model.plugin("mock", ""));
    let host = with_plugin(setup, "speaker", &build(1)).start().await;
    let client = host.client();
    let old = digest(&status(&host).await, "speaker");
    let gate = Gate::new();
    model.next(Answer::held("I am", &gate, " thinking."));
    let mut running = client.stream("First.").await;
    running.until_text("I am").await;

    replace_by_rename(&plugin_file(&host, "speaker"), &build(2));
    let new = digest(&generation(&host, 2).await, "speaker");
    let next = client.say("Second.").await;

    assert_eq!(digest_in_reply(&next, "persona"), new);
    assert!(system_prompt(&model.request(0).await).contains(&build_name(1)));
    assert!(system_prompt(&model.request(1).await).contains(&build_name(2)));
    assert!(!host.log().contains("unloaded"), "a turn still uses the old version");

    gate.open();
    let ended = running.rest().await.pop().unwrap();
    assert_eq!(ended.name, "turn.completed", "{ended:?}");
    assert_eq!(digest_in_reply(&ended.data, "persona"), old);
    host.logged("unloaded").await;
    let log = host.log();
    let line = log.lines().find(|line| line.contains("unloaded")).unwrap();
    assert!(
        line.contains(&old) && line.contains("speaker") && line.contains("0.0.0-build-00000001"),
        "{line}"
    );
}

#[tokio::test]
async fn an_unchanged_plugin_is_not_unloaded() {
    let model = MockModel::start().await;
    let setup = Setup::file(SPEAKER).and(&model.plugin("mock", ""));
    let host = with_plugin(setup, "speaker", &build(1)).start().await;
    host.client().say("Hello.").await;

    replace_by_rename(&plugin_file(&host, "speaker"), &build(2));

    host.logged("unloaded").await;
    assert_eq!(host.log().matches("unloaded").count(), 1, "{}", host.log());
}
