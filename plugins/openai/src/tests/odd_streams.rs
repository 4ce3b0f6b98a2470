//! Streams that servers really send and that are odd in one way each: what is said, thought and counted, and how it ends.

use super::*;
use masque_sdk::Usage;

/// What a stream comes to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) said: String,
    pub(super) thought: String,
    /// Each as `id name arguments`.
    pub(super) calls: Vec<String>,
    /// The finish reason, or the code of the failure.
    pub(super) end: String,
    pub(super) tokens: Option<(u64, u64)>,
}

/// The outcome, and the failure's message.
pub(super) fn outcome(response: HttpResponse) -> (Outcome, String) {
    let answer = match answer(response) {
        Ok(answer) => answer,
        Err(failure) => return (Outcome { end: failure.code, ..Outcome::default() }, failure.message),
    };
    let mut outcome = Outcome { said: answer.text(), ..Outcome::default() };
    for delta in &answer.deltas {
        match delta {
            Delta::Thinking(text) => outcome.thought.push_str(text),
            Delta::ToolCall(call) => {
                outcome.calls.push(format!("{} {} {}", call.id, call.name, call.arguments));
            }
            _ => {}
        }
    }
    let counts = |usage: &Usage| (usage.input_tokens, usage.output_tokens);
    outcome.tokens = answer.usage().map(counts);
    let failure = answer.failure();
    outcome.end = failure.map(|failure| failure.code.clone()).or(answer.finish().map(String::from)).unwrap();
    (outcome, failure.map(|failure| failure.message.clone()).unwrap_or_default())
}

pub(super) fn said(text: &str, end: &str) -> Outcome {
    Outcome { said: text.into(), end: end.into(), ..Outcome::default() }
}

