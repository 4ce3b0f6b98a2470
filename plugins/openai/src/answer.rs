//! Turns the endpoint's answer into deltas: the frames of a stream one by one, or a whole answer at once.
//!
//! Servers differ: some send the usage with every frame, others in a frame without choices; reasoning has two names;
//! content is a text or a list of parts; an error may replace a frame. Unknown fields are ignored.

use crate::failure;
use masque_sdk::{Delta, Failure, Finish, Result, ToolCall, Usage};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The number of malformed frames after which the answer is refused, as it is no chat-completions stream.
const MAX_MALFORMED: u32 = 16;
/// The largest number of tool calls in a reply. More are a fault of the model.
const MAX_CALLS: usize = 128;
/// The largest size of one tool call, in bytes. The host bounds the reply as a whole.
const MAX_CALL_BYTES: usize = 256 * 1024;

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
    delta: Option<MessageDelta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct MessageDelta {
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

/// The part of a reply that has arrived.
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
    /// Reads the data of a frame and returns its deltas in their order.
    ///
    /// # Errors
    /// The endpoint reports an error, or sent too many malformed frames.
    pub(crate) fn frame(&mut self, data: &str) -> Result<Vec<Delta>> {
        let data = data.trim();
        if data == "[DONE]" {
            self.done = true;
            return Ok(Vec::new());
        }
        match serde_json::from_str::<Frame>(data) {
            Ok(frame) => self.read_frame(frame),
            Err(error) => {
                self.malformed += 1;
                if self.malformed == 1 {
                    tracing::warn!(%error, frame = failure::excerpt(data.as_bytes()), "skipped a malformed frame");
                }
                if self.malformed < MAX_MALFORMED {
                    return Ok(Vec::new());
                }
                Err(failure::invalid_answer("too many malformed frames", data.as_bytes()))
            }
        }
    }

    /// Reads an answer that was not streamed and returns its deltas.
    ///
    /// # Errors
    /// The endpoint reports an error, or the body is not a chat completion.
    pub(crate) fn whole(&mut self, body: &[u8]) -> Result<Vec<Delta>> {
        let frame: Frame = serde_json::from_slice(body)
            .map_err(|error| failure::invalid_answer(&format!("not a chat completion ({error})"), body))?;
        if frame.error.is_none() && frame.choices.as_ref().is_none_or(Vec::is_empty) {
            return Err(failure::invalid_answer("it has no choices", body));
        }
        let deltas = self.read_frame(frame)?;
        self.done = true;
        Ok(deltas)
    }

    /// Whether everything has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.done || (self.finish.is_some() && self.usage.is_some())
    }

    /// Whether the reply has ended. An error of the connection does not matter then.
    pub(crate) fn may_end(&self) -> bool {
        self.done || self.finish.is_some()
    }

    /// Returns the last deltas and the reason of the end.
    ///
    /// # Errors
    /// `truncated` if the reply did not end; `unavailable` if it did not begin.
    pub(crate) fn end(self) -> Result<(Vec<Delta>, Finish)> {
        if self.understood == 0 {
            return Err(failure::invalid_answer("it holds no frame of a chat completion", b""));
        }
        if !self.may_end() {
            return Err(Failure::truncated("the stream ended without a finish_reason and without [DONE]"));
        }
        let mut reason = self.finish.unwrap_or("stop");
        // Some servers send `stop` after tool calls.
        if reason == "stop" && !self.calls.is_empty() {
            reason = "tool_calls";
        }
        // The result of a tool refers to the id of the call, which a few servers leave out.
        let with_id = |(index, mut call): (u64, ToolCall)| {
            if call.id.is_empty() {
                call.id = format!("call-{index}");
            }
            Delta::ToolCall(call)
        };
        let calls = self.calls.into_iter().map(with_id);
        Ok((calls.chain(self.usage.map(Delta::Usage)).collect(), Finish::new(reason)))
    }

    fn read_frame(&mut self, frame: Frame) -> Result<Vec<Delta>> {
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
            if let Some(delta) = choice.delta {
                self.read_delta(delta, &mut deltas)?;
            }
            // Some gateways send an empty reason with every frame but the last.
            if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
                self.finish = Some(finish(&reason)?);
            }
        }
        Ok(deltas)
    }

    fn read_delta(&mut self, delta: MessageDelta, deltas: &mut Vec<Delta>) -> Result<()> {
        // If both names are present, they hold the same text.
        let thinking = delta.reasoning_content.filter(|text| !text.is_empty()).or(delta.reasoning);
        deltas.extend(thinking.filter(|text| !text.is_empty()).map(Delta::Thinking));
        let texts = [delta.content.map(text), delta.refusal];
        deltas.extend(texts.into_iter().flatten().filter(|text| !text.is_empty()).map(Delta::Text));
        for (position, piece) in (0..).zip(delta.tool_calls.into_iter().flatten()) {
            self.add_call_piece(position, piece)?;
        }
        Ok(())
    }

    fn add_call_piece(&mut self, position: u64, piece: CallPiece) -> Result<()> {
        let index = piece.index.unwrap_or(position);
        let call = self.calls.entry(index).or_insert_with(|| ToolCall::new("", "", ""));
        if let Some(id) = piece.id.filter(|id| !id.is_empty()) {
            call.id = id;
        }
        if let Some(function) = piece.function {
            call.name.push_str(&function.name.unwrap_or_default());
            call.arguments.push_str(&function.arguments.unwrap_or_default());
        }
        let is_too_long = call.name.len() + call.arguments.len() > MAX_CALL_BYTES;
        if is_too_long || self.calls.len() > MAX_CALLS {
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

/// Returns the text of content, which is a text or a list of parts. Ignores other parts.
fn text(content: Value) -> String {
    match content {
        Value::String(text) => text,
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
