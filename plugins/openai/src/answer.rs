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
        // A tool's answer names its call, so one without an id, as a few servers send it, is given one.
        let named = |(index, mut call): (u64, ToolCall)| {
            if call.id.is_empty() {
                call.id = format!("call-{index}");
            }
            Delta::ToolCall(call)
        };
        let calls = self.calls.into_iter().map(named);
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
            // Some gateways send an empty one with every frame that is not the last.
            if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
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
        let call = self.calls.entry(index).or_insert_with(|| ToolCall::new("", "", ""));
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
mod tests;
