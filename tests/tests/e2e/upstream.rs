//! Model servers that fail, in every way in which they do. Before the first content the client gets an error of HTTP,
//! after it an event; and the conversation goes on with the next message.

use std::time::{Duration, SystemTime};

use masque_tests::{Answer, Client, Gate, Host, MockModel, Reply, Setup, Step, Transcript};
use serde_json::json;

/// Short, because a test waits for it; long enough for a busy machine to deliver what was sent.
const SHORT_STALL: &str = "stall_timeout_ms = 400";

async fn host(model: &MockModel) -> Host {
    Setup::model_with(model, SHORT_STALL).start().await
}

async fn ask(client: &Client) -> Reply {
    client.chat(&json!({ "message": "Hello." })).send().await
}

/// The next turn works, and the failed one is no part of it.
async fn goes_on(host: &Host, model: &MockModel) {
    let asked = model.seen().len();
    let conversation = {
        let page = host.client().get("/conversations").send().await.expect(200);
        page["items"][0]["id"].as_str().unwrap().to_owned()
    };
    let reply = host.client().say_in(&conversation, "Once more.").await;
    assert_eq!(reply["reply"]["content"], "You said: Once more.");
    let messages = model.request(asked).await.messages();
    assert!(!messages.contains(&("user".to_owned(), "Hello.".to_owned())), "{messages:?}");
}

/// What the client gets for this answer before the first content, with a stream and without.
async fn fails_with(answer: Answer, status: u16, kind: &str) -> Reply {
    let model = MockModel::start().await;
    let host = host(&model).await;
    model.next(answer.clone());
    let plain = ask(&host.client()).await;
    plain.problem(status, kind);
    model.next(answer);
    let streamed = host.client().chat(&json!({ "message": "Hello.", "stream": true })).send().await;
    streamed.problem(status, kind);
    goes_on(&host, &model).await;
    plain
}

/// How the stream ends after this answer, which has content.
async fn breaks_with(answer: Answer, kind: &str) -> Transcript {
    let model = MockModel::start().await;
    let host = host(&model).await;
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
async fn a_refused_connection_is_a_model_that_is_unavailable() {
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
async fn a_refused_key_is_told_without_the_servers_words() {
    let answer = Answer::error(401, "invalid_api_key", "Incorrect API key provided: sk-abc.");
    let reply = fails_with(answer, 502, "model-unauthorized").await;
    assert!(!reply.text.contains("sk-abc"), "{}", reply.text);
}

#[tokio::test]
async fn a_rate_limit_is_passed_on_with_its_seconds() {
    let answer = Answer::error(429, "rate_limit_exceeded", "Slow down.").header("retry-after", "7");
    let reply = fails_with(answer, 503, "model-rate-limited").await;
    assert_eq!(reply.header("retry-after"), Some("7"));
}

#[tokio::test]
async fn a_rate_limit_until_a_date_is_passed_on_in_seconds() {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(90));
    let answer = Answer::error(429, "rate_limit_exceeded", "Slow down.").header("retry-after", &date);
    let reply = fails_with(answer, 503, "model-rate-limited").await;
    let seconds: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((30..=90).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn an_error_of_the_server_is_a_model_that_is_unavailable() {
    fails_with(Answer::error(500, "server_error", "The server had an error."), 502, "model-unavailable")
        .await;
}

#[tokio::test]
async fn a_server_without_room_is_overloaded() {
    fails_with(Answer::error(503, "overloaded", "Try later."), 503, "model-overloaded").await;
}

#[tokio::test]
async fn a_refused_request_is_not_the_clients_fault() {
    let answer = Answer::error(400, "context_length_exceeded", "This model's maximum context length is 8.");
    fails_with(answer, 502, "model-invalid").await;
}

#[tokio::test]
async fn a_page_of_html_is_no_answer() {
    let page = "<!doctype html><title>It works!</title>".to_owned();
    fails_with(Answer::body(200, "text/html", page), 502, "model-unavailable").await;
}

#[tokio::test]
async fn garbage_is_no_answer() {
    let garbage = "\u{0}\u{1}data: \u{fffd}}{\n\n\n\ndata: 7\n\n".to_owned();
    fails_with(Answer::body(200, "text/event-stream", garbage), 502, "model-unavailable").await;
}

#[tokio::test]
async fn json_of_another_shape_is_no_answer() {
    fails_with(
        Answer::body(200, "application/json", json!({ "ok": true }).to_string()),
        502,
        "model-unavailable",
    )
    .await;
}

#[tokio::test]
async fn a_connection_that_is_closed_unanswered_is_a_model_that_is_unavailable() {
    fails_with(Answer::hang_up(), 502, "model-unavailable").await;
}

#[tokio::test]
async fn a_stream_that_is_cut_before_the_first_content_is_an_error_of_http() {
    fails_with(Answer::steps(vec![Step::Cut]), 502, "model-truncated").await;
}

#[tokio::test]
async fn a_stream_that_ends_before_the_first_content_is_an_error_of_http() {
    fails_with(Answer::steps(Vec::new()), 502, "model-truncated").await;
}

#[tokio::test]
async fn silence_before_the_first_content_is_noticed() {
    fails_with(Answer::steps(vec![Step::Stall]), 504, "model-stalled").await;
}

#[tokio::test]
async fn silence_between_two_frames_is_noticed() {
    let answer = Answer::steps(vec![text("Half a"), Step::Stall]);
    assert_eq!(breaks_with(answer, "model-stalled").await.text, "Half a");
}

#[tokio::test]
async fn a_stream_that_is_cut_after_content_ends_with_an_event() {
    let answer = Answer::steps(vec![text("Half a"), Step::Cut]);
    assert_eq!(breaks_with(answer, "model-truncated").await.text, "Half a");
}

#[tokio::test]
async fn a_stream_that_ends_without_a_reason_is_not_taken_for_complete() {
    let answer = Answer::steps(vec![text("Half a")]);
    assert_eq!(breaks_with(answer, "model-truncated").await.text, "Half a");
}

#[tokio::test]
async fn an_error_within_the_stream_ends_with_an_event() {
    let frame = "data: {\"error\":{\"message\":\"Overloaded.\",\"type\":\"server_error\",\"code\":500}}\n\n";
    let model = MockModel::start().await;
    let host = host(&model).await;
    let opening =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Half a\"},\"finish_reason\":null}]}\n\n";
    model.next(Answer::steps(vec![Step::Bytes(opening), Step::Bytes(frame)]));

    let transcript = host.client().stream("Hello.").await.transcript().await;

    assert_eq!(transcript.text, "Half a");
    assert_eq!(transcript.last().name, "turn.failed");
}

#[tokio::test]
async fn malformed_frames_are_passed_over() {
    let model = MockModel::start().await;
    let host = host(&model).await;
    let good = |text: &str| {
        let delta =
            json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] });
        Step::Bytes(format!("data: {delta}\n\n").leak())
    };
    model.next(Answer::steps(vec![
        Step::Bytes(": a comment\n\n"),
        good("Never"),
        Step::Bytes("data: {\"choices\": [{\"delta\":\n\n"),
        Step::Bytes("event: ping\ndata: {}\n\n"),
        Step::Bytes("nonsense\n\n"),
        good(" mind."),
        Step::Bytes("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"),
        Step::Bytes("data: [DONE]\n\n"),
    ]));

    let transcript = host.client().stream("Hello.").await.transcript().await;

    assert_eq!(transcript.text, "Never mind.");
    assert_eq!(transcript.completed()["finish"], "stop");
}

