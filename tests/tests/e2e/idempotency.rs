//! `Idempotency-Key`: a request that is sent twice has one effect.

use masque_tests::{Answer, Gate, MockModel, Setup, Step, eventually};
use serde_json::json;

#[tokio::test]
async fn a_completed_turn_is_replayed_to_the_same_key() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    let body = json!({ "message": "Only once, please." });

    let first = client.chat(&body).key("a-key").send().await.expect(200);
    let again = client.chat(&body).key("a-key").send().await.expect(200);

    assert_eq!(again, first);
    assert_eq!(model.seen().len(), 1);
    let messages = client.messages(first["conversation_id"].as_str().unwrap()).await;
    assert_eq!(messages.iter().filter(|message| message["turn_id"] == first["turn_id"]).count(), 2);
}

#[tokio::test]
async fn a_replayed_stream_has_one_delta_between_its_first_and_its_last_event() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    model.next(Answer::pieces(&["one ", "two ", "three"]));
    let plain = client.chat(&json!({ "message": "Count." })).key("count").send().await.expect(200);

    // The digest of the body ignores `stream` and `Accept`.
    let streamed = client.chat(&json!({ "message": "Count.", "stream": true })).key("count").events().await;
    let transcript = streamed.transcript().await;

    assert_eq!(transcript.events.len(), 3, "{:?}", transcript.events);
    assert_eq!(transcript.text, "one two three");
    assert_eq!(transcript.turn_id, plain["turn_id"]);
    assert_eq!(transcript.completed()["reply"], plain["reply"]);
}

#[tokio::test]
async fn a_request_with_the_same_key_joins_the_running_turn() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    let gate = Gate::new();
    model.next(Answer::held("First half,", &gate, " second half."));
    let body = json!({ "message": "Go on.", "stream": true });
    let mut first = client.chat(&body).key("shared").events().await;
    first.until_text("First half,").await;

    let second = client.chat(&body).key("shared").events().await;
    gate.open();

    let joined = second.transcript().await;
    assert_eq!(joined.text, "First half, second half.");
    let rest = first.rest().await;
    assert_eq!(&rest.last().unwrap().data, joined.completed());
    assert_eq!(model.seen().len(), 1);
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    client.chat(&json!({ "message": "One thing." })).key("a-key").send().await.expect(200);

    let other = client.chat(&json!({ "message": "Another thing." })).key("a-key").send().await;

    other.problem(422, "idempotency-mismatch");
}

#[tokio::test]
async fn a_refused_request_does_not_use_up_its_key() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    let unknown = json!({ "message": "Hello.", "companion": "nobody" });
    client.chat(&unknown).key("a-key").send().await.problem(404, "companion-not-found");

    client.chat(&json!({ "message": "Hello." })).key("a-key").send().await.expect(200);
}

#[tokio::test]
async fn a_failed_turn_is_run_again_by_the_same_key_without_doubling_the_message() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    let body = json!({ "message": "Try this." });
    model.next(Answer::error(500, "server_error", "The server had an error."));
    client.chat(&body).key("again").send().await.problem(502, "model-unavailable");

    let reply = client.chat(&body).key("again").send().await.expect(200);

    assert_eq!(reply["reply"]["content"], "You said: Try this.");
    let turn = client.turn(reply["turn_id"].as_str().unwrap()).await;
    assert_eq!(turn["attempt"], 2);
    let messages = client.messages(reply["conversation_id"].as_str().unwrap()).await;
    assert_eq!(
        messages.iter().filter(|message| message["content"] == "Try this.").count(),
        1,
        "{messages:?}"
    );
}

#[tokio::test]
async fn a_turn_that_was_interrupted_by_a_crash_is_run_again_as_the_second_attempt() {
    let model = MockModel::start().await;
    let mut host = Setup::model(&model).start().await;
    let body = json!({ "message": "Through fire and water.", "stream": true });
    model.next(Answer::steps(vec![Step::Text("Half a".to_owned()), Step::Stall]));
    let mut events = host.client().chat(&body).key("brave").events().await;
    let created = events.expect("turn.created").await.data;
    events.until_text("Half a").await;
    let (turn, conversation) =
        (created["turn_id"].as_str().unwrap(), created["conversation_id"].as_str().unwrap());

    host.restart().await;
    let client = host.client();
    assert_eq!(client.turn(turn).await["status"], "interrupted");
    let reply = client.chat(&body).key("brave").events().await.transcript().await;

    assert_eq!(reply.turn_id, turn);
    assert_eq!(reply.conversation_id, conversation);
    assert_eq!(reply.text, "You said: Through fire and water.");
    assert_eq!(client.turn(turn).await["attempt"], 2);
    let messages = client.messages(conversation).await;
    let contents: Vec<_> = messages.iter().map(|message| message["content"].as_str().unwrap()).collect();
    let message = |text: &str| contents.iter().filter(|&&content| content == text).count();
    assert_eq!(message("Through fire and water."), 1, "{contents:?}");
    assert_eq!(message("You said: Through fire and water."), 1, "{contents:?}");
}

#[tokio::test]
async fn a_turn_with_a_key_goes_on_for_a_while_without_a_reader() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).and("[turn]\nlinger = \"0s\"\nlinger_keyed = \"1m\"").start().await;
    let client = host.client();
    let gate = Gate::new();
    model.next(Answer::held("Half a", &gate, " loaf."));
    let body = json!({ "message": "Go on.", "stream": true });
    let mut events = client.chat(&body).key("patient").events().await;
    let created = events.expect("turn.created").await;
    events.until_text("Half a").await;

    drop(events);
    gate.open();

    let turn = created.data["turn_id"].as_str().unwrap();
    let turn = eventually("the turn to end", || async {
        let found = client.turn(turn).await;
        (found["status"] != "running").then_some(found)
    })
    .await;
    assert_eq!(turn["status"], "completed");
    let again = client.chat(&body).key("patient").events().await.transcript().await;
    assert_eq!(again.text, "Half a loaf.");
    assert_eq!(model.seen().len(), 1);
}
