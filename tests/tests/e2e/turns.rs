//! `GET /turns/{id}` and `POST /turns/{id}/cancel`.

use masque_tests::{Answer, Gate, MockModel, Setup, Step, eventually};
use serde_json::{Value, json};

#[tokio::test]
async fn a_completed_turn_shows_its_reply() {
    let host = Setup::defaults().start().await;
    let reply = host.client().say("Hello.").await;
    let turn = host.client().turn(reply["turn_id"].as_str().unwrap()).await;

    assert_eq!(turn["status"], "completed");
    assert_eq!(turn["turn_id"], reply["turn_id"]);
    assert_eq!(turn["conversation_id"], reply["conversation_id"]);
    for name in ["reply", "finish", "usage"] {
        assert_eq!(turn[name], reply[name], "{name}");
    }
}

#[tokio::test]
async fn a_running_turn_has_the_status_running() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let gate = Gate::new();
    model.next(Answer::held("One moment", &gate, "."));
    let mut events = host.client().stream("Hello.").await;
    let created = events.expect("turn.created").await;
    events.until_text("One moment").await;

    let turn = host.client().turn(created.data["turn_id"].as_str().unwrap()).await;

    assert_eq!(turn["status"], "running");
    gate.open();
    events.rest().await;
}

#[tokio::test]
async fn an_unknown_turn_is_not_found() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    let unknown = uuid::Uuid::now_v7();
    for path in [format!("/turns/{unknown}"), format!("/turns/{unknown}/events")] {
        client.get(&path).send().await.problem(404, "turn-not-found");
    }
    client.post(&format!("/turns/{unknown}/cancel"), &json!({})).send().await.problem(404, "turn-not-found");
}

#[tokio::test]
async fn a_cancelled_turn_keeps_its_partial_reply_and_disconnects_from_the_model() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    model.next(Answer::steps(vec![Step::Text("I was about to".to_owned()), Step::Stall]));
    let mut events = client.stream("Go on.").await;
    let created = events.expect("turn.created").await;
    events.until_text("I was about to").await;
    let turn = created.data["turn_id"].as_str().unwrap();

    let cancelled = client.post(&format!("/turns/{turn}/cancel"), &json!({})).send().await;

    assert!((200..300).contains(&cancelled.status), "{}", cancelled.text);
    model.abandoned().await;
    let last = events.rest().await.pop().unwrap();
    assert_eq!(last.name, "turn.failed", "a stream ends with an event");
    assert_interrupted(&client, turn, &created.data["conversation_id"], "I was about to").await;
}

#[tokio::test]
async fn deleting_a_conversation_disconnects_its_turn_from_the_model_and_ends_its_stream() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    model.next(Answer::steps(vec![Step::Text("I was about to".to_owned()), Step::Stall]));
    let mut events = client.stream("Go on.").await;
    let created = events.expect("turn.created").await;
    events.until_text("I was about to").await;
    let conversation = created.data["conversation_id"].as_str().unwrap();

    let deleted = client.delete(&format!("/conversations/{conversation}")).send().await;

    assert_eq!(deleted.status, 204, "{}", deleted.text);
    model.abandoned().await;
    let last = events.rest().await.pop().unwrap();
    assert_eq!(last.name, "turn.failed");
    assert!(last.data.to_string().contains("#conversation-not-found"), "{}", last.data);
    assert!(last.data.to_string().contains("was deleted"), "{}", last.data);
}

#[tokio::test]
async fn a_turn_whose_last_reader_leaves_is_cancelled() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).and("[turn]\nlinger = \"50ms\"").start().await;
    let client = host.client();
    model.next(Answer::steps(vec![Step::Text("Half a".to_owned()), Step::Stall]));
    let mut events = client.stream("Go on.").await;
    let created = events.expect("turn.created").await;
    events.until_text("Half a").await;

    drop(events);

    model.abandoned().await;
    let turn = created.data["turn_id"].as_str().unwrap();
    assert_interrupted(&client, turn, &created.data["conversation_id"], "Half a").await;
}

#[tokio::test]
async fn a_turn_goes_on_while_it_has_a_reader() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).and("[turn]\nlinger = \"50ms\"").start().await;
    let client = host.client();
    let gate = Gate::new();
    model.next(Answer::held("Both hear this,", &gate, " one hears that."));
    let mut first = client.stream("Go on.").await;
    let created = first.expect("turn.created").await;
    let path = format!("/turns/{}/events", created.data["turn_id"].as_str().unwrap());
    let mut second = client.get(&path).events().await;
    second.until_text("Both hear this,").await;

    drop(first);
    gate.open();

    assert_eq!(second.until_text("that.").await, " one hears that.");
    second.expect("turn.completed").await;
}

#[tokio::test]
async fn an_interrupted_turn_does_not_block_the_next_one() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).and("[turn]\nlinger = \"0s\"").start().await;
    let client = host.client();
    model.next(Answer::steps(vec![Step::Text("Half a".to_owned()), Step::Stall]));
    let mut events = client.stream("Go on.").await;
    let created = events.expect("turn.created").await;
    events.until_text("Half a").await;
    drop(events);

    let reply = client.say_in(created.data["conversation_id"].as_str().unwrap(), "Never mind.").await;

    assert_eq!(reply["reply"]["content"], "You said: Never mind.");
}

/// Asserts that the turn is marked interrupted, and that the conversation holds the message and the partial reply.
async fn assert_interrupted(client: &masque_tests::Client, turn: &str, conversation: &Value, said: &str) {
    let turn = eventually("the turn to be marked", || async {
        let found = client.turn(turn).await;
        (found["status"] != "running").then_some(found)
    })
    .await;
    assert_eq!(turn["status"], "interrupted");
    let messages = client.messages(conversation.as_str().unwrap()).await;
    let last = messages.last().unwrap();
    assert_eq!(
        (&last["role"], &last["status"]),
        (&json!("assistant"), &json!("interrupted")),
        "{messages:?}"
    );
    assert_eq!(last["content"], said);
    assert_eq!(messages.iter().filter(|message| message["role"] == "user").count(), 1);
}

#[tokio::test]
async fn a_question_that_is_sent_again_after_its_client_gave_up_is_once_in_the_prompt() {
    const QUESTION: &str = "When is high tide?";
    let model = MockModel::start().await;
    let host = Setup::model(&model).and("[turn]\nlinger = \"50ms\"").start().await;
    let client = host.client();
    let hello = client.say("Hello.").await;
    let conversation = hello["conversation_id"].as_str().unwrap();
    model.next(Answer::steps(vec![Step::Stall]));
    let body = json!({ "message": QUESTION, "conversation_id": conversation });
    let given_up = tokio::spawn(client.chat(&body).send());
    model.request(1).await;
    given_up.abort();
    // The model's answer is left by the first turn, so the second one begins after it.
    model.abandoned().await;

    client.say_in(conversation, QUESTION).await;

    let asked = model.request(2).await.messages();
    let count = asked.iter().filter(|(role, text)| role == "user" && text.contains(QUESTION)).count();
    assert_eq!(count, 1, "{asked:?}");
    let messages = client.messages(conversation).await;
    let sent: Vec<_> = messages
        .iter()
        .filter(|message| message["content"] == QUESTION)
        .map(|message| &message["status"])
        .collect();
    assert_eq!(sent, ["interrupted", "complete"], "{messages:?}");
}
