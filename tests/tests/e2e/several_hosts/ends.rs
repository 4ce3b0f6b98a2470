//! Hosts that are killed, stopped for a while, and restarted one after another: no acknowledged turn is lost, and none is
//! written twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use masque_tests::{Answer, Client, Gate, full};
use serde_json::{Value, json};

use super::installation::Installation;

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
        if reply.status == 200 {
            break reply.expect(200);
        }
        reply.problem(409, "conversation-busy");
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
    tokio::time::sleep(pause).await;
    let again = installation
        .client(1)
        .chat(&json!({ "message": "Go on." }))
        .key("stopped")
        .send()
        .await
        .expect(200);
    installation.hosts[0].unpause();

    let rest = first.rest().await;
    let late: Vec<_> = rest.iter().filter(|event| event.name == "reply.delta").collect();
    assert!(late.is_empty(), "text after the pause: {rest:?}");
    let last = rest.last().unwrap();
    assert_eq!(last.name, "turn.failed", "{rest:?}");
    assert_eq!(last.data["problem"]["type"].as_str().unwrap().rsplit('/').next(), Some("lease-lost"));
    let turn = installation.client(0).turn(again["turn_id"].as_str().unwrap()).await;
    assert_eq!(turn["status"], "completed");
    assert_eq!(turn["reply"]["content"], "You said: Go on.", "{turn}");
    // The host serves again.
    installation.client(0).say_in(again["conversation_id"].as_str().unwrap(), "And now?").await;
}

/// What clients saw of a load, and what they were told.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    answered: AtomicUsize,
}

/// Talks through the balancer until told to stop, one conversation for each client. Returns every acknowledged message.
async fn talk(number: usize, client: Client, load: Arc<Load>) -> (String, Vec<String>) {
    let begun = client.say(&format!("Client {number} begins.")).await;
    let conversation = begun["conversation_id"].as_str().unwrap().to_owned();
    let mut acknowledged = Vec::new();
    while !load.stop.load(Ordering::Relaxed) {
        let said = format!("Client {number}, message {}.", acknowledged.len());
        let body = json!({ "message": said, "conversation_id": conversation, "stream": number % 2 == 1 });
        if number % 2 == 1 {
            let transcript = client.chat(&body).events().await.transcript().await;
            assert_eq!(transcript.completed()["reply"]["content"], format!("You said: {said}"));
        } else {
            let reply = client.chat(&body).send().await.expect(200);
            assert_eq!(reply["reply"]["content"], format!("You said: {said}"));
        }
        acknowledged.push(said);
        load.answered.fetch_add(1, Ordering::Relaxed);
    }
    (conversation, acknowledged)
}

/// Asserts that every acknowledged message is in its conversation exactly once, each with its reply.
async fn assert_all_there(client: &Client, conversation: &str, acknowledged: &[String]) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for message in all_messages(client, conversation).await {
        *counts.entry(message["content"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for said in acknowledged {
        assert_eq!(counts.get(said), Some(&1), "{said}");
        assert_eq!(counts.get(&format!("You said: {said}")), Some(&1), "the reply to {said}");
    }
}

async fn all_messages(client: &Client, conversation: &str) -> Vec<Value> {
    let base = format!("/conversations/{conversation}/messages?limit=100");
    let (mut messages, mut path) = (Vec::new(), base.clone());
    loop {
        let page = client.get(&path).send().await.expect(200);
        messages.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { return messages };
        path = format!("{base}&after={next}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_three_hosts_fails_no_request_and_no_short_turn() {
    let mut installation = Installation::start(3).await;
    let balancer = installation.balancer().await;
    let load = Arc::new(Load::default());
    let clients: Vec<_> =
        (0..6).map(|number| tokio::spawn(talk(number, balancer.client(), Arc::clone(&load)))).collect();
    for index in 0..3 {
        let before = load.answered.load(Ordering::Relaxed);
        installation.hosts[index].terminate();
        assert!(installation.hosts[index].ended().await.success());
        installation.hosts[index].restart().await;
        balancer.replace(index, installation.hosts[index].address());
        balancer.wait_for(3).await;
        assert!(load.answered.load(Ordering::Relaxed) > before, "turns went on while host {index} was away");
    }
    load.stop.store(true, Ordering::Relaxed);
    // A request that failed has made its client panic.
    for client in join_all(clients).await {
        let (conversation, acknowledged) = client.unwrap();
        assert_all_there(&balancer.client(), &conversation, &acknowledged).await;
    }
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
    assert_eq!(last.data["problem"]["type"].as_str().unwrap().rsplit('/').next(), Some("turn-interrupted"));
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
    let mut installation = Installation::start(3).await;
    let load = Arc::new(Load::default());
    let balancer = installation.balancer().await;
    let clients: Vec<_> =
        (0..6).map(|number| tokio::spawn(insist(number, balancer.client(), Arc::clone(&load)))).collect();
    for kill in 0..kills {
        let before = load.answered.load(Ordering::Relaxed);
        masque_tests::eventually("the clients to make progress", || async {
            (load.answered.load(Ordering::Relaxed) > before + 5).then_some(())
        })
        .await;
        let index = kill % 3;
        installation.hosts[index].kill().await;
        installation.hosts[index].restart().await;
        balancer.replace(index, installation.hosts[index].address());
        balancer.wait_for(3).await;
    }
    load.stop.store(true, Ordering::Relaxed);
    for client in join_all(clients).await {
        let (conversation, acknowledged) = client.unwrap();
        assert_all_there(&balancer.client(), &conversation, &acknowledged).await;
    }
}

/// Like [`talk`], but sends a message again, with its key, until it is answered.
async fn insist(number: usize, client: Client, load: Arc<Load>) -> (String, Vec<String>) {
    let ask = async |message: &str, conversation: Option<&str>| {
        let body = json!({ "message": message, "conversation_id": conversation });
        loop {
            let sent = client.chat(&body).key(&message.replace(' ', "-")).try_send().await;
            match sent {
                Ok(reply) if reply.status == 200 => return reply.expect(200),
                // Busy while the lease of a dead host lasts, or the connection broke with its host.
                Ok(reply) => assert!(matches!(reply.status, 409 | 502 | 503), "{}", reply.text),
                Err(_broken) => {}
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let begun = ask(&format!("Client {number} begins."), None).await;
    let conversation = begun["conversation_id"].as_str().unwrap().to_owned();
    let mut acknowledged = Vec::new();
    while !load.stop.load(Ordering::Relaxed) {
        let said = format!("Client {number}, message {}.", acknowledged.len());
        let reply = ask(&said, Some(&conversation)).await;
        assert_eq!(reply["reply"]["content"], format!("You said: {said}"));
        acknowledged.push(said);
        load.answered.fetch_add(1, Ordering::Relaxed);
    }
    (conversation, acknowledged)
}
