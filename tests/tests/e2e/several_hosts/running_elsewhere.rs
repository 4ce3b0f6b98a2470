//! A turn that runs on another host is joined, resumed, cancelled, and waited for.

use masque_tests::{Answer, Gate, Step};
use serde_json::json;

use super::installation::Installation;

#[tokio::test]
async fn a_stream_is_resumed_at_another_host_where_it_broke_off() {
    let installation = Installation::start(2).await;
    let (here, there) = (installation.client(0), installation.client(1));
    let gates = [Gate::new(), Gate::new()];
    installation.model.next(Answer::complete(vec![
        Step::Text("one ".into()),
        Step::Wait(gates[0].clone()),
        Step::Text("two ".into()),
        Step::Wait(gates[1].clone()),
        Step::Text("three".into()),
    ]));
    let body = json!({ "message": "Count.", "stream": true });
    let mut first = here.chat(&body).key("resumed").events().await;
    let created = first.expect("turn.created").await;
    let delta = first.next().await.unwrap();
    assert_eq!(delta.data["text"], "one ");
    let turn = created.data["turn_id"].as_str().unwrap().to_owned();

    let path = format!("/turns/{turn}/events");
    let mut resumed = there.get(&path).header("last-event-id", &delta.id).events().await;
    drop(first);
    gates[0].open();
    let next = resumed.next().await.unwrap();
    assert_eq!((next.id.as_str(), &next.data["text"]), ("2", &json!("two ")));
    gates[1].open();
    let rest = resumed.rest().await;
    assert_eq!(rest[0].data["text"], "three", "{rest:?}");
    assert_eq!(rest.last().unwrap().name, "turn.completed");

    // Both hosts number the events alike, also after the end.
    let texts = |events: &[masque_tests::Event]| {
        events.iter().map(|event| (event.id.clone(), event.data["text"].clone())).collect::<Vec<_>>()
    };
    let (at_first, at_second) = (
        here.get(&path).events().await.transcript().await,
        there.get(&path).events().await.transcript().await,
    );
    assert_eq!(texts(&at_first.events), texts(&at_second.events));
    assert_eq!(at_first.completed()["reply"]["content"], "one two three");
}

#[tokio::test]
async fn a_request_with_the_same_key_joins_the_turn_that_runs_on_another_host() {
    let installation = Installation::start(2).await;
    let gate = Gate::new();
    installation.model.next(Answer::held("First half,", &gate, " second half."));
    let body = json!({ "message": "Go on.", "stream": true });
    let mut first = installation.client(0).chat(&body).key("shared").events().await;
    first.until_text("First half,").await;
    let mut second = installation.client(1).chat(&body).key("shared").events().await;
    second.until_text("First half,").await;
    gate.open();
    let (here, there) = (first.rest().await, second.rest().await);
    assert_eq!(here.last().unwrap(), there.last().unwrap());
    assert_eq!(installation.model.seen().len(), 1);
}

#[tokio::test]
async fn without_redis_a_turn_on_another_host_is_waited_for_and_replayed() {
    let installation = Installation::without_redis(2).await;
    let gate = Gate::new();
    installation.model.next(Answer::held("First half,", &gate, " second half."));
    let body = json!({ "message": "Go on.", "stream": true });
    let mut first = installation.client(0).chat(&body).key("shared").events().await;
    first.until_text("First half,").await;
    let second = tokio::spawn(installation.client(1).chat(&body).key("shared").events());
    gate.open();
    let first = first.rest().await;
    let second = second.await.unwrap().transcript().await;
    assert_eq!(second.text, "First half, second half.");
    // A replay has one delta, so its last event may have another number.
    let last = &first.last().unwrap().data;
    for member in ["turn_id", "conversation_id", "reply", "usage", "finish"] {
        assert_eq!(second.completed()[member], last[member], "{member}");
    }
    assert_eq!(installation.model.seen().len(), 1);
}

#[tokio::test]
async fn a_reader_at_another_host_keeps_a_turn_alive() {
    let installation = Installation::start(2).await;
    let gate = Gate::new();
    installation.model.next(Answer::held("First half,", &gate, " second half."));
    // Without a key a turn ends soon after its last reader has left.
    let mut first = installation.client(0).stream("Go on.").await;
    let created = first.expect("turn.created").await;
    first.until_text("First half,").await;
    let path = format!("/turns/{}/events", created.data["turn_id"].as_str().unwrap());
    let mut second = installation.client(1).get(&path).events().await;
    second.until_text("First half,").await;
    drop(first);
    // Longer than a turn without a key waits for a reader. That nothing happens can't be waited for.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    gate.open();
    assert_eq!(second.rest().await.last().unwrap().name, "turn.completed");
}

#[tokio::test]
async fn a_turn_is_cancelled_from_another_host() {
    for installation in [Installation::start(2).await, Installation::without_redis(2).await] {
        let gate = Gate::new();
        installation.model.next(Answer::held("First half,", &gate, " never."));
        let mut running = installation.client(0).stream("Go on.").await;
        let created = running.expect("turn.created").await;
        running.until_text("First half,").await;
        let turn = created.data["turn_id"].as_str().unwrap();
        let cancelled = installation
            .client(1)
            .post(&format!("/turns/{turn}/cancel"), &json!({}))
            .send()
            .await
            .expect(200);
        assert_eq!(cancelled["status"], "interrupted", "{cancelled}");
        let last = running.rest().await.pop().unwrap();
        assert_eq!(last.name, "turn.failed");
        assert_eq!(
            last.data["problem"]["type"].as_str().unwrap().rsplit(['#', '/']).next(),
            Some("turn-cancelled")
        );
        installation.model.abandoned().await;
    }
}

#[tokio::test]
async fn another_user_reaches_no_turn_through_another_host() {
    let installation = Installation::start(2).await;
    let gate = Gate::new();
    installation.model.next(Answer::held("Mine,", &gate, " all mine."));
    let mut running = installation.client(0).stream("Go on.").await;
    let created = running.expect("turn.created").await;
    running.until_text("Mine,").await;
    // The turn belongs to somebody else from here on.
    installation.query(
        "INSERT INTO users (id, tenant, issuer, subject) VALUES (gen_random_uuid(), 'default', 'local', 'other');
         UPDATE conversations SET user_id = (SELECT id FROM users WHERE subject = 'other')",
    );
    let turn = created.data["turn_id"].as_str().unwrap();
    let there = installation.client(1);
    there.get(&format!("/turns/{turn}/events")).send().await.problem(404, "turn-not-found");
    there.post(&format!("/turns/{turn}/cancel"), &json!({})).send().await.problem(404, "turn-not-found");
}