#[tokio::test]
async fn frames_that_arrive_in_splinters_are_put_together() {
    let model = MockModel::start().await;
    let host = host(&model).await;
    let delta = json!({ "choices": [{ "index": 0, "delta": { "content": "Grüße, 世界 🌍" }, "finish_reason": "stop" }] });
    let frames = format!("data: {delta}\r\n\r\ndata: [DONE]\r\n\r\n").replace("\\u", "\\u");
    let splinters = frames.chars().map(|c| Step::Bytes(String::from(c).leak())).collect();
    model.next(Answer::steps(splinters));

    let transcript = host.client().stream("Hello.").await.transcript().await;

    assert_eq!(transcript.text, "Grüße, 世界 🌍");
}

#[tokio::test]
async fn every_reason_to_stop_has_its_name() {
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
async fn a_call_of_a_tool_ends_the_turn_as_one() {
    let model = MockModel::start().await;
    let host = host(&model).await;
    let call = Step::ToolCall { name: "weather", arguments: "{\"city\":\"Lyon\"}" };
    model.next(Answer::steps(vec![call, Step::Finish("tool_calls"), Step::Done]));

    let reply = host.client().say("How is the weather?").await;

    assert_eq!(reply["finish"], "tool_calls");
}

#[tokio::test]
async fn what_a_model_thinks_is_no_part_of_its_reply() {
    let model = MockModel::start().await;
    let host = host(&model).await;
    let thought = Step::Thought("The user greets me.".to_owned());
    model.next(Answer::complete(vec![thought, text("Hello yourself.")]));

    let transcript = host.client().stream("Hello.").await.transcript().await;

    assert_eq!(transcript.text, "Hello yourself.");
    assert!(!format!("{:?}", transcript.events).contains("greets me"));
}

#[tokio::test]
async fn once_the_head_has_gone_out_a_late_failure_is_an_event() {
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
    let host = Setup::model(&model).and("[turn]\ntimeout = \"500ms\"").start().await;
    model.next(Answer::steps(vec![text("Half a"), Step::Stall]));

    let transcript = host.client().stream("Hello.").await.transcript().await;

    transcript.failed("turn-timeout");
    model.abandoned().await;
}
