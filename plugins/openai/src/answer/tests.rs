//! Tests with frames and answers of real servers.

use super::*;
use crate::frames::Frames;
use masque_sdk::{ToolCall, Usage};
use serde_json::json;

/// Reads a stream of frames: all deltas and the reason of the end.
fn all(frames: &[Value]) -> Result<(Vec<Delta>, String)> {
    let mut answer = Answer::new(true);
    let mut deltas = Vec::new();
    for frame in frames {
        let data = frame.as_str().map_or_else(|| frame.to_string(), String::from);
        answer.read(Frame::Event(data), &mut deltas)?;
    }
    let (last, finish) = answer.end("", true);
    deltas.extend(last);
    Ok((deltas, finish?.reason))
}

/// Reads a body that is not a stream.
fn whole(body: &str) -> Result<(Vec<Delta>, String)> {
    let (mut answer, mut frames, mut deltas) = (Answer::new(true), Frames::default(), Vec::new());
    frames.push(body.as_bytes()).unwrap();
    frames.end().unwrap();
    while let Some(frame) = frames.next() {
        answer.read(frame, &mut deltas)?;
    }
    let (last, finish) = answer.end(frames.stray(), true);
    deltas.extend(last);
    Ok((deltas, finish?.reason))
}

fn says(text: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {"content": text}}]})
}

fn ends(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

#[test]
fn a_stream_becomes_text_usage_and_an_end() {
    let frames = [
        json!({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}], "usage": null}),
        says("Hel"),
        says("lo"),
        ends("stop"),
        json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}}),
        json!("[DONE]"),
    ];
    let usage = Usage { cached_tokens: 8, ..Usage::new(9, 2) };
    let wanted = vec![Delta::Text("Hel".into()), Delta::Text("lo".into()), Delta::Usage(usage)];
    assert_eq!(all(&frames).unwrap(), (wanted, "stop".into()));
}

#[test]
fn every_way_to_end_has_its_reason_or_failure() {
    let table = [
        (vec![says("a"), ends("stop")], Ok("stop")),
        (vec![says("a"), json!("[DONE]")], Ok("stop")),
        (vec![says("a"), ends("length")], Ok("length")),
        (vec![says("a"), ends("content_filter")], Ok("filtered")),
        (vec![says("a"), ends("tool_calls")], Ok("tool_calls")),
        (vec![says("a"), ends("function_call")], Ok("tool_calls")),
        (vec![says("a"), ends("eos")], Ok("stop")),
        (vec![says("a"), ends("error")], Err("unavailable")),
        (vec![says("a")], Err("truncated")),
        (vec![says("a"), ends("")], Err("truncated")),
        (vec![ends(""), says("a"), ends("length"), ends("")], Ok("length")),
        (vec![], Err("unavailable")),
        (vec![json!("garbage")], Err("unavailable")),
        (vec![says("a"), json!({"error": {"code": 429}})], Err("rate-limited")),
        (vec![json!({"error": {"type": "overloaded"}, "choices": []})], Err("overloaded")),
    ];
    for (frames, wanted) in table {
        let got = all(&frames).map(|(_, reason)| reason).map_err(|failure| failure.code);
        assert_eq!(got, wanted.map(String::from).map_err(String::from), "{frames:?}");
    }
}

#[test]
fn malformed_frames_are_skipped_up_to_a_limit() {
    let mut frames = vec![json!("{\"choices\": [{"), json!("{\"choices\": 5}"), says("a"), ends("stop")];
    assert_eq!(all(&frames).unwrap().0, [Delta::Text("a".into())]);
    frames.extend(std::iter::repeat_n(json!("x"), 16));
    assert_eq!(all(&frames).unwrap_err().code, "unavailable");
}

#[test]
fn reasoning_is_thinking_under_either_name_and_only_once() {
    let frame = |delta: Value| json!({"choices": [{"delta": delta}]});
    let frames = [
        frame(json!({"reasoning_content": "one"})),
        frame(json!({"reasoning": "two", "content": null})),
        frame(json!({"reasoning_content": "three", "reasoning": "three"})),
        frame(json!({"content": [{"type": "text", "text": "said"}]})),
        frame(json!({"refusal": "no"})),
        ends("stop"),
    ];
    let thought = ["one", "two", "three"].map(|text| Delta::Thinking(text.into()));
    let said = ["said", "no"].map(|text| Delta::Text(text.into()));
    assert_eq!(all(&frames).unwrap().0, thought.into_iter().chain(said).collect::<Vec<_>>());
}

#[test]
fn tool_calls_are_put_together_from_their_pieces() {
    let frame = |calls: Value| json!({"choices": [{"delta": {"tool_calls": calls}}]});
    let frames = [
        frame(
            json!([{"index": 0, "id": "c0", "type": "function", "function": {"name": "tide", "arguments": ""}}]),
        ),
        frame(json!([{"index": 1, "function": {"name": "wind", "arguments": "{}"}}])),
        frame(json!([{"index": 0, "function": {"arguments": "{\"at\":"}}])),
        frame(json!([{"index": 0, "id": "", "function": {"arguments": "\"pier\"}"}}])),
        ends("stop"),
    ];
    let call = |id: &str, name: &str, arguments: &str| Delta::ToolCall(ToolCall::new(id, name, arguments));
    let wanted = vec![call("c0", "tide", r#"{"at":"pier"}"#), call("call-1", "wind", "{}")];
    assert_eq!(all(&frames).unwrap(), (wanted, "tool_calls".into()));
}

#[test]
fn only_the_first_choice_is_read() {
    let other = json!({"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"}]});
    assert_eq!(all(&[says("a"), other]).unwrap_err().code, "truncated");
}

#[test]
fn a_whole_answer_is_read_like_a_stream() {
    let body = json!({
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi", "reasoning": "hm"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    });
    let wanted = vec![Delta::Thinking("hm".into()), Delta::Text("Hi".into()), Delta::Usage(Usage::new(1, 2))];
    assert_eq!(whole(&body.to_string()).unwrap(), (wanted, "length".into()));
}

#[test]
fn a_body_that_is_no_chat_completion_is_refused() {
    let table = [
        ("<html>", "unavailable"),
        ("{}", "unavailable"),
        (r#"{"choices": []}"#, "unavailable"),
        (r#"{"error": {"code": "rate_limit_exceeded"}}"#, "rate-limited"),
        (r#"{"choices": 1}"#, "unavailable"),
    ];
    for (body, code) in table {
        assert_eq!(whole(body).unwrap_err().code, code, "{body}");
    }
}
