//! Plain frames, and frames that are nearly plain. In tests every plain frame is read by the tolerant reader too, and
//! [`Answer::read`] asserts that both come to the same: so do all streams of the other tests.

use super::super::*;
use super::parse;
use serde_json::json;

/// What the tolerant reader makes of the frame, in words.
pub(in super::super) fn read_tolerantly(answer: &Answer, data: &str, deltas: &[Delta]) -> String {
    let (mut answer, mut deltas) = (answer.clone(), deltas.to_vec());
    // A bare frame differs from an event by a message alone, which no plain frame has.
    answer.read_any(data, false, &mut deltas).unwrap();
    format!("{answer:?} {deltas:?}")
}

/// The names of members that mean something anywhere, and one that means nothing.
const NAMES: &[&str] = &[
    "id",
    "object",
    "created",
    "model",
    "choices",
    "usage",
    "system_fingerprint",
    "service_tier",
    "provider",
    "obfuscation",
    "index",
    "delta",
    "message",
    "text",
    "finish_reason",
    "finishReason",
    "native_finish_reason",
    "stop_reason",
    "matched_stop",
    "token_ids",
    "logprobs",
    "content",
    "role",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "thinking",
    "refusal",
    "tool_calls",
    "function_call",
    "error",
    "internalError",
    "error_code",
    "detail",
    "x_groq",
    "timings",
    "eval_count",
    "base_resp",
    "success",
    "status",
    "type",
    "event",
    "unknown",
];
/// Values of every kind, as JSON.
const VALUES: &[&str] = &[
    "null",
    "0",
    "1",
    "-1",
    "1.5",
    "1e999",
    "NaN",
    "true",
    "false",
    r#""""#,
    r#"" ""#,
    r#""word""#,
    r#""0""#,
    r#""error""#,
    r#""ERROR""#,
    r#""stop""#,
    r#""a\u00e4\n\"b""#,
    r#""half \ud83d""#,
    r#""\ude00 half""#,
    "\"private \u{10f83d}\"",
    "\"raw\ttab\"",
    "[]",
    "[[]]",
    "[1]",
    "{}",
    r#"{"message": "no"}"#,
    r#"{"content": "word"}"#,
    r#"[{"delta": {"content": "word"}}]"#,
    r#"[0, {"content": "word"}, null]"#,
    r#"[0, [null, "word"]]"#,
    r#"{"index": 1, "delta": {"content": "word"}}"#,
    r#"{"error": {"code": 429}}"#,
    r#"{"usage": {"prompt_tokens": 9, "completion_tokens": 3}}"#,
];

/// A frame with a further member of the frame, of its choice and of its delta.
fn frame([of_frame, of_choice, of_delta]: [&str; 3]) -> String {
    format!(
        r#"{{{of_frame}"id": "c1", "choices": [{{{of_choice}"index": 0, "delta": {{{of_delta}"content": "Hi"}}}}]}}"#
    )
}

/// Reads the frame between two plain ones.
fn read_between(data: &str) {
    let (mut answer, mut deltas) = (Answer::new(true), Vec::new());
    for data in [&frame([""; 3]), data, &frame([""; 3])] {
        if answer.read(Frame::Event(data.to_owned()), &mut deltas).is_err() {
            return;
        }
    }
}

#[test]
fn a_plain_frame_says_the_same_to_the_tolerant_reader_whatever_else_is_in_it() {
    for name in NAMES {
        for value in VALUES {
            let member = format!("\"{name}\": {value}, ");
            for place in 0..3 {
                let mut members = [""; 3];
                members[place] = &member;
                let with = frame(members);
                read_between(&with);
                // The member instead of the one that is there.
                let own = ["\"id\": \"c1\", ", "\"index\": 0, ", ", \"content\": \"Hi\""][place];
                read_between(&with.replacen(own, "", 1));
            }
        }
    }
}

#[test]
fn frames_of_well_known_servers_are_plain() {
    let table = [
        // OpenAI
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"gpt","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":"Hi"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"a1"}"#,
        // vLLM
        r#"{"id":"cmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Hi","reasoning_content":null},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#,
        // llama.cpp
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"Hi"}}],"created":1,"id":"chatcmpl-1","model":"m","system_fingerprint":"b1","object":"chat.completion.chunk"}"#,
        // Ollama
        r#"{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]}"#,
        // OpenRouter
        r#"{"id":"gen-1","provider":"P","model":"m","object":"chat.completion.chunk","created":1,"choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null,"native_finish_reason":null,"logprobs":null}]}"#,
        // DeepSeek
        r#"{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":"Hi","reasoning_content":null},"logprobs":null,"finish_reason":null}],"usage":null}"#,
        // SGLang
        r#"{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":null,"content":"Hi","reasoning_content":null,"tool_calls":null},"logprobs":null,"finish_reason":null,"matched_stop":null}],"usage":null}"#,
    ];
    for data in table {
        assert_eq!(parse(data).map(|frame| frame.text), Some("Hi".into()), "{data}");
        read_between(data);
    }
}

#[test]
fn a_frame_that_differs_in_its_text_alone_is_not_parsed() {
    let frame = |delta: &str| format!(r#"{{"choices": [{{"index": 1, "delta": {{{delta}}}}}], "id": "c1"}}"#);
    let says = |text: &str| frame(&format!(r#""content": "{text}""#));
    let thinks = |text: &str| frame(&format!(r#""content": null, "reasoning": "{text}""#));
    for frame in [&says as &dyn Fn(&str) -> String, &thinks] {
        let mut reader = PlainReader::default();
        let first = frame("one");
        reader.read(&first).unwrap();
        for text in ["two", "grüß 你好 🌒", " ", "}", ", "] {
            let data = frame(text);
            let wanted = parse(&data);
            assert!(wanted.is_some());
            assert_eq!(reader.last.as_ref().unwrap().read(&data), wanted, "{data}");
        }
        let quoted = [r#"a", "content": "b"#, "\\n", "\n", ""];
        let others = [
            frame("two") + " ",
            frame("two").replace("c1", "c2"),
            frame("two").replace('1', "0"),
            String::new(),
        ];
        for data in quoted.map(frame).into_iter().chain(others) {
            assert_eq!(reader.last.as_ref().unwrap().read(&data), None, "{data}");
        }
    }
}

#[test]
fn what_says_more_than_a_text_is_not_plain() {
    let choice = |choice: Value| json!({"choices": [choice]});
    let table = [
        json!({"choices": []}),
        json!([choice(json!({"delta": {}}))]),
        choice(json!({"delta": {}, "finish_reason": "stop"})),
        choice(json!({"delta": {"tool_calls": [{"index": 0}]}})),
        choice(json!({"message": {"content": "Hi"}})),
        choice(json!({"text": "Hi"})),
        json!({"choices": [{"delta": {}}], "usage": {"prompt_tokens": 1}}),
        json!({"choices": [{"delta": {}}], "object": "error"}),
        json!({"choices": [{"delta": {}}], "error": null}),
        json!({"choices": [{"delta": {}}, {"delta": {}}]}),
    ];
    for frame in table {
        assert_eq!(parse(&frame.to_string()), None, "{frame}");
    }
}
