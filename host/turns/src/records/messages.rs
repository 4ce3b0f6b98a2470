//! Messages, prompts and recollections as a record shows them. Pure.
//!
//! The threat: a record that is to contain no texts contains one all the same, in a field that plugins fill (a role, the source of
//! a message, the name of a tool). The policy: texts are written in one place, [`Texts::keep`], and what plugins call a name is
//! written only if it looks like one. The accepted consequence: an unusual name is shown as its digest.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use masque_companions::Redactor;
use masque_runtime::ReportContent;
use masque_runtime::contract::{Message, Part, Prompt, Property, Recollection, Remembered, Tool};
use masque_store::MessageRecord;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::tokens::{estimated_tokens, message_bytes, part_bytes, prompt_bytes};

/// The most bytes of one text, and of all texts of a record. A record has 256 KiB, and its other parts need room too.
const MAX_TEXT_BYTES: usize = 64 << 10;
const MAX_TEXTS_BYTES: usize = 160 << 10;
/// The longest name that is written as it is.
const MAX_NAME_BYTES: usize = 128;

/// What a record may contain, and how much of it there is already.
pub(super) struct Texts<'a> {
    content: ReportContent,
    redactor: &'a Redactor,
    room: usize,
    /// Whether a text was cut or left out.
    pub(super) truncated: bool,
    /// The prompt that was digested last, with the digests of its messages: the next step is given it.
    digested: Option<(Arc<Prompt>, Vec<String>)>,
}

impl<'a> Texts<'a> {
    pub(super) fn new(content: ReportContent, redactor: &'a Redactor) -> Self {
        Self { content, redactor, room: MAX_TEXTS_BYTES, truncated: false, digested: None }
    }

    pub(super) fn are_kept(&self) -> bool {
        self.content == ReportContent::Full
    }

    /// The text as the record may contain it: without secrets and as far as there is room. `None` if it may not.
    pub(super) fn keep(&mut self, text: &str) -> Option<String> {
        if !self.are_kept() {
            return None;
        }
        let redacted = self.redactor.redact_text(text);
        let end = redacted.floor_char_boundary(self.room.min(MAX_TEXT_BYTES));
        self.room -= end;
        self.truncated |= end < redacted.len();
        redacted.get(..end).filter(|kept| !kept.is_empty() || redacted.is_empty()).map(str::to_owned)
    }
}

/// The value as JSON. `null` for one that has no form as JSON, which none of a record is: its keys are names.
pub(super) fn as_json(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_impossible| RawValue::NULL.to_owned())
}

/// `sha256:` and the digest of a text.
pub(super) fn digest(text: &str) -> String {
    format!("sha256:{:x}", Sha256::digest(text))
}

/// A name that a plugin gives, if it looks like one, else its digest.
pub(super) fn safe_name(name: &str) -> Cow<'_, str> {
    let is_name = (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/@#+-".contains(&byte));
    if is_name { name.into() } else { digest(name).into() }
}

/// A message that the store has, by reference.
#[derive(Serialize)]
pub(super) struct StoredView<'a> {
    id: String,
    role: &'a str,
    digest: String,
    bytes: usize,
    tokens: u64,
}

/// A message of the conversation.
pub(super) fn stored(message: &MessageRecord) -> StoredView<'_> {
    let bytes = message.content.len();
    StoredView {
        id: message.id.to_string(),
        role: &message.role,
        digest: digest(&message.content),
        bytes,
        tokens: estimated_tokens(bytes),
    }
}

#[derive(Serialize)]
struct MessageView<'a> {
    role: Cow<'a, str>,
    digest: String,
    bytes: usize,
    tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cache: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<PartView<'a>>>,
}

