//! A scripted answer of the model.

use http::StatusCode;
use serde_json::{Value, json};

use super::gate::Gate;

/// A status, headers, and the steps that follow.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) before_head: Option<Before>,
    pub(super) steps: Vec<Step>,
}

/// An action before the head is sent.
#[derive(Clone, Debug)]
pub(super) enum Before {
    Wait(Gate),
    HangUp,
}

/// A step of an answer. A request without streaming gets the deltas in one object at the end.
#[derive(Clone, Debug)]
pub enum Step {
    /// A piece of the reply.
    Text(String),
    /// A piece of the model's reasoning, as `reasoning_content`.
    Thought(String),
    /// A call of a tool, in one piece.
    ToolCall {
        name: &'static str,
        arguments: &'static str,
    },
    /// The reason of the end.
    Finish(&'static str),
    /// The tokens read and written.
    Usage(u64, u64),
    /// The line that ends a stream.
    Done,
    /// Raw bytes.
    Bytes(&'static str),
    Wait(Gate),
    /// Sends nothing more and keeps the connection open.
    Stall,
    /// Closes the connection before the end.
    Cut,
}

impl Answer {
    /// A complete reply in these pieces, with reason, usage and end.
    pub fn pieces(pieces: &[&str]) -> Self {
        Self::complete(pieces.iter().map(|piece| Step::Text((*piece).to_owned())).collect())
    }

    /// A complete reply, word by word.
    pub fn says(text: &str) -> Self {
        Self::complete(text.split_inclusive(' ').map(|piece| Step::Text(piece.to_owned())).collect())
    }

    /// These steps, then reason, usage and end.
    pub fn complete(mut steps: Vec<Step>) -> Self {
        steps.extend([Step::Finish("stop"), Step::Usage(21, 7), Step::Done]);
        Self::steps(steps)
    }

    /// These steps and nothing else.
    pub fn steps(steps: Vec<Step>) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), before_head: None, steps }
    }

    /// An error in the format of the protocol.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({ "error": { "message": message, "type": code, "param": null, "code": code } });
        Self::body(status, "application/json", body.to_string())
    }

    /// An answer with this body.
    pub fn body(status: u16, content_type: &str, body: String) -> Self {
        Self {
            status: StatusCode::from_u16(status).unwrap(),
            headers: vec![("content-type", content_type.to_owned())],
            before_head: None,
            steps: vec![Step::Bytes(body.leak())],
        }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Whether the model falls silent in it.
    pub fn stalls(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Stall))
    }

    /// Waits at `gate` before it sends anything.
    pub fn after(mut self, gate: &Gate) -> Self {
        self.before_head = Some(Before::Wait(gate.clone()));
        self
    }

    /// Reads the request and closes the connection.
    pub fn hang_up() -> Self {
        Self { before_head: Some(Before::HangUp), ..Self::steps(Vec::new()) }
    }

    /// A piece, a gate, another piece, the end. The test decides when the reply goes on.
    pub fn held(first: &str, gate: &Gate, second: &str) -> Self {
        Self::complete(vec![
            Step::Text(first.to_owned()),
            Step::Wait(gate.clone()),
            Step::Text(second.to_owned()),
        ])
    }
}

impl Step {
    /// Returns the frame of this step in a stream.
    pub(super) fn frame(&self, model: &str) -> Option<String> {
        let chunk = |delta: Value, finish: Option<&str>| {
            let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish });
            frame(model, &json!([choice]), &Value::Null)
        };
        Some(match self {
            Self::Text(text) => chunk(json!({ "content": text }), None),
            Self::Thought(text) => chunk(json!({ "reasoning_content": text }), None),
            Self::ToolCall { name, arguments } => {
                let function = json!({ "name": name, "arguments": arguments });
                let call = json!({ "index": 0, "id": "call_1", "type": "function", "function": function });
                chunk(json!({ "tool_calls": [call] }), None)
            }
            Self::Finish(reason) => chunk(json!({}), Some(reason)),
            Self::Usage(input, output) => frame(model, &json!([]), &usage(*input, *output)),
            Self::Done => "data: [DONE]\n\n".to_owned(),
            Self::Bytes(bytes) => (*bytes).to_owned(),
            Self::Wait(_) | Self::Stall | Self::Cut => return None,
        })
    }
}

/// Returns the first frame of a stream, which has the role and no text.
pub(super) fn opening(model: &str) -> String {
    let delta = json!({ "role": "assistant", "content": "" });
    frame(model, &json!([{ "index": 0, "delta": delta, "finish_reason": null }]), &Value::Null)
}

/// Returns the answer to a request without streaming.
pub(super) fn whole(model: &str, steps: &[Step]) -> String {
    let (mut content, mut finish, mut cost, mut calls) =
        (String::new(), Value::Null, Value::Null, Vec::new());
    for step in steps {
        match step {
            Step::Text(text) => content.push_str(text),
            Step::Finish(reason) => finish = json!(reason),
            Step::Usage(input, output) => cost = usage(*input, *output),
            Step::ToolCall { name, arguments } => {
                let function = json!({ "name": name, "arguments": arguments });
                calls.push(json!({ "id": "call_1", "type": "function", "function": function }));
            }
            _ => {}
        }
    }
    let mut message = json!({ "role": "assistant", "content": content });
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_790_000_000, "model": model,
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish }],
        "usage": cost,
    })
    .to_string()
}

fn frame(model: &str, choices: &Value, usage: &Value) -> String {
    let chunk = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": model,
        "choices": choices, "usage": usage,
    });
    format!("data: {chunk}\n\n")
}

fn usage(input: u64, output: u64) -> Value {
    json!({
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
        "prompt_tokens_details": { "cached_tokens": 3 },
    })
}
