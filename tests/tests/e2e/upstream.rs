//! Failures of model servers. Before the first content the client receives an HTTP error, afterwards an event. The
//! conversation continues with the next message.

use std::time::{Duration, SystemTime};

use masque_tests::{Answer, Client, Gate, Host, MockModel, Reply, Setup, Step, Transcript};
use serde_json::json;

/// A host that takes a silence of its model for a stall soon: short, because a test waits for it, but long enough for a busy
/// machine to deliver what the server has sent. Only for answers that stall.
const SHORT_STALL: &str = "stall_timeout_ms = 3000";

async fn host(model: &MockModel) -> Host {
    Setup::model(model).start().await
}

/// The host for this answer.
async fn host_for(answer: &Answer, model: &MockModel) -> Host {
    let settings = if answer.stalls() { SHORT_STALL } else { "" };
    Setup::model_with(model, settings).start().await
}

async fn ask(client: &Client) -> Reply {
    client.chat(&json!({ "message": "Hello." })).send().await
}

/// Asserts that the next turn succeeds and that its prompt does not contain the message of the failed turn.
async fn assert_next_turn_succeeds(host: &Host, model: &MockModel) {
    let number = model.seen().len();
    let conversation = {
        let page = host.client().get("/conversations").send().await.expect(200);
        page["items"][0]["id"].as_str().unwrap().to_owned()
    };
    let reply = host.client().say_in(&conversation, "Once more.").await;
    assert_eq!(reply["reply"]["content"], "You said: Once more.");
    let messages = model.request(number).await.messages();
    assert!(!messages.contains(&("user".to_owned(), "Hello.".to_owned())), "{messages:?}");
}

/// Asserts that this answer, which has no content, fails the turn with an HTTP error of this status and type, streamed and
/// not. Returns the error.
async fn assert_http_error(answer: Answer, status: u16, kind: &str) -> Reply {
    let model = MockModel::start().await;
    let host = host_for(&answer, &model).await;
    model.next(answer.clone());
    let plain = ask(&host.client()).await;
    plain.problem(status, kind);
    model.next(answer);
    let streamed = host.client().chat(&json!({ "message": "Hello.", "stream": true })).send().await;
    streamed.problem(status, kind);
    assert_next_turn_succeeds(&host, &model).await;
    plain
}

/// Asserts that the stream ends with a failure of this type after this answer, which has content. Returns the stream's events.
async fn assert_failure_event(answer: Answer, kind: &str) -> Transcript {
    let model = MockModel::start().await;
    let host = host_for(&answer, &model).await;
    model.next(answer);
    let transcript = host.client().stream("Hello.").await.transcript().await;
    transcript.failed(kind);
    let turn = host.client().turn(&transcript.turn_id).await;
    assert_ne!(turn["status"], "completed");
    assert_ne!(turn["status"], "running");
    host.client().say_in(&transcript.conversation_id, "Once more.").await;
    transcript
}

fn text(text: &str) -> Step {
    Step::Text(text.to_owned())
}

#[tokio::test]
async fn a_refused_connection_is_reported_as_model_unavailable() {
    let model = MockModel::refusing();
    let host = host(&model).await;
    ask(&host.client()).await.problem(502, "model-unavailable");
    host.client()
        .chat(&json!({ "message": "Hello.", "stream": true }))
        .send()
        .await
        .problem(502, "model-unavailable");
    host.client().get("/readyz").send().await.expect(200);
}

#[tokio::test]
async fn a_refused_key_is_reported_without_the_servers_message() {
    let answer = Answer::error(401, "invalid_api_key", "Incorrect API key provided: sk-abc.");
    let reply = assert_http_error(answer, 502, "model-unauthorized").await;
    assert!(!reply.text.contains("sk-abc"), "{}", reply.text);
}

#[tokio::test]
async fn a_rate_limit_is_passed_on_with_its_retry_after() {
    let answer = Answer::error(429, "rate_limit_exceeded", "Slow down.").header("retry-after", "7");
    let reply = assert_http_error(answer, 503, "model-rate-limited").await;
    assert_eq!(reply.header("retry-after"), Some("7"));
}

