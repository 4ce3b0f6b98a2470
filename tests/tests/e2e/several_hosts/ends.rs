//! Hosts that are killed, stopped for a while, and restarted one after another: no acknowledged turn is lost, and none is
//! written twice.

use std::collections::BTreeMap;
use std::time::Duration;

use masque_tests::{Answer, Gate, full};
use serde_json::json;

use super::consistency::half_written;
use super::findings::Findings;
use super::installation::Installation;
use super::load::Load;
use super::user::mixed_prompts;

#[tokio::test]
async fn a_turn_of_a_killed_host_is_run_again_at_another_by_its_key() {
    let mut installation = Installation::start(2).await;
    let gate = Gate::new();
    installation.model.next(Answer::held("First half,", &gate, " never."));
    let body = json!({ "message": "Go on.", "stream": true });
    let mut first = installation.client(0).chat(&body).key("killed").events().await;
    let created = first.expect("turn.created").await;
    first.until_text("First half,").await;
    installation.hosts[0].kill().await;
    let _rest = first.rest().await;
    assert!(first.broken, "the client sees that its stream broke off");

    // The dead host's lease ends on its own: at most 30 s, and the turn that waits for it 30 s at most.
    let again = loop {
        let reply = installation.client(1).chat(&json!({ "message": "Go on." })).key("killed").send().await;
        match reply.status {
            200 => break reply.expect(200),
            // It waited for the host that is gone.
            409 => drop(reply.problem(409, "conversation-busy")),
            _ => drop(reply.problem(503, "turn-interrupted")),
        }
    };
    assert_eq!(again["turn_id"], created.data["turn_id"]);
    assert_eq!(again["reply"]["content"], "You said: Go on.");
    let conversation = again["conversation_id"].as_str().unwrap();
    let messages = installation.client(1).messages(conversation).await;
    let said = messages.iter().filter(|message| message["content"] == "Go on.").count();
    assert_eq!(said, 1, "the message is there once: {messages:?}");
    let replies = messages.iter().filter(|message| message["turn_id"] == again["turn_id"]).count();
    assert_eq!(replies, 2, "one message and one reply: {messages:?}");
}

#[tokio::test]
async fn a_host_that_was_stopped_for_longer_than_its_leases_writes_nothing_and_sends_no_further_text() {
    let pause = Duration::from_secs(if full() { 60 } else { 33 });
    let installation = Installation::start(2).await;
    let gate = Gate::new();
    installation.model.next(Answer::held("First half,", &gate, " too late."));
    let body = json!({ "message": "Go on.", "stream": true });
    let mut first = installation.client(0).chat(&body).key("stopped").events().await;
    first.until_text("First half,").await;
    installation.hosts[0].pause();
    gate.open();
    // The host is away for longer than its leases last.
    tokio::time::sleep(pause).await;
    let again =
        installation.client(1).chat(&json!({ "message": "Go on." })).key("stopped").send().await.expect(200);
    installation.hosts[0].unpause();

    let rest = first.rest().await;
    let late: Vec<_> = rest.iter().filter(|event| event.name == "reply.delta").collect();
    assert!(late.is_empty(), "text after the pause: {rest:?}");
    let last = rest.last().unwrap();
    assert_eq!(last.name, "turn.failed", "{rest:?}");
    assert_eq!(last.data["problem"]["type"].as_str().unwrap().rsplit(['#', '/']).next(), Some("lease-lost"));
    let turn = installation.client(0).turn(again["turn_id"].as_str().unwrap()).await;
    assert_eq!(turn["status"], "completed");
    assert_eq!(turn["reply"]["content"], "You said: Go on.", "{turn}");
    // The host serves again.
    installation.client(0).say_in(again["conversation_id"].as_str().unwrap(), "And now?").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_three_hosts_fails_no_request_and_no_short_turn() {
    let mut installation = Installation::with_users(3).await;
    let balancer = installation.balancer().await;
    let load = Load::start(6, &balancer);
    for index in 0..3 {
        let before = load.answered();
        installation.hosts[index].terminate();
        assert!(installation.hosts[index].ended().await.success());
        installation.hosts[index].restart().await;
        balancer.replace(index, installation.hosts[index].address());
        balancer.wait_for(3).await;
        assert!(load.answered() > before, "turns went on while host {index} was away");
    }
    assert_eq!(load.seen(), BTreeMap::new(), "no request failed");
    assert_eq!(load.finish(&balancer.client()).await, Findings::default());
}

#[tokio::test]
async fn a_turn_that_is_longer_than_the_drain_says_so_and_goes_on_at_another_host() {
    let mut installation = Installation::start(2).await;
    let gate = Gate::new();
    installation.model.next(Answer::held("First half,", &gate, " never."));
    let body = json!({ "message": "Go on.", "stream": true });
    let mut first = installation.client(0).chat(&body).key("long").events().await;
    first.until_text("First half,").await;
    installation.hosts[0].terminate();
    let last = first.rest().await.pop().unwrap();
    assert_eq!(last.name, "turn.failed");
    assert_eq!(
        last.data["problem"]["type"].as_str().unwrap().rsplit(['#', '/']).next(),
        Some("turn-interrupted")
    );
    assert!(installation.hosts[0].ended().await.success());
    let again =
        installation.client(1).chat(&json!({ "message": "Go on." })).key("long").send().await.expect(200);
    assert_eq!(again["reply"]["content"], "You said: Go on.");
    let messages = installation.client(1).messages(again["conversation_id"].as_str().unwrap()).await;
    assert_eq!(messages.iter().filter(|message| message["content"] == "Go on.").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_of_random_hosts_under_load_lose_and_double_nothing() {
    let kills = if full() { 60 } else { 3 };
    let mut installation = Installation::with_users(3).await;
    let balancer = installation.balancer().await;
    let load = Load::start(6, &balancer);
    for kill in 0..kills {
        load.progress(6).await;
        let index = kill % 3;
        installation.hosts[index].kill().await;
        installation.hosts[index].restart().await;
        balancer.replace(index, installation.hosts[index].address());
        balancer.wait_for(3).await;
    }
    // Leases of killed hosts end within half a minute.
    load.progress(12).await;
    assert_eq!(load.finish(&balancer.client()).await, Findings::default());
    assert_eq!(mixed_prompts(&installation.model), Vec::<String>::new());
    assert_eq!(half_written(&installation).await, "");
}