/// A message of a plugin. With its parts, unless the store has the message under its id and `by_reference` is set.
fn message<'a>(message: &'a Message, by_reference: bool, texts: &mut Texts<'_>) -> MessageView<'a> {
    let bytes = message_bytes(message);
    let is_reference = by_reference && message.id.is_some();
    MessageView {
        role: safe_name(&message.role),
        digest: message_digest(message),
        bytes,
        tokens: estimated_tokens(bytes),
        id: message.id.as_deref().map(safe_name),
        source: message.source.as_deref().map(safe_name),
        cache: message.cache,
        parts: (!is_reference).then(|| message.parts.iter().map(|part| self::part(part, texts)).collect()),
    }
}

#[derive(Serialize)]
struct PartView<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    bytes: usize,
    tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

fn part<'a>(part: &'a Part, texts: &mut Texts<'_>) -> PartView<'a> {
    let bytes = part_bytes(part);
    let (kind, name, text) = match part {
        Part::Text(text) => ("text", None, Some(text)),
        Part::Thinking(text) => ("thinking", None, Some(text)),
        Part::Blob(_) => ("blob", None, None),
        Part::ToolCall(call) => ("tool-call", Some(&call.name), Some(&call.arguments)),
        Part::ToolResult(result) => ("tool-result", None, Some(&result.content)),
        Part::Other(property) => ("other", Some(&property.name), Some(&property.json)),
    };
    let media_type = match part {
        Part::Blob(blob) => Some(safe_name(&blob.media_type)),
        _ => None,
    };
    PartView {
        kind,
        bytes,
        tokens: estimated_tokens(bytes),
        name: name.map(|name| safe_name(name)),
        media_type,
        text: text.and_then(|text| texts.keep(text)),
    }
}

/// The digest of all parts, each with its length before it, so that two ways to divide a text differ.
fn message_digest(message: &Message) -> String {
    let mut digest = Sha256::new();
    for part in &message.parts {
        let text = match part {
            // The usual message has one part of text, whose digest is that of the stored message.
            Part::Text(text) if message.parts.len() == 1 => return self::digest(text),
            Part::Text(text) | Part::Thinking(text) => text,
            Part::ToolCall(call) => &call.arguments,
            Part::ToolResult(result) => &result.content,
            Part::Blob(blob) => &blob.uri,
            Part::Other(property) => &property.json,
        };
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text.as_bytes());
    }
    format!("sha256:{:x}", digest.finalize())
}

/// What a memory has returned.
#[derive(Serialize)]
pub(super) struct RecollectionView<'a> {
    messages: Vec<MessageView<'a>>,
    memories: Vec<MemoryView<'a>>,
    tokens: u64,
}

pub(super) fn recollection<'a>(recalled: &'a Recollection, texts: &mut Texts<'_>) -> RecollectionView<'a> {
    RecollectionView {
        messages: recalled.messages.iter().map(|message| self::message(message, true, texts)).collect(),
        memories: recalled.memories.iter().map(|memory| remembered(memory, texts)).collect(),
        tokens: recollected_tokens(recalled),
    }
}

/// The tokens of a recollection.
pub(super) fn recollected_tokens(recalled: &Recollection) -> u64 {
    let messages: usize = recalled.messages.iter().map(message_bytes).sum();
    let memories: usize = recalled.memories.iter().map(|memory| memory.text.len()).sum();
    estimated_tokens(messages + memories)
}

#[derive(Serialize)]
struct MemoryView<'a> {
    id: Cow<'a, str>,
    digest: String,
    bytes: usize,
    tokens: u64,
    score: Option<f32>,
    source: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

fn remembered<'a>(memory: &'a Remembered, texts: &mut Texts<'_>) -> MemoryView<'a> {
    MemoryView {
        id: safe_name(&memory.id),
        digest: digest(&memory.text),
        bytes: memory.text.len(),
        tokens: estimated_tokens(memory.text.len()),
        score: memory.score,
        source: memory.source.as_deref().map(safe_name),
        text: texts.keep(&memory.text),
    }
}

