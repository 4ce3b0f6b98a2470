//! From what the endpoint sends to deltas: frames of a stream one by one, or a whole answer at once.
//!
//! Servers differ in what they send and when: usage with every frame or in one of its own without choices, reasoning
//! under two names, content as text or as parts, an error instead of a frame. Unknown fields are ignored.

use crate::failure;
use masque_sdk::{Delta, Failure, Finish, Result, ToolCall, Usage};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// After so many frames that cannot be read, whatever comes is no chat-completions stream.
const MALFORMED: u32 = 16;
/// More calls, or longer ones, are a fault of the model; the host bounds the reply as a whole.
const CALLS: usize = 128;
const ARGUMENTS: usize = 256 * 1024;

#[derive(Deserialize)]
struct Frame {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Tokens>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    #[serde(default, alias = "message")]
    delta: Option<Said>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    reasoning: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallPiece>>,
}

#[derive(Deserialize)]
struct CallPiece {
    #[serde(default)]
    index: Option<u64>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionPiece>,
}

#[derive(Deserialize)]
struct FunctionPiece {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptTokens>,
}

#[derive(Deserialize)]
struct PromptTokens {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

/// A reply as far as it has arrived.
#[derive(Default)]
pub(crate) struct Answer {
    calls: BTreeMap<u64, ToolCall>,
    finish: Option<&'static str>,
    usage: Option<Usage>,
    understood: u32,
    malformed: u32,
    done: bool,
}

impl Answer {
    /// Takes a frame's data and gives the deltas in it, in their order.
    ///
    /// # Errors
    /// The endpoint reports an error, or keeps sending what cannot be read.
    pub(crate) fn frame(&mut self, data: &str) -> Result<Vec<Delta>> {
        let data = data.trim();
        if data == "[DONE]" {
            self.done = true;
            return Ok(Vec::new());
        }
        match serde_json::from_str::<Frame>(data) {
            Ok(frame) => self.take(frame),
            Err(error) => {
                self.malformed += 1;
                if self.malformed == 1 {
                    tracing::warn!(%error, frame = failure::excerpt(data.as_bytes()), "skipped a malformed frame");
                }
                if self.malformed < MALFORMED {
                    return Ok(Vec::new());
                }
                Err(failure::invalid_answer("too many malformed frames", data.as_bytes()))
            }
        }
    }

    /// Takes an answer that came whole.
    ///
    /// # Errors
    /// The endpoint reports an error, or it is no answer.
    pub(crate) fn whole(&mut self, body: &[u8]) -> Result<Vec<Delta>> {
        let frame: Frame = serde_json::from_slice(body)
            .map_err(|error| failure::invalid_answer(&format!("not a chat completion ({error})"), body))?;
        if frame.error.is_none() && frame.choices.as_ref().is_none_or(Vec::is_empty) {
            return Err(failure::invalid_answer("it has no choices", body));
        }
        let deltas = self.take(frame)?;
        self.done = true;
        Ok(deltas)
    }

    /// Nothing more is to be expected.
    pub(crate) fn is_complete(&self) -> bool {
        self.done || (self.finish.is_some() && self.usage.is_some())
    }

    /// The reply is whole, even if the connection ends badly after it.
    pub(crate) fn may_end(&self) -> bool {
        self.done || self.finish.is_some()
    }

    /// What is left to send, and why the reply ended.
    ///
    /// # Errors
    /// `truncated` where it did not end; `unavailable` where it never began.
    pub(crate) fn end(self) -> Result<(Vec<Delta>, Finish)> {
        if self.understood == 0 {
            return Err(failure::invalid_answer("it holds no frame of a chat completion", b""));
        }
        if !self.may_end() {
            return Err(Failure::truncated("the stream ended without a finish_reason and without [DONE]"));
        }
        let mut reason = self.finish.unwrap_or("stop");
        // Some servers say `stop` after calls.
        if reason == "stop" && !self.calls.is_empty() {
            reason = "tool_calls";
        }
        let calls = self.calls.into_values().map(Delta::ToolCall);
        Ok((calls.chain(self.usage.map(Delta::Usage)).collect(), Finish::new(reason)))
    }

    fn take(&mut self, frame: Frame) -> Result<Vec<Delta>> {
        if let Some(error) = frame.error.filter(|error| !error.is_null()) {
            return Err(failure::from_error(&error));
        }
        self.understood += 1;
        if let Some(tokens) = frame.usage {
            let details = tokens.prompt_tokens_details.and_then(|details| details.cached_tokens);
            let mut usage = Usage::new(
                tokens.prompt_tokens.unwrap_or_default(),
                tokens.completion_tokens.unwrap_or_default(),
            );
            usage.cached_tokens = details.unwrap_or_default();
            self.usage = Some(usage);
        }
        let mut deltas = Vec::new();
        for choice in frame.choices.into_iter().flatten().filter(|choice| choice.index == 0) {
            if let Some(said) = choice.delta {
                self.said(said, &mut deltas)?;
            }
            if let Some(reason) = choice.finish_reason {
                self.finish = Some(finish(&reason)?);
            }
        }
        Ok(deltas)
    }

