//! Turns that run while a plugin is replaced: each ends on what it began with, and the old version goes with the last.

use masque_tests::{Answer, Gate, MockModel, Setup};

use super::*;

#[tokio::test]
async fn a_turn_that_runs_ends_on_what_it_began_with_while_the_next_one_has_the_new() {
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

    assert_eq!(played(&next, "persona"), new);
    assert!(told(&model.request(0).await).contains(&name_of(1)));
    assert!(told(&model.request(1).await).contains(&name_of(2)));
    assert!(!host.log().contains("unloaded"), "a turn still uses the old version");

    gate.open();
    let ended = running.rest().await.pop().unwrap();
    assert_eq!(ended.name, "turn.completed", "{ended:?}");
    assert_eq!(played(&ended.data, "persona"), old);
    host.logged("unloaded").await;
    let log = host.log();
    let line = log.lines().find(|line| line.contains("unloaded")).unwrap();
    assert!(line.contains(&old) && line.contains("speaker") && line.contains("0.1.0"), "{line}");
}

#[tokio::test]
async fn what_has_not_changed_is_not_unloaded_with_the_rest() {
    let model = MockModel::start().await;
    let setup = Setup::file(SPEAKER).and(&model.plugin("mock", ""));
    let host = with_plugin(setup, "speaker", &build(1)).start().await;
    host.client().say("Hello.").await;

    replace_by_rename(&plugin_file(&host, "speaker"), &build(2));

    host.logged("unloaded").await;
    assert_eq!(host.log().matches("unloaded").count(), 1, "{}", host.log());
}
