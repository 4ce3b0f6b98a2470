//! Tests of the whole plugin with responses of real servers.

mod endings;
mod odd_failures;
mod odd_streams;
mod reference;
mod refused_requests;

use super::*;
use masque_sdk::testing::{self, HttpResponse};
use masque_sdk::{Delta, Message};
use serde_json::Value;

const HELLO: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n";
const END: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

fn events() -> HttpResponse {
    HttpResponse::new(200).header("content-type", "text/event-stream; charset=utf-8")
}

fn answer(response: HttpResponse) -> Result<testing::Answer> {
    answer_with(response, r#"{"model": "m", "base_url": "http://127.0.0.1:9/v1"}"#)
}

fn answer_with(response: HttpResponse, settings: &str) -> Result<testing::Answer> {
    testing::reset();
    testing::set_settings(settings);
    testing::respond(response);
    testing::answer(&testing::load::<OpenAi>().unwrap(), Prompt::new([Message::user("Hi")]))
}

#[test]
fn a_streamed_reply_arrives_in_order_wherever_it_is_cut() {
    let whole = format!(": ping\n\n{HELLO}{}{END}", HELLO.replace("Hello", " wörld"));
    for size in [1, 7, 64, whole.len()] {
        let response = whole.as_bytes().chunks(size).fold(events(), |response, chunk| response.chunk(chunk));
        let answer = answer(response).unwrap();
        assert_eq!((answer.text().as_str(), answer.finish()), ("Hello wörld", Some("stop")));
    }
}

#[test]
fn the_request_asks_for_a_stream_and_names_no_key() {
    answer(events().chunk(HELLO).chunk(END)).unwrap();
    let request = &testing::requests()[0];
    assert_eq!(
        (request.method.as_str(), request.url.as_str()),
        ("POST", "http://127.0.0.1:9/v1/chat/completions")
    );
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body["stream"], true);
    assert!(!request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")));
}

#[test]
fn a_reply_may_come_whole() {
    let body = r#"{"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}"#;
    let response = || HttpResponse::new(200).header("content-type", "application/json").chunk(body);
    for settings in [r#"{"model": "m", "stream": false}"#, r#"{"model": "m"}"#] {
        let answer = answer_with(response(), settings).unwrap();
        assert_eq!((answer.text().as_str(), answer.finish()), ("Hi", Some("stop")));
        assert_eq!(answer.usage().map(|usage| usage.input_tokens), Some(3));
    }
}

#[test]
fn a_response_without_a_content_type_has_the_requested_format() {
    let whole = HttpResponse::new(200)
        .chunk(r#"{"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}"#);
    assert_eq!(answer_with(whole, r#"{"model": "m", "stream": false}"#).unwrap().text(), "Hi");
    let streamed = HttpResponse::new(200).chunk(HELLO).chunk(END);
    assert_eq!(answer(streamed).unwrap().text(), "Hello");
}

#[test]
fn a_failure_before_the_first_text_fails_the_call() {
    let stalled = || Error::Stalled("30 s".into());
    let table = [
        ("refused", HttpResponse::failing(Error::Unreachable("refused".into())), "unavailable"),
        ("denied", HttpResponse::failing(Error::Denied("no grant".into())), "denied"),
        ("slow", HttpResponse::failing(Error::Timeout("60 s".into())), "timeout"),
        ("401", HttpResponse::new(401).chunk("{}"), "unauthorized"),
        ("500", HttpResponse::new(500).chunk("oh no"), "unavailable"),
        ("silent", events().broken(stalled()), "stalled"),
        ("role, then silent", events().chunk(HELLO.replace("Hello", "")).broken(stalled()), "stalled"),
        ("empty", events(), "unavailable"),
        ("cut", events().chunk(HELLO.replace("Hello", "")), "truncated"),
        ("html", HttpResponse::new(200).header("content-type", "text/html").chunk("<html>"), "unavailable"),
        (
            "an error as html",
            HttpResponse::new(200).header("content-type", "text/html").chunk("{\"error\": {\"code\": 429}}"),
            "rate-limited",
        ),
        (
            "a long page",
            HttpResponse::new(200).chunk("<p>\n".repeat(10_000)).broken(stalled()),
            "unavailable",
        ),
        ("garbage", HttpResponse::new(200).chunk("what?\n\nno!\n\n"), "unavailable"),
        ("an error", events().chunk("data: {\"error\": {\"code\": 429}}\n\n"), "rate-limited"),
        (
            "an error event",
            events().chunk("event: error\ndata: {\"type\": \"overloaded_error\"}\n\n"),
            "overloaded",
        ),
        ("an error in words", events().chunk("event: error\ndata: out of memory\n\n"), "unavailable"),
        (
            "json error",
            HttpResponse::new(200).header("content-type", "application/json").chunk("{\"error\": 1}"),
            "unavailable",
        ),
    ];
    for (name, response, code) in table {
        assert_eq!(answer(response).err().map(|failure| failure.code).as_deref(), Some(code), "{name}");
    }
}

#[test]
fn a_failure_after_the_first_text_ends_the_reply() {
    let table = [
        ("stalled", events().chunk(HELLO).broken(Error::Stalled("30 s".into())), "stalled"),
        ("cut", events().chunk(HELLO).broken(Error::Cut("reset".into())), "truncated"),
        ("ended", events().chunk(HELLO), "truncated"),
        (
            "an error",
            events().chunk(format!("{HELLO}data: {{\"error\": {{\"code\": 503}}}}\n\n")),
            "overloaded",
        ),
    ];
    for (name, response, code) in table {
        let answer = answer(response).unwrap();
        assert_eq!(answer.text(), "Hello", "{name}");
        assert_eq!(answer.failure().map(|failure| failure.code.as_str()), Some(code), "{name}");
        assert!(matches!(answer.deltas.last(), Some(Delta::Failed(_))), "{name}");
    }
}

#[test]
fn a_connection_error_after_the_end_is_ignored() {
    let end = END.replace("data: [DONE]\n\n", "");
    let answer = answer(events().chunk(HELLO).chunk(end).broken(Error::Cut("reset".into()))).unwrap();
    assert_eq!(answer.finish(), Some("stop"));
}

#[test]
fn events_after_the_end_are_ignored() {
    let after = HELLO.replace("Hello", ", and more");
    let together = answer(events().chunk(format!("{HELLO}{END}{after}"))).unwrap();
    let apart = answer(events().chunk(HELLO).chunk(END).chunk(after)).unwrap();
    assert_eq!((together.text().as_str(), together.finish()), ("Hello", Some("stop")));
    assert_eq!(together, apart);
}

#[test]
fn an_empty_finish_reason_on_every_frame_is_no_end() {
    let frame = |text: &str| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":\"\"}}],\"usage\":{{}}}}\n\n"
        )
    };
    let answer =
        answer(events().chunk(frame("Hel")).chunk(frame("lo")).broken(Error::Cut("reset".into()))).unwrap();
    assert_eq!((answer.text().as_str(), answer.finish()), ("Hello", None));
    assert_eq!(answer.failure().map(|failure| failure.code.as_str()), Some("truncated"));
}

#[test]
fn the_retry_time_of_a_busy_endpoint_is_passed_on() {
    let failure = answer(HttpResponse::new(429).header("Retry-After", "7").chunk("{}")).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retry_after_ms), ("rate-limited", Some(7_000)));
}

