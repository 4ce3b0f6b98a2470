//! Streams of events: their order and format, joining a running turn, and reading a turn again.

use masque_tests::{Answer, Gate, MockModel, Setup, Transcript};
use serde_json::json;

#[tokio::test]
async fn events_come_in_order_without_gaps_and_end_with_the_reply_object() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    model.next(Answer::pieces(&["Good ", "evening, ", "stranger."]));
    let plain = client.say("Hello.").await;
    model.next(Answer::pieces(&["Good ", "evening, ", "stranger."]));

    let transcript = client.stream("Hello.").await.transcript().await;

    assert_eq!(transcript.text, "Good evening, stranger.");
    let completed = transcript.completed();
    assert_eq!(completed["turn_id"], *transcript.turn_id);
    assert_eq!(completed["conversation_id"], *transcript.conversation_id);
    let fields = |value: &serde_json::Value| {
        let fields = value.as_object().unwrap().keys().cloned();
        fields.filter(|name| !["type", "sequence"].contains(&name.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(fields(completed), fields(&plain), "the same object as without a stream");
    for name in ["reply", "finish", "usage", "companion"] {
        assert_eq!(completed[name], plain[name], "{name}");
    }
    assert_eq!(transcript.events[0].data["companion"], "elara");
}

#[tokio::test]
async fn what_was_streamed_is_what_is_stored() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let text = "Zwölf Boxkämpfer 🥊 sagen:\n\n\t\"quer\" \\ über\r\nden  Deich. data: [DONE]\n\n";
    let pieces: Vec<String> = text.chars().map(String::from).collect();
    model.next(Answer::pieces(&pieces.iter().map(String::as_str).collect::<Vec<_>>()));

    let transcript = host.client().stream("Say something odd.").await.transcript().await;

    assert_eq!(transcript.text, text);
    assert_eq!(transcript.completed()["reply"]["content"], text);
    let messages = host.client().messages(&transcript.conversation_id).await;
    assert_eq!(messages.last().unwrap()["content"], text);
    assert_eq!(host.client().turn(&transcript.turn_id).await["reply"]["content"], text);
}

#[tokio::test]
async fn no_line_of_a_stream_is_longer_than_64_kib_and_a_long_reply_arrives_whole() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let piece = "The sea, \"wide\" and grey.\n".repeat(400);
    let long = piece.repeat(20);
    model.next(Answer::pieces(&[piece.as_str(); 20]));
    let body = json!({ "message": "Tell me everything.", "stream": true });
    let answer = host.client().chat(&body).key("long").send().await;
    assert_eq!(answer.header("cache-control"), Some("no-store, no-transform"));
    let replayed = host.client().chat(&body).key("long").send().await;
    for stream in [&answer.text, &replayed.text] {
        for line in stream.lines() {
            assert!(line.len() < 64 * 1024, "a line of {} bytes: {}…", line.len(), &line[..80]);
        }
    }
    let transcript = host.client().chat(&body).key("long").events().await.transcript().await;
    assert_eq!(transcript.text, long);
    let parts = transcript.completed()["reply"]["content"].as_array().unwrap();
    let joined: String = parts.iter().map(|part| part["text"].as_str().unwrap()).collect();
    assert_eq!(joined, long);
    // Where nothing is streamed, the text is one string.
    assert_eq!(host.client().turn(&transcript.turn_id).await["reply"]["content"], long);
    let plain = host.client().chat(&json!({ "message": "Tell me everything." })).key("long");
    assert_eq!(plain.send().await.expect(200)["reply"]["content"], long);
}

#[tokio::test]
async fn the_character_zero_is_refused_from_clients_and_left_out_of_replies() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    for (body, field) in [
        (json!({ "message": "a\0b" }), "message"),
        (json!({ "message": "hi", "metadata": { "a": ["\0"] } }), "metadata.a[0]"),
    ] {
        assert_eq!(client.chat(&body).send().await.problem(422, "invalid-request")["field"], field);
    }
    model.next(Answer::pieces(&["Good\0 ", "\0", "evening."]));
    let transcript = client.stream("Hello.").await.transcript().await;
    assert_eq!(transcript.text, "Good evening.");
    let path = format!("/conversations/{}", transcript.conversation_id);
    let titled = client.patch(&path, &json!({ "title": "\0" })).send().await;
    assert_eq!(titled.problem(422, "invalid-request")["field"], "title");
    assert_eq!(client.messages(&transcript.conversation_id).await[1]["content"], "Good evening.");
}

#[tokio::test]
async fn a_delta_reaches_the_client_while_the_model_still_writes() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let gate = Gate::new();
    model.next(Answer::held("Once upon a time", &gate, " there was an end."));

    let mut events = host.client().stream("Tell me a story.").await;
    events.expect("turn.created").await;
    assert_eq!(events.until_text("Once upon a time").await, "Once upon a time");
    gate.open();
    assert_eq!(events.until_text(" end.").await, " there was an end.");
    events.expect("turn.completed").await;
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn the_accept_header_requests_events_like_the_field() {
    let host = Setup::defaults().start().await;
    let request = host.client().chat(&json!({ "message": "Hello." })).header("accept", "text/event-stream");
    let transcript = request.events().await.transcript().await;
    transcript.completed();
}