/// A prompt with the texts of its messages.
#[derive(Serialize)]
pub(super) struct PromptView<'a> {
    messages: Vec<MessageView<'a>>,
    tools: Vec<ToolView<'a>>,
    options: BTreeMap<Cow<'a, str>, Value>,
    tokens: u64,
}

pub(super) fn prompt<'a>(prompt: &'a Arc<Prompt>, texts: &mut Texts<'_>) -> PromptView<'a> {
    let messages: Vec<_> =
        prompt.messages.iter().map(|message| self::message(message, false, texts)).collect();
    let digests = messages.iter().map(|message| message.digest.clone()).collect();
    texts.digested = Some((prompt.clone(), digests));
    PromptView {
        messages,
        tools: prompt.tools.iter().map(|tool| self::tool(tool, texts)).collect(),
        options: prompt.options.iter().map(|option| self::option(option, texts)).collect(),
        tokens: estimated_tokens(prompt_bytes(prompt)),
    }
}

/// A prompt that another step shows in full: its messages by digest.
#[derive(Serialize)]
pub(super) struct PromptReference {
    messages: Vec<String>,
    tools: usize,
    tokens: u64,
}

pub(super) fn prompt_reference(prompt: &Arc<Prompt>, texts: &mut Texts<'_>) -> PromptReference {
    let known = texts.digested.take_if(|(digested, _)| Arc::ptr_eq(digested, prompt));
    PromptReference {
        messages: known
            .map_or_else(|| prompt.messages.iter().map(message_digest).collect(), |(_, digests)| digests),
        tools: prompt.tools.len(),
        tokens: estimated_tokens(prompt_bytes(prompt)),
    }
}

#[derive(Serialize)]
struct ToolView<'a> {
    name: Cow<'a, str>,
    digest: String,
    bytes: usize,
    tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

fn tool<'a>(tool: &'a Tool, texts: &mut Texts<'_>) -> ToolView<'a> {
    let bytes = tool.name.len() + tool.description.len() + tool.parameters.len();
    ToolView {
        name: safe_name(&tool.name),
        digest: digest(&format!("{}\n{}", tool.description, tool.parameters)),
        bytes,
        tokens: estimated_tokens(bytes),
        text: texts.keep(&tool.description),
    }
}

/// An option with its name: numbers and truth values as they are, others as texts.
fn option<'a>(option: &'a Property, texts: &mut Texts<'_>) -> (Cow<'a, str>, Value) {
    let value = match serde_json::from_str(&option.json) {
        Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => value,
        _ => texts.keep(&option.json).map_or_else(|| digest(&option.json).into(), Value::String),
    };
    (safe_name(&option.name), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_shown_as_its_digest() {
        assert_eq!(safe_name("card.scenario"), "card.scenario");
        assert_eq!(safe_name("memory:01998a3e"), "memory:01998a3e");
        for text in ["my cat is called Ada", "", &"x".repeat(MAX_NAME_BYTES + 1), "ä"] {
            assert!(safe_name(text).starts_with("sha256:"), "{text}");
        }
    }

    #[test]
    fn texts_end_where_the_record_has_no_more_room() {
        let redactor = Redactor::default();
        let mut texts = Texts::new(ReportContent::Full, &redactor);
        let long = "ä".repeat(MAX_TEXT_BYTES);
        for kept in [MAX_TEXT_BYTES, MAX_TEXT_BYTES, MAX_TEXTS_BYTES - 2 * MAX_TEXT_BYTES] {
            assert_eq!(texts.keep(&long).unwrap().len(), kept);
        }
        assert_eq!(texts.keep("more"), None);
        assert!(texts.truncated);
    }

    #[test]
    fn one_part_of_text_has_the_digest_of_the_text() {
        let mut message = Message::new("user", "Hello.");
        assert_eq!(message_digest(&message), digest("Hello."));
        message.parts.push(Part::Text("".into()));
        assert_ne!(message_digest(&message), digest("Hello."));
    }
}
