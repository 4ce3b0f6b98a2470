//! Streams that servers really send and that are odd in one way each: what is said, thought and counted, and how it ends.

use super::*;
use masque_sdk::Usage;

/// What a stream comes to.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    said: String,
    thought: String,
    /// Each as `id name arguments`.
    calls: Vec<String>,
    /// The finish reason, or the code of the failure.
    end: String,
    tokens: Option<(u64, u64)>,
}

/// The outcome, and the failure's message.
fn outcome(response: HttpResponse) -> (Outcome, String) {
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

fn said(text: &str, end: &str) -> Outcome {
    Outcome { said: text.into(), end: end.into(), ..Outcome::default() }
}

/// A frame with this text.
fn says(text: &str) -> String {
    frame(&format!(r#"{{"index": 0, "delta": {{"content": "{text}"}}, "finish_reason": null}}"#))
}

fn frame(choice: &str) -> String {
    format!("data: {{\"choices\": [{choice}]}}\n\n")
}

fn ends(reason: &str) -> String {
    frame(&format!(r#"{{"index": 0, "delta": {{}}, "finish_reason": {reason}}}"#))
}

const DONE: &str = "data: [DONE]\n\n";

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

#[test]
fn an_error_keeps_its_words_and_its_class_however_it_is_wrapped() {
    let choice_error = r#"{"index": 0, "delta": {}, "finish_reason": "error", "error": {"code": 504, "message": "worker gave up"}}"#;
    let table = [
        ("a field", says("Once") + "error: {\"code\":500,\"message\":\"slot was lost\"}\n\n" + DONE, "Once", "unavailable", "slot was lost"),
        ("a field in words", says("Once") + "error: slot was lost\n\n", "Once", "unavailable", "slot was lost"),
        ("an event", says("Once") + "event: error\ndata: {\"message\": \"slot was lost\"}\n\n", "Once", "unavailable", "slot was lost"),
        ("in the choice", says("Once") + &frame(choice_error), "Once", "timeout", "worker gave up"),
        ("beside the last text", "data: {\"error\": {\"code\": 429, \"message\": \"slow down\"}, \"choices\": [{\"delta\": {\"content\": \"Once\"}, \"finish_reason\": \"error\"}]}\n\n".into(), "Once", "rate-limited", "slow down"),
        ("a reason", says("Once") + &ends("\"error\""), "Once", "unavailable", "error"),
        ("FastChat", format!("data: {{\"text\": \"The request is too long.\", \"error_code\": 40303}}\n\n{DONE}"), "", "context-length", "The request is too long."),
        ("FastAPI", "data: {\"detail\": \"no such slot\"}\n\n".into(), "", "unavailable", "no such slot"),
        ("a list", "data: {\"errors\": [{\"message\": \"no such slot\", \"code\": 404}]}\n\n".into(), "", "not-found", "no such slot"),
        ("in a list", "data: [{\"error\": {\"message\": \"no such slot\", \"status\": \"RESOURCE_EXHAUSTED\"}}]\n\n".into(), "", "rate-limited", "no such slot"),
        ("vLLM", "data: {\"object\": \"error\", \"message\": \"no such slot\", \"code\": 503}\n\n".into(), "", "overloaded", "no such slot"),
        ("Anthropic", "event: error\ndata: {\"type\": \"error\", \"error\": {\"type\": \"overloaded_error\", \"message\": \"no slot\"}}\n\n".into(), "", "overloaded", "no slot"),
        ("MiniMax", "data: {\"choices\": null, \"base_resp\": {\"status_code\": 1004, \"status_msg\": \"no slot\"}}\n\n".into(), "", "unavailable", "no slot"),
        ("a code and words", "data: {\"code\": 1302, \"msg\": \"no slot\"}\n\n".into(), "", "unavailable", "no slot"),
        ("a text that holds JSON", "data: {\"error\": \"upstream: {\\\"error\\\": {\\\"message\\\": \\\"no slot\\\", \\\"code\\\": 429}}\"}\n\n".into(), "", "rate-limited", "no slot"),
        ("bare JSON", "{\"error\": {\"message\": \"no slot\", \"code\": 429}}".into(), "", "rate-limited", "no slot"),
        ("bare JSON after text", says("Once") + "{\"error\": {\"message\": \"no slot\"}}\n", "Once", "unavailable", "no slot"),
        ("pretty JSON", "{\n  \"error\": {\n    \"message\": \"no slot\"\n  }\n}\n".into(), "", "unavailable", "no slot"),
        ("true", "data: {\"error\": true, \"message\": \"no slot\"}\n\n".into(), "", "unavailable", "no slot"),
        ("no success", "data: {\"success\": false, \"message\": \"no slot\"}\n\n".into(), "", "unavailable", "no slot"),
        ("a class beside a text", "data: {\"error\": \"no slot\", \"code\": 429}\n\n".into(), "", "rate-limited", "no slot"),
        ("TGI", "data: {\"error\": \"no slot\", \"error_type\": \"overloaded\"}\n\n".into(), "", "overloaded", "no slot"),
        ("beside a text of the reply", "data: {\"choices\": [{\"text\": \"Once\", \"error\": \"no slot\"}]}\n\n".into(), "Once", "unavailable", "no slot"),
        ("an exception", "data: {\"internalServerException\": {\"message\": \"no slot\"}}\n\n".into(), "", "unavailable", "no slot"),
        ("another name beside a reply", "data: {\"choices\": [{\"delta\": {\"content\": \"Once\"}}], \"upstream_error\": {\"message\": \"no slot\", \"code\": 503}}\n\n".into(), "Once", "overloaded", "no slot"),
        ("in an envelope", "data: {\"type\": \"response.failed\", \"response\": {\"error\": {\"message\": \"no slot\", \"code\": 429}}}\n\n".into(), "", "rate-limited", "no slot"),
        ("a detailed detail", "data: {\"detail\": {\"error\": {\"message\": \"no slot\", \"code\": 429.0}}}\n\n".into(), "", "rate-limited", "no slot"),
        ("Groq", says("Once") + "data: {\"choices\": [{\"delta\": {}}], \"x_groq\": {\"error\": \"no slot\"}}\n\n", "Once", "unavailable", "no slot"),
        ("AWS", "data: {\"Message\": \"no slot\", \"Code\": \"X\"}\n\n".into(), "", "unavailable", "no slot"),
        ("a number", "data: {\"error\": 429}\n\n".into(), "", "rate-limited", "429"),
        ("an unknown object", "data: {\"outcome\": \"no slot\"}\n\n".into(), "", "unavailable", "no slot"),
        ("a text", "data: \"no slot\"\n\n".into(), "", "unavailable", "no slot"),
        ("an unknown object as JSON", "{\"outcome\": \"no slot\"}".into(), "", "unavailable", "no slot"),
        ("words in a frame", says("Once") + "data: no slot\n\n", "Once", "truncated", "no slot"),
        ("words between frames", says("Once") + "upstream reset: no slot\n", "Once", "truncated", "no slot"),
        ("a field with a capital", says("Once") + "Error: no slot\n" + DONE, "Once", "unavailable", "no slot"),
        ("gzip without a header", "\u{1f}\u{fffd}\u{8}\u{0}".into(), "", "unavailable", "gzip"),
        ("words alone", "no slot is free\n".into(), "", "unavailable", "no slot is free"),
    ];
    for (name, body, text, code, words) in table {
        for size in [body.len(), 1, 13] {
            let response =
                body.as_bytes().chunks(size).fold(events(), |response, chunk| response.chunk(chunk));
            let (outcome, message) = outcome(response);
            assert_eq!(outcome, said(text, code), "{name}: {message}");
            assert!(message.contains(words), "{name}: {message}");
        }
    }
    let list = r#"[{"error": {"code": 400, "message": "No such slot.", "status": "INVALID_ARGUMENT"}}]"#;
    let json = |status| HttpResponse::new(status).header("content-type", "application/json").chunk(list);
    for status in [400, 200] {
        let failure = answer(json(status)).unwrap_err();
        assert_eq!(failure.code, "invalid");
        assert!(failure.message.ends_with(": No such slot."), "{}", failure.message);
    }
}

#[test]
fn a_reply_that_was_cut_or_refused_is_never_complete() {
    let refusal = frame(r#"{"delta": {"refusal": "I can't."}}"#) + &ends("\"stop\"");
    let table = [
        ("cut", says("I would ra"), "I would ra", "truncated"),
        ("a filter", says("I would ra") + &ends("\"SAFETY\"") + DONE, "I would ra", "filtered"),
        ("a filter, then stop", says("I") + &ends("\"content_filter\"") + &ends("\"stop\""), "I", "filtered"),
        ("a refusal", refusal, "I can't.", "filtered"),
        ("a limit", says("I would ra") + &ends("\"MAX_TOKENS\""), "I would ra", "length"),
        ("an abort", says("I would ra") + &ends("\"abort\""), "I would ra", "truncated"),
        ("no reason on every frame", says("I would ra") + &ends("\"null\""), "I would ra", "truncated"),
        (
            "a part that can't be read",
            says("I would ra") + "data: {'content': 'ther not'}\n\n" + DONE,
            "I would ra",
            "truncated",
        ),
        ("a reply that goes on", says("I would ra") + &ends("\"in_progress\""), "I would ra", "truncated"),
        ("only an end", DONE.into(), "", "unavailable"),
        ("a role and an end", frame(r#"{"delta": {"role": "assistant"}}"#) + DONE, "", "unavailable"),
    ];
    for (name, body, text, end) in table {
        assert_eq!(outcome(events().chunk(body)).0, said(text, end), "{name}");
    }
}

#[test]
fn the_tokens_of_a_failed_reply_are_reported() {
    let body =
        "data: {\"choices\": [{\"delta\": {\"content\": \"Once\"}}], \"usage\": {\"prompt_tokens\": 9}}\n\n";
    let (outcome, _) = outcome(events().chunk(body));
    assert_eq!(outcome, Outcome { tokens: Some((9, 0)), ..said("Once", "truncated") });
}

#[test]
fn the_last_line_of_a_broken_connection_counts() {
    let table = [
        ("the server's words", "error: slot was lost", "Once", "unavailable", "slot was lost"),
        ("an end", "data: {\"choices\": [{\"finish_reason\": \"stop\"}]} ", "Once", "stop", ""),
        (
            "a part of a frame",
            "data: {\"choices\": [{\"delta\": {\"content\": \" up",
            "Once",
            "truncated",
            "reset",
        ),
    ];
    for (name, line, text, end, words) in table {
        let response = events().chunk(says("Once")).chunk(line).broken(Error::Cut("reset".into()));
        let (outcome, message) = outcome(response);
        assert_eq!(outcome, said(text, end), "{name}");
        assert!(message.contains(words), "{name}: {message}");
    }
}
