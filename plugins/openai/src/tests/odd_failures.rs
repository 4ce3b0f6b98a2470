//! Streams of real servers that hold an error or were cut: what is said before it, and the words and the class of the failure.

use super::odd_streams::{DONE, Outcome, ends, frame, outcome, said, says};
use super::*;

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
        ("an unknown object", "data: {\"outcome\": \"no slot\"}\n\n".into(), "", "unavailable", "22 bytes of JSON with \"outcome\""),
        ("a text", "data: \"no slot\"\n\n".into(), "", "unavailable", "9 bytes of JSON"),
        ("an unknown object as JSON", "{\"outcome\": \"no slot\"}".into(), "", "unavailable", "22 bytes of JSON with \"outcome\""),
        ("words in a frame", says("Once") + "data: no slot\n\n", "Once", "truncated", "7 bytes of text"),
        ("words between frames", says("Once") + "upstream reset: no slot\n", "Once", "truncated", "23 bytes of text"),
        ("a field with a capital", says("Once") + "Error: no slot\n" + DONE, "Once", "unavailable", "no slot"),
        ("gzip without a header", "\u{1f}\u{fffd}\u{8}\u{0}".into(), "", "unavailable", "gzip"),
        ("words alone", "no slot is free\n".into(), "", "unavailable", "15 bytes of text"),
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