    fn said(&mut self, said: Said, deltas: &mut Vec<Delta>) -> Result<()> {
        // Where both names are used they carry the same.
        let thinking = said.reasoning_content.filter(|text| !text.is_empty()).or(said.reasoning);
        deltas.extend(thinking.filter(|text| !text.is_empty()).map(Delta::Thinking));
        let texts = [said.content.map(text), said.refusal];
        deltas.extend(texts.into_iter().flatten().filter(|text| !text.is_empty()).map(Delta::Text));
        for (position, piece) in (0..).zip(said.tool_calls.into_iter().flatten()) {
            self.piece(position, piece)?;
        }
        Ok(())
    }

    fn piece(&mut self, position: u64, piece: CallPiece) -> Result<()> {
        let index = piece.index.unwrap_or(position);
        let empty = || ToolCall { id: String::new(), name: String::new(), arguments: String::new() };
        let call = self.calls.entry(index).or_insert_with(empty);
        if let Some(id) = piece.id.filter(|id| !id.is_empty()) {
            call.id = id;
        }
        if let Some(function) = piece.function {
            call.name.push_str(&function.name.unwrap_or_default());
            call.arguments.push_str(&function.arguments.unwrap_or_default());
        }
        let is_too_long = call.name.len() + call.arguments.len() > ARGUMENTS;
        if is_too_long || self.calls.len() > CALLS {
            return Err(Failure::unavailable("the model's tool calls are too many or too long"));
        }
        Ok(())
    }
}

fn finish(reason: &str) -> Result<&'static str> {
    match reason {
        "length" | "max_tokens" => Ok("length"),
        "content_filter" => Ok("filtered"),
        "tool_calls" | "function_call" => Ok("tool_calls"),
        "error" => Err(Failure::unavailable("the endpoint ended the reply with an error")),
        _ => Ok("stop"),
    }
}

/// Content is text, or a list of parts of which the text counts.
fn text(content: Value) -> String {
    match content {
        Value::String(text) => text,
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Everything that a stream of frames becomes.
    fn all(frames: &[Value]) -> Result<(Vec<Delta>, String)> {
        let mut answer = Answer::default();
        let mut deltas = Vec::new();
        for frame in frames {
            let data = frame.as_str().map_or_else(|| frame.to_string(), String::from);
            deltas.extend(answer.frame(&data)?);
        }
        let (last, finish) = answer.end()?;
        deltas.extend(last);
        Ok((deltas, finish.reason))
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
    fn malformed_frames_are_survived_up_to_a_bound() {
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
            frame(json!([{"index": 1, "id": "c1", "function": {"name": "wind", "arguments": "{}"}}])),
            frame(json!([{"index": 0, "function": {"arguments": "{\"at\":"}}])),
            frame(json!([{"index": 0, "id": "", "function": {"arguments": "\"pier\"}"}}])),
            ends("stop"),
        ];
        let call = |id: &str, name: &str, arguments: &str| {
            Delta::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() })
        };
        let wanted = vec![call("c0", "tide", r#"{"at":"pier"}"#), call("c1", "wind", "{}")];
        assert_eq!(all(&frames).unwrap(), (wanted, "tool_calls".into()));
    }

    #[test]
    fn only_the_first_choice_is_heard() {
        let other =
            json!({"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"}]});
        assert_eq!(all(&[says("a"), other]).unwrap_err().code, "truncated");
    }

    #[test]
    fn a_whole_answer_is_read_like_a_stream() {
        let mut answer = Answer::default();
        let body = json!({
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi", "reasoning": "hm"}, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        });
        let deltas = answer.whole(body.to_string().as_bytes()).unwrap();
        assert_eq!(deltas, [Delta::Thinking("hm".into()), Delta::Text("Hi".into())]);
        let (last, finish) = answer.end().unwrap();
        assert_eq!((last, finish.reason.as_str()), (vec![Delta::Usage(Usage::new(1, 2))], "length"));
    }

    #[test]
    fn what_is_no_whole_answer_is_refused() {
        let table = [
            ("<html>", "unavailable"),
            ("{}", "unavailable"),
            (r#"{"choices": []}"#, "unavailable"),
            (r#"{"error": {"code": "rate_limit_exceeded"}}"#, "rate-limited"),
            (r#"{"choices": 1}"#, "unavailable"),
        ];
        for (body, code) in table {
            assert_eq!(Answer::default().whole(body.as_bytes()).unwrap_err().code, code, "{body}");
        }
    }
}