#[tokio::test]
async fn the_field_overrides_the_accept_header() {
    let host = Setup::defaults().start().await;
    let body = json!({ "message": "Hello.", "stream": false });
    let request = host.client().chat(&body).header("accept", "application/json, text/event-stream");
    let reply = request.send().await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert!(reply.expect(200)["reply"]["content"].is_string());
}

#[tokio::test]
async fn the_head_of_a_stream_forbids_proxies_to_buffer_it() {
    let host = Setup::defaults().start().await;
    let events = host.client().stream("Hello.").await;
    assert_eq!(events.headers["cache-control"], "no-store, no-transform");
    assert_eq!(events.headers["x-accel-buffering"], "no");
    events.transcript().await;
}

#[tokio::test]
async fn comments_keep_a_silent_stream_alive() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).and("[stream]\nkeepalive = \"50ms\"").start().await;
    let gate = Gate::new();
    model.next(Answer::held("Wait", &gate, " for it."));

    let mut events = host.client().stream("Go on.").await;
    events.until_text("Wait").await;
    events.expect_comment().await;
    events.expect_comment().await;
    gate.open();
    assert_eq!(events.rest().await.last().unwrap().name, "turn.completed");
}

#[tokio::test]
async fn a_turn_can_be_read_again_from_any_event() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    model.next(Answer::pieces(&["a", "b", "c", "d"]));
    let first = client.stream("Hello.").await.transcript().await;
    let path = format!("/turns/{}/events", first.turn_id);

    let again = client.get(&path).events().await.transcript().await;
    assert_eq!(again.text, first.text);
    assert_eq!(again.completed(), first.completed());

    let after = first.events[1].id.clone();
    let rest = client.get(&path).header("last-event-id", &after).events().await.rest().await;
    assert_eq!(rest[0].id, "2");
    let mut whole = first.events[..2].to_vec();
    whole.extend(rest);
    assert_eq!(Transcript::of(whole).text, first.text);
}

#[tokio::test]
async fn resuming_after_the_last_event_is_empty_and_after_an_unknown_one_an_error() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    let whole = client.stream("Hello.").await.transcript().await;
    let path = format!("/turns/{}/events", whole.turn_id);
    let last: u64 = whole.last().id.parse().unwrap();

    let nothing = client.get(&path).header("last-event-id", &last.to_string()).send().await;
    assert_eq!((nothing.status, nothing.text.as_str()), (204, ""));
    let never = client.get(&path).header("last-event-id", &(last + 1).to_string()).send().await;
    let problem = never.problem(422, "invalid-request");
    assert_eq!(problem["field"], "Last-Event-ID");
}

#[tokio::test]
async fn a_running_turn_can_be_joined_from_its_beginning() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    let gate = Gate::new();
    model.next(Answer::held("First half,", &gate, " second half."));
    let mut events = client.stream("Hello.").await;
    let created = events.expect("turn.created").await;
    events.until_text("First half,").await;

    let path = format!("/turns/{}/events", created.data["turn_id"].as_str().unwrap());
    let joined = client.get(&path).events().await;
    gate.open();

    assert_eq!(joined.transcript().await.text, "First half, second half.");
    assert_eq!(events.until_text(" second half.").await, " second half.");
    assert_eq!(model.seen().len(), 1);
}

#[tokio::test]
async fn the_events_of_a_turn_are_gone_some_time_after_its_end_and_its_reply_is_not() {
    let host = Setup::defaults().and("[turn]\nlog_ttl = \"0s\"").start().await;
    let client = host.client();
    let reply = client.say("Hello.").await;
    let turn = reply["turn_id"].as_str().unwrap();

    let path = format!("/turns/{turn}/events");
    let gone = masque_tests::eventually("the events to go", || async {
        let answer = client.get(&path).send().await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    gone.problem(410, "events-gone");
    assert_eq!(client.turn(turn).await["reply"]["content"], reply["reply"]["content"]);
}

#[tokio::test]
async fn a_stream_over_http2_is_complete() {
    let host = Setup::defaults().start().await;
    let transcript = host.client().http2().stream("Hello.").await.transcript().await;
    assert_eq!(transcript.completed()["reply"]["content"], transcript.text);
}

#[tokio::test]
async fn the_reply_of_a_model_that_does_not_stream_is_streamed() {
    let model = MockModel::start().await;
    let host = Setup::model_with(&model, "stream = false").start().await;
    model.next(Answer::says("All at once."));

    let transcript = host.client().stream("Hello.").await.transcript().await;

    assert_eq!(transcript.text, "All at once.");
    assert_ne!(model.request(0).await.body["stream"], true);
    assert_eq!(transcript.completed()["usage"]["output_tokens"], 7);
}