/// A frame with this text.
pub(super) fn says(text: &str) -> String {
    frame(&format!(r#"{{"index": 0, "delta": {{"content": "{text}"}}, "finish_reason": null}}"#))
}

pub(super) fn frame(choice: &str) -> String {
    format!("data: {{\"choices\": [{choice}]}}\n\n")
}

pub(super) fn ends(reason: &str) -> String {
    frame(&format!(r#"{{"index": 0, "delta": {{}}, "finish_reason": {reason}}}"#))
}

pub(super) const DONE: &str = "data: [DONE]\n\n";

/// Asserts the outcomes, each stream in one chunk and in chunks of a few bytes.
fn assert_outcomes(table: Vec<(&str, String, Outcome)>) {
    for (name, body, wanted) in table {
        for size in [body.len(), 1, 13] {
            let response =
                body.as_bytes().chunks(size).fold(events(), |response, chunk| response.chunk(chunk));
            assert_eq!(outcome(response).0, wanted, "{name}, in chunks of {size} bytes");
        }
    }
}

#[test]
fn an_odd_member_costs_itself_and_nothing_beside_it() {
    let stop = || ends("\"stop\"");
    let delta = |delta: &str| frame(&format!(r#"{{"index": 0, "delta": {delta}}}"#));
    assert_outcomes(vec![
        (
            "right",
            format!(": hm\n\n{}{}{}{DONE}", says("Grüß "), says("dich"), stop()),
            said("Grüß dich", "stop"),
        ),
        (
            "a null index",
            frame(r#"{"index": null, "delta": {"content": "Hi."}}"#)
                + &frame(r#"{"index": null, "delta": {}, "finish_reason": "stop"}"#),
            said("Hi.", "stop"),
        ),
        (
            "an index as text",
            frame(r#"{"index": "0", "delta": {"content": "Hi."}, "finish_reason": "stop"}"#),
            said("Hi.", "stop"),
        ),
        (
            "every index 1",
            frame(r#"{"index": 1, "delta": {"content": "Hi."}, "finish_reason": "stop"}"#),
            said("Hi.", "stop"),
        ),
        ("a number", says("I am ") + &delta(r#"{"content": 6}"#) + &says(".") + &stop(), said("I am 6.", "stop")),
        ("a float", delta(r#"{"content": 1.5}"#) + &stop(), said("1.5", "stop")),
        (
            "parts",
            delta(r#"{"content": ["Hi, ", {"type": "text", "text": "Ida"}, {"type": "text", "text": {"value": "."}}]}"#)
                + &stop(),
            said("Hi, Ida.", "stop"),
        ),
        ("one part", delta(r#"{"content": {"type": "text", "text": "Hi."}}"#) + &stop(), said("Hi.", "stop")),
        ("a text for a delta", delta(r#""Hi.""#) + &stop(), said("Hi.", "stop")),
        ("text in the choice", frame(r#"{"text": "Hi.", "finish_reason": "stop"}"#), said("Hi.", "stop")),
        (
            "odd members beside it",
            delta(r#"{"content": "Hi.", "tool_calls": 7, "role": 3, "reasoning": false, "refusal": {}}"#) + &stop(),
            said("Hi.", "stop"),
        ),
        (
            "odd members of the frame",
            r#"data: {"choices": [{"delta": {"content": "Hi."}, "logprobs": "x"}], "usage": "none", "error": null, "created": 1.5e3, "id": 7}"#
                .to_owned()
                + "\n\n"
                + &stop(),
            said("Hi.", "stop"),
        ),
        ("a lone surrogate", says(r"Hi \ud83d.") + &stop(), said("Hi \u{fffd}.", "stop")),
        ("a character in two deltas", says(r"Hi \ud83d") + &says(r"\ude00.") + &stop(), said("Hi 😀.", "stop")),
        (
            "a character in two deltas, with empty ones between",
            says(r"Hi \ud83d") + &says("") + ": hm\n\n" + &says(r"\ude00.") + &stop(),
            said("Hi 😀.", "stop"),
        ),
        ("half a character and text", says(r"Hi \ud83d") + &says("you.") + &stop(), said("Hi \u{fffd}you.", "stop")),
        ("half a character at the end", says(r"Hi \ud83d") + &stop(), said("Hi \u{fffd}", "stop")),
        ("half a character and a cut", says(r"Hi \ud83d"), said("Hi \u{fffd}", "truncated")),
        (
            "a private-use character",
            says("Hi \u{10f83d}") + &says("\u{10fe00}") + &says(r"\ud83d!") + &stop(),
            said("Hi \u{10f83d}\u{10fe00}\u{fffd}!", "stop"),
        ),
        (
            "half a character of each kind",
            delta(r#"{"content": "a\ud83d", "reasoning": "b\ud83d"}"#)
                + &delta(r#"{"content": "\ude00", "reasoning": "\ude01"}"#)
                + &stop(),
            Outcome { thought: "b😁".into(), ..said("a😀", "stop") },
        ),
        (
            "an empty finish reason in the delta",
            says("ha") + &says("ha") + &delta(r#"{"content": "haha", "finish_reason": null}"#) + &stop(),
            said("hahahaha", "stop"),
        ),
        (
            "a later null index",
            frame(r#"{"index": 1, "delta": {"content": "Hi, "}}"#)
                + &frame(r#"{"index": null, "delta": {"content": "Ida."}, "finish_reason": "stop"}"#),
            said("Hi, Ida.", "stop"),
        ),
        (
            "text beside an empty delta",
            frame(r#"{"delta": {}, "text": "Hi."}"#) + &stop(),
            said("Hi.", "stop"),
        ),
        (
            "codes of success",
            frame(r#"{"delta": {"content": "Hi."}}"#).replace(
                "data: {",
                r#"data: {"errcode": "0", "errmsg": "ok", "error": "none", "status": "success", "#,
            ) + &stop(),
            said("Hi.", "stop"),
        ),
        (
            "a filter's error beside the text",
            frame(r#"{"delta": {"content": "Hi."}, "content_filter_results": {"error": {"code": "content_filter_error", "message": "not filtered"}}}"#)
                + &stop(),
            said("Hi.", "stop"),
        ),
        ("something behind a frame", says("Hi.").replace("\n\n", ",\n\n") + &stop(), said("Hi.", "stop")),
        (
            "another choice with an empty list of calls",
            says("I would ra") + &frame(r#"{"index": 1, "delta": {"tool_calls": []}, "finish_reason": "stop"}"#),
            said("I would ra", "truncated"),
        ),
        (
            "usage in every frame",
            (1..=3)
                .map(|n| format!("data: {{\"choices\": [{{\"delta\": {{\"content\": \"{n}\"}}}}], \"usage\": {{\"prompt_tokens\": 9, \"completion_tokens\": {n}}}}}\n\n"))
                .collect::<String>()
                + &stop(),
            Outcome { tokens: Some((9, 3)), ..said("123", "stop") },
        ),
        ("no number", frame(r#"{"delta": {"content": "Hi."}, "logprob": NaN}"#) + &stop(), said("Hi.", "stop")),
        (
            "repeated names",
            frame(r#"{"delta": {"content": "Hi.", "content": null}, "index": 0, "index": 0}"#) + &stop(),
            said("Hi.", "stop"),
        ),
        ("a single choice", "data: {\"choices\": {\"delta\": {\"content\": \"Hi.\"}, \"finish_reason\": \"stop\"}}\n\n".into(), said("Hi.", "stop")),
        ("a list of frames", "data: [{\"choices\": [{\"delta\": {\"content\": \"Hi.\"}}]}, {\"choices\": [{\"finish_reason\": \"stop\"}]}]\n\n".into(), said("Hi.", "stop")),
        (
            "a final message",
            says("Hi, ") + &says("Ida.") + &frame(r#"{"finish_reason": "stop", "message": {"content": "Hi, Ida."}}"#),
            said("Hi, Ida.", "stop"),
        ),
        (
            "a final message beside an empty delta",
            says("Hi, ")
                + &says("Ida.")
                + &frame(r#"{"delta": {}, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi, Ida."}}"#),
            said("Hi, Ida.", "stop"),
        ),
        (
            "messages in place of deltas",
            frame(r#"{"message": {"content": "Hi, "}}"#)
                + &frame(r#"{"message": {"content": "Ida."}, "finish_reason": "stop"}"#),
            said("Hi, Ida.", "stop"),
        ),
        (
            "text after the finish reason",
            says("Hi") + &stop() + &says(", Ida.") + "data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 9.0, \"completion_tokens\": 3}}\n\n" + DONE,
            Outcome { tokens: Some((9, 3)), ..said("Hi, Ida.", "stop") },
        ),
        (
            "usage in the choice",
            frame(r#"{"delta": {"content": "Hi."}, "finish_reason": "stop", "usage": {"prompt_tokens": 9, "completion_tokens": 3}}"#),
            Outcome { tokens: Some((9, 3)), ..said("Hi.", "stop") },
        ),
    ]);
}

#[test]
fn every_framing_is_read() {
    let stop = || ends("\"stop\"");
    let plain = |text: String| text.replace("\n\n", "\n");
    assert_outcomes(vec![
        ("single newlines", plain(says("Hi, ") + &says("Ida.") + &stop() + DONE), said("Hi, Ida.", "stop")),
        ("carriage returns", (says("Hi.") + &stop()).replace('\n', "\r"), said("Hi.", "stop")),
        ("a quoted end", says("Hi.") + "data: \"[DONE]\" \n\n" + &says("more"), said("Hi.", "stop")),
        (
            "words that keep the connection open",
            "data: ping\n\n".repeat(20) + &says("Hi.") + &stop(),
            said("Hi.", "stop"),
        ),
        (
            "packed comments",
            "data: : OPENROUTER PROCESSING\n\n".repeat(20) + &says("Hi.") + &stop(),
            said("Hi.", "stop"),
        ),
        ("no last newline", (says("Hi.") + &stop()).trim_end().into(), said("Hi.", "stop")),
        ("twice packed", (says("Hi.") + &stop()).replace("data: ", "data: data: "), said("Hi.", "stop")),
        (
            "a line for each frame",
            (says("Hi.") + &stop()).replace("data: ", "").replace("\n\n", "\n"),
            said("Hi.", "stop"),
        ),
        (
            "empty events",
            format!(
                "{}{}{}{}",
                says("Hi."),
                "data:\n\ndata: \n\nevent: ping\ndata: {}\n\n".repeat(20),
                stop(),
                DONE
            ),
            said("Hi.", "stop"),
        ),
        (
            "blank lines, then a whole answer",
            "\n".repeat(40)
                + r#"{"choices": [{"index": 0, "message": {"content": "Hi."}, "finish_reason": "stop"}]}"#,
            said("Hi.", "stop"),
        ),
        (
            "a pretty-printed answer",
            "{\n  \"choices\": [\n    {\n\n      \"message\": {\"content\": \"Hi.\"}\n    }\n  ]\n}\n".into(),
            said("Hi.", "stop"),
        ),
    ]);
    let long = "x".repeat(2 * 1024 * 1024);
    assert_eq!(outcome(events().chunk(says(&long) + &stop())).0, said(&long, "stop"));
    let (outcome, message) = outcome(events().chunk(says("Hi.")).chunk("x".repeat(5 * 1024 * 1024)));
    assert_eq!(outcome, said("Hi.", "unavailable"));
    assert!(message.contains("longer than 4194304 bytes"), "{message}");
}

#[test]
fn a_stream_that_was_not_requested_is_read_whatever_its_type_says() {
    let stream = says("Hi.") + &ends("\"stop\"");
    for kind in [
        "text/event-stream",
        "application/json",
        "text/plain",
        "application/x-ndjson",
        "text/html; charset=utf-8",
    ] {
        let response = HttpResponse::new(200).header("content-type", kind).chunk(stream.as_str());
        let answer = answer_with(response, r#"{"model": "m", "stream": false}"#).unwrap();
        assert_eq!((answer.text().as_str(), answer.finish()), ("Hi.", Some("stop")), "{kind}");
    }
}

#[test]
fn a_compressed_answer_is_named() {
    for status in [200, 400] {
        let response = HttpResponse::new(status).header("content-encoding", "gzip").chunk([0x1f, 0x8b, 8, 0]);
        let failure = answer(response).unwrap_err();
        assert!(failure.message.contains("gzip"), "{}", failure.message);
    }
    let headers = &testing::requests()[0].headers;
    assert!(headers.contains(&("accept-encoding".into(), "identity".into())), "{headers:?}");
}

#[test]
fn thinking_is_no_part_of_the_reply() {
    let stop = || ends("\"stop\"");
    let thought = |thought: &str, text: &str| Outcome { thought: thought.into(), ..said(text, "stop") };
    let delta = |delta: &str| frame(&format!(r#"{{"index": 0, "delta": {delta}}}"#));
    assert_outcomes(vec![
        (
            "tags",
            says("<think>She is shy.</th") + &says(r"ink>\n\nHello.") + &stop(),
            thought("She is shy.", "Hello."),
        ),
        ("tags later", says("Hi <think>x</think>") + &stop(), thought("", "Hi <think>x</think>")),
        ("never closed", says("<think>She is") + &stop(), thought("", "<think>She is")),
        ("never closed and cut", says("<think>She is"), said("<think>She is", "truncated")),
        (
            "parts",
            delta(
                r#"{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Hi."}]}"#,
            ) + &stop(),
            thought("hm", "Hi."),
        ),
        (
            "details",
            delta(r#"{"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}"#)
                + &says("Hi.")
                + &stop(),
            thought("hm", "Hi."),
        ),
        (
            "the same under two names",
            delta(r#"{"reasoning": "hm", "reasoning_content": "hm"}"#) + &says("Hi.") + &stop(),
            thought("hm", "Hi."),
        ),
    ]);
    let response = events().chunk(says("<think>a</think>b") + &stop());
    let settings = r#"{"model": "m", "base_url": "http://h", "think_tags": false}"#;
    assert_eq!(answer_with(response, settings).unwrap().text(), "<think>a</think>b");
}

#[test]
fn tool_calls_are_whole_however_they_are_numbered() {
    let calls = |calls: &[&str]| Outcome {
        calls: calls.iter().map(|call| (*call).to_owned()).collect(),
        ..said("", "tool_calls")
    };
    let piece = |piece: &str| frame(&format!(r#"{{"index": 0, "delta": {{"tool_calls": [{piece}]}}}}"#));
    let call = |id: &str, name: &str| {
        format!(r#"{{"index": 0, "id": "{id}", "function": {{"name": "{name}", "arguments": "{{}}"}}}}"#)
    };
    let end = || ends("\"tool_calls\"");
    assert_outcomes(vec![
        (
            "one index",
            piece(&call("c1", "tide")) + &piece(&call("c2", "wind")) + &end(),
            calls(&["c1 tide {}", "c2 wind {}"]),
        ),
        (
            "no index",
            piece(&(call("c1", "tide") + "," + &call("c2", "wind")).replace(r#""index": 0, "#, "")) + &end(),
            calls(&["c1 tide {}", "c2 wind {}"]),
        ),
        (
            "arguments as an object",
            piece(r#"{"index": 0, "id": "c1", "function": {"name": "tide", "arguments": {"at": "Brest"}}}"#)
                + &end(),
            calls(&[r#"c1 tide {"at":"Brest"}"#]),
        ),
        (
            "a name in every piece",
            piece(r#"{"index": 0, "id": "c1", "function": {"name": "tide", "arguments": "{"}}"#)
                + &piece(r#"{"index": 0, "id": "c1", "function": {"name": "tide", "arguments": "}"}}"#)
                + &end(),
            calls(&["c1 tide {}"]),
        ),
        (
            "another choice",
            says("Let me see.")
                + &frame(&format!(
                    r#"{{"index": 1, "delta": {{"tool_calls": [{}]}}, "finish_reason": "tool_calls"}}"#,
                    call("c1", "tide")
                )),
            Outcome { said: "Let me see.".into(), ..calls(&["c1 tide {}"]) },
        ),
        (
            "another choice of a whole answer",
            format!(
                r#"{{"choices": [{{"index": 0, "message": {{"content": "Let me see."}}, "finish_reason": "stop"}}, {{"index": 1, "message": {{"tool_calls": [{}]}}, "finish_reason": "stop"}}]}}"#,
                call("c1", "tide")
            ),
            Outcome { said: "Let me see.".into(), ..calls(&["c1 tide {}"]) },
        ),
    ]);
}