#[tokio::test]
async fn a_retry_after_date_is_passed_on_in_seconds() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
    let answer = Answer::error(429, "rate_limit_exceeded", "Slow down.").header("retry-after", &date);
    let reply = assert_http_error(answer, 503, "model-rate-limited").await;
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((30..=90).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_server_error_is_reported_as_model_unavailable() {
    assert_http_error(
        Answer::error(500, "server_error", "The server had an error."),
        502,
        "model-unavailable",
    )
    .await;
}

#[tokio::test]
async fn an_overloaded_server_is_reported_as_model_overloaded() {
    assert_http_error(Answer::error(503, "overloaded", "Try later."), 503, "model-overloaded").await;
}

#[tokio::test]
async fn a_request_that_the_server_refuses_is_reported_as_model_invalid() {
    let answer = Answer::error(400, "context_length_exceeded", "This model's maximum context length is 8.");
    assert_http_error(answer, 502, "model-invalid").await;
}

#[tokio::test]
async fn an_html_page_is_not_taken_for_a_reply() {
    let page = "<!doctype html><title>It works!</title>".to_owned();
    assert_http_error(Answer::body(200, "text/html", page), 502, "model-unavailable").await;
}

#[tokio::test]
async fn malformed_bytes_are_not_taken_for_a_reply() {
    let malformed = "\u{0}\u{1}data: \u{fffd}}{\n\n\n\ndata: 7\n\n".to_owned();
    assert_http_error(Answer::body(200, "text/event-stream", malformed), 502, "model-unavailable").await;
}

#[tokio::test]
async fn json_of_another_structure_is_not_taken_for_a_reply() {
    assert_http_error(
        Answer::body(200, "application/json", json!({ "ok": true }).to_string()),
        502,
        "model-unavailable",
    )
    .await;
}

#[tokio::test]
async fn a_connection_closed_without_a_response_is_reported_as_model_unavailable() {
    assert_http_error(Answer::hang_up(), 502, "model-unavailable").await;
}

#[tokio::test]
async fn a_stream_that_is_cut_before_the_first_content_is_an_http_error() {
    assert_http_error(Answer::steps(vec![Step::Cut]), 502, "model-truncated").await;
}

#[tokio::test]
async fn a_stream_that_ends_before_the_first_content_is_an_http_error() {
    assert_http_error(Answer::steps(Vec::new()), 502, "model-truncated").await;
}

#[tokio::test]
async fn a_stall_before_the_first_content_is_an_http_error() {
    assert_http_error(Answer::steps(vec![Step::Stall]), 504, "model-stalled").await;
}

#[tokio::test]
async fn a_stall_after_content_ends_the_stream_with_an_event() {
    let answer = Answer::steps(vec![text("Half a"), Step::Stall]);
    assert_eq!(assert_failure_event(answer, "model-stalled").await.text, "Half a");
}

#[tokio::test]
async fn a_stream_that_is_cut_after_content_ends_with_an_event() {
    let answer = Answer::steps(vec![text("Half a"), Step::Cut]);
    assert_eq!(assert_failure_event(answer, "model-truncated").await.text, "Half a");
}

#[tokio::test]
async fn a_stream_that_ends_without_a_finish_reason_is_not_taken_for_complete() {
    let answer = Answer::steps(vec![text("Half a")]);
    assert_eq!(assert_failure_event(answer, "model-truncated").await.text, "Half a");
}

#[tokio::test]
async fn an_error_within_the_stream_ends_it_with_an_event() {
    let error = "data: {\"error\":{\"message\":\"Overloaded.\",\"type\":\"server_error\",\"code\":500}}\n\n";
    let model = MockModel::start().await;
    let host = host(&model).await;
    let content =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Half a\"},\"finish_reason\":null}]}\n\n";
    model.next(Answer::steps(vec![Step::Bytes(content), Step::Bytes(error)]));

    let transcript = host.client().stream("Hello.").await.transcript().await;

    assert_eq!(transcript.text, "Half a");
    assert_eq!(transcript.last().name, "turn.failed");
}

#[tokio::test]
async fn malformed_frames_are_skipped() {
    let model = MockModel::start().await;
    let host = host(&model).await;
    let valid = |text: &str| {
        let delta =
            json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] });
        Step::Bytes(format!("data: {delta}\n\n").leak())
    };
    model.next(Answer::steps(vec![
        Step::Bytes(": a comment\n\n"),
        valid("Never"),
        Step::Bytes("data: {\"choices\": [{\"delta\":\n\n"),
        Step::Bytes("event: ping\ndata: {}\n\n"),
        Step::Bytes("nonsense\n\n"),
        valid(" mind."),
        Step::Bytes("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"),
        Step::Bytes("data: [DONE]\n\n"),
    ]));

    let transcript = host.client().stream("Hello.").await.transcript().await;

    assert_eq!(transcript.text, "Never mind.");
    assert_eq!(transcript.completed()["finish"], "stop");
}

