//! Connections that stay open after the reply.

use super::*;
use masque_sdk::testing::HttpStream;
use std::future::pending;

const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str =
    "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 9, \"completion_tokens\": 3}}\n\n";

/// The answer to chunks after which the connection stays open, with or without comments.
fn kept_open(chunks: &[&str], has_comments: bool, kind: &'static str) -> testing::Answer {
    kept_open_with(chunks, has_comments.then_some(": comment\n\n"), kind)
}

/// The answer to chunks after which the connection stays open, and `heartbeat` comes now and then.
fn kept_open_with(chunks: &[&str], heartbeat: Option<&'static str>, kind: &'static str) -> testing::Answer {
    testing::reset();
    testing::set_settings(r#"{"model": "m", "base_url": "http://127.0.0.1:9/v1"}"#);
    let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(chunk.as_bytes().to_vec())).collect();
    testing::set_transport(move |_| {
        let mut chunks = chunks.clone().into_iter();
        let body = futures::stream::unfold((), move |()| {
            let chunk = chunks.next();
            async move {
                match chunk {
                    Some(chunk) => Some((chunk, ())),
                    None if heartbeat.is_some() => {
                        masque_sdk::time::sleep(std::time::Duration::from_millis(500)).await;
                        Some((Ok(heartbeat.unwrap_or_default().as_bytes().to_vec()), ()))
                    }
                    None => pending().await,
                }
            }
        });
        async move { Ok(HttpStream::new(200, [("content-type", kind)], body)) }
    });
    testing::answer(&testing::load::<OpenAi>().unwrap(), Prompt::new([Message::user("Hi")])).unwrap()
}

#[test]
fn a_reply_ends_after_its_finish_reason_whatever_keeps_the_connection_open() {
    let whole = r#"{"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}"#;
    let table: &[(&str, &[&str], &str)] = &[
        ("no end", &[HELLO, FINISH], "Hello"),
        ("no empty line", &[HELLO, FINISH.trim_end()], "Hello"),
        ("no end after the usage", &[HELLO, FINISH, USAGE], "Hello"),
        ("more text after it", &[HELLO, FINISH, HELLO, FINISH], "HelloHello"),
        ("a whole answer", &[whole], "Hello"),
    ];
    for (name, chunks, text) in table {
        for has_comments in [false, true] {
            for kind in ["text/event-stream", "application/json"] {
                let answer = kept_open(chunks, has_comments, kind);
                assert_eq!((answer.text().as_str(), answer.finish()), (*text, Some("stop")), "{name}");
            }
        }
    }
}

#[test]
fn empty_frames_after_the_finish_reason_do_not_prolong_the_reply() {
    let empty = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\",\"tool_calls\":[]}}]}\n\n";
    let answer = kept_open_with(&[HELLO, FINISH], Some(empty), "text/event-stream");
    assert_eq!((answer.text().as_str(), answer.finish()), ("Hello", Some("stop")));
}

#[test]
fn usage_that_comes_after_the_finish_reason_is_waited_for() {
    let usage = kept_open(&[HELLO, FINISH, USAGE], true, "text/event-stream").usage().cloned().unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens), (9, 3));
}