#[test]
fn malformed_frames_are_skipped_with_one_line_in_the_log() {
    testing::capture_logs();
    let answer = answer(events().chunk(format!("data: {{\n\ndata: x\n\n{HELLO}{END}"))).unwrap();
    assert_eq!(answer.text(), "Hello");
    assert_eq!(testing::logged().iter().filter(|line| line.message.contains("malformed")).count(), 1);
}

#[test]
fn no_word_of_a_reply_that_could_not_be_read_is_logged_or_in_a_failure() {
    const SAID: &str = "my secret plan";
    let bodies = [
        format!("{HELLO}data: {{\"choices\": [{{\"delta\": {{\"content\": {SAID}}}\n\n{END}"),
        format!("{HELLO}data: {SAID}\n\n"),
        format!("{HELLO}{SAID}\n"),
        format!("data: {{\"response\": \"{SAID}\"}}\n\n"),
        format!("{{\"response\": \"{SAID}\"}}"),
        format!("{SAID}\n"),
        format!("<html><p>{SAID}</p>"),
        format!("{HELLO}{}", format!("data: {SAID}\n\n").repeat(16)),
    ];
    for body in bodies {
        testing::capture_logs();
        let failure = match answer(events().chunk(body.as_str())) {
            Ok(answer) => answer.failure().map(|failure| failure.message.clone()),
            Err(failure) => Some(failure.message),
        };
        let written = format!("{failure:?} {:?}", testing::logged());
        assert!(!written.contains("secret"), "{body}: {written}");
    }
}

#[test]
fn the_words_of_a_refusal_are_not_logged_when_the_request_is_sent_again() {
    testing::reset();
    testing::capture_logs();
    testing::set_settings(r#"{"model": "m", "base_url": "http://127.0.0.1:9/v1", "temperature": 1}"#);
    let refusal = r#"{"error": {"message": "Unsupported parameter: 'temperature' in: my secret plan", "param": "temperature"}}"#;
    testing::respond(HttpResponse::new(400).chunk(refusal));
    testing::respond(events().chunk(HELLO).chunk(END));
    testing::answer(&testing::load::<OpenAi>().unwrap(), Prompt::new([Message::user("Hi")])).unwrap();
    let written = format!("{:?}", testing::logged());
    assert!(written.contains("temperature") && !written.contains("secret"), "{written}");
}

#[test]
fn an_endless_line_is_refused() {
    let long = "data: ".to_string() + &"x".repeat(2 * 1024 * 1024);
    assert_eq!(answer(events().chunk(long)).unwrap_err().code, "unavailable");
}