#[tokio::test]
async fn frames_that_arrive_one_character_at_a_time_are_reassembled() {
    let model = MockModel::start().await;
    let host = host(&model).await;
    let delta = json!({ "choices": [{ "index": 0, "delta": { "content": "Grüße, 世界 🌍" }, "finish_reason": "stop" }] });
    let frames = format!("data: {delta}\r\n\r\ndata: [DONE]\r\n\r\n").replace("\\u", "\\u");
    let pieces = frames.chars().map(|c| Step::Bytes(String::from(c).leak())).collect();
    model.next(Answer::steps(pieces));

    let transcript = host.client().stream("Hello.").await.transcript().await;

    assert_eq!(transcript.text, "Grüße, 世界 🌍");
}

#[tokio::test]
async fn every_finish_reason_of_the_server_has_its_own_value() {
    let model = MockModel::start().await;
    let host = host(&model).await;
    for (theirs, ours) in [("stop", "stop"), ("length", "length"), ("content_filter", "filtered")] {
        for stream in [false, true] {
            model.next(Answer::steps(vec![text("So far."), Step::Finish(theirs), Step::Done]));
            let request = host.client().chat(&json!({ "message": "Hello.", "stream": stream }));
            let reply = if stream {
                request.events().await.transcript().await.completed().clone()
            } else {
                request.send().await.expect(200)
            };
            assert_eq!(reply["finish"], ours);
            assert_eq!(reply["reply"]["content"], "So far.");
        }
    }
}

#[tokio::test]
async fn a_tool_call_ends_the_turn_with_finish_tool_calls() {
    let model = MockModel::start().await;
    let host = host(&model).await;
    let call = Step::ToolCall { name: "weather", arguments: "{\"city\":\"Lyon\"}" };
    model.next(Answer::steps(vec![call, Step::Finish("tool_calls"), Step::Done]));

    let reply = host.client().say("How is the weather?").await;

    assert_eq!(reply["finish"], "tool_calls");
}

#[tokio::test]
async fn the_reasoning_of_a_model_is_not_part_of_its_reply() {
    let model = MockModel::start().await;
    let host = host(&model).await;
    let reasoning = Step::Thought("The user greets me.".to_owned());
    model.next(Answer::complete(vec![reasoning, text("Hello yourself.")]));

    let transcript = host.client().stream("Hello.").await.transcript().await;

    assert_eq!(transcript.text, "Hello yourself.");
    assert!(!format!("{:?}", transcript.events).contains("greets me"));
}

#[tokio::test]
async fn a_failure_after_the_response_headers_were_sent_is_an_event() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).and("[stream]\nhold = \"100ms\"").start().await;
    let gate = Gate::new();
    model.next(Answer::error(500, "server_error", "The server had an error.").after(&gate));

    let mut events = host.client().stream("Hello.").await;
    let mut read = vec![events.expect("turn.created").await];
    gate.open();
    read.extend(events.rest().await);

    Transcript::of(read).failed("model-unavailable");
}

#[tokio::test]
async fn a_turn_ends_at_its_time_limit_although_the_model_goes_on() {
    let model = MockModel::start().await;
    // Long enough for the first words on a busy machine.
    let host = Setup::model(&model).and("[turn]\ntimeout = \"5s\"").start().await;
    model.next(Answer::steps(vec![text("Half a"), Step::Stall]));

    let transcript = host.client().stream("Hello.").await.transcript().await;

    transcript.failed("turn-timeout");
    model.abandoned().await;
}
