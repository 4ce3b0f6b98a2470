//! Messages, prompts and recollections as a record shows them. Pure.
//!
//! The threat: a record that is to contain no texts contains one all the same, in a field that plugins fill (a role, the source of
//! a message, the name of a tool). The policy: texts are written in one place, [`Texts::put`], and what plugins call a name is
//! written only if it looks like one. The accepted consequence: an unusual name is shown as its digest.

use std::borrow::Cow;

use masque_companions::Redactor;
use masque_runtime::ReportContent;
use masque_runtime::contract::{Message, Part, Prompt, Property, Recollection, Remembered, Tool};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::tokens::{estimated_tokens, message_bytes, part_bytes};

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
}

impl<'a> Texts<'a> {
    pub(super) fn new(content: ReportContent, redactor: &'a Redactor) -> Self {
        Self { content, redactor, room: MAX_TEXTS_BYTES, truncated: false }
    }

    pub(super) fn are_kept(&self) -> bool {
        self.content == ReportContent::Full
    }

    /// Adds a text to `object` if the record contains texts, without secrets and as far as there is room.
    pub(super) fn put(&mut self, object: &mut Value, name: &str, text: &str) {
        if let Some(text) = self.keep(text)
            && let Some(members) = object.as_object_mut()
        {
            members.insert(name.to_owned(), text.into());
        }
    }

    fn keep(&mut self, text: &str) -> Option<String> {
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

/// A message that the store has under `id`, by reference.
pub(super) fn reference(id: &str, role: &str, text: &str) -> Value {
    json!({
        "id": id,
        "role": role,
        "digest": digest(text),
        "bytes": text.len(),
        "tokens": estimated_tokens(text.len()),
    })
}

/// A message of a plugin. With a text in each part, unless the store has the message under its id and `by_reference` is set.
pub(super) fn message(message: &Message, by_reference: bool, texts: &mut Texts<'_>) -> Value {
    let bytes = message_bytes(message);
    let is_reference = by_reference && message.id.is_some();
    let mut object = json!({
        "role": safe_name(&message.role),
        "digest": message_digest(message),
        "bytes": bytes,
        "tokens": estimated_tokens(bytes),
    });
    if let Some(members) = object.as_object_mut() {
        if let Some(id) = &message.id {
            members.insert("id".into(), safe_name(id).into());
        }
        if let Some(source) = &message.source {
            members.insert("source".into(), safe_name(source).into());
        }
        if message.cache {
            members.insert("cache".into(), true.into());
        }
        if !is_reference {
            let parts = message.parts.iter().map(|part| self::part(part, texts)).collect();
            members.insert("parts".into(), Value::Array(parts));
        }
    }
    object
}

fn part(part: &Part, texts: &mut Texts<'_>) -> Value {
    let bytes = part_bytes(part);
    let kind = match part {
        Part::Text(_) => "text",
        Part::Thinking(_) => "thinking",
        Part::Blob(_) => "blob",
        Part::ToolCall(_) => "tool-call",
        Part::ToolResult(_) => "tool-result",
        Part::Other(_) => "other",
    };
    let mut object = json!({ "type": kind, "bytes": bytes, "tokens": estimated_tokens(bytes) });
    match part {
        Part::Text(text) | Part::Thinking(text) => texts.put(&mut object, "text", text),
        Part::ToolCall(call) => {
            put_name(&mut object, "name", &call.name);
            texts.put(&mut object, "text", &call.arguments);
        }
        Part::ToolResult(result) => texts.put(&mut object, "text", &result.content),
        Part::Blob(blob) => put_name(&mut object, "media_type", &blob.media_type),
        Part::Other(property) => {
            put_name(&mut object, "name", &property.name);
            texts.put(&mut object, "text", &property.json);
        }
    }
    object
}

fn put_name(object: &mut Value, name: &str, value: &str) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), safe_name(value).into());
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
pub(super) fn recollection(recalled: &Recollection, texts: &mut Texts<'_>) -> Value {
    let messages: Vec<_> =
        recalled.messages.iter().map(|message| self::message(message, true, texts)).collect();
    let memories: Vec<_> = recalled.memories.iter().map(|memory| remembered(memory, texts)).collect();
    json!({ "messages": messages, "memories": memories, "tokens": recollected_tokens(recalled) })
}

/// The tokens of a recollection.
pub(super) fn recollected_tokens(recalled: &Recollection) -> u64 {
    let messages: usize = recalled.messages.iter().map(message_bytes).sum();
    let memories: usize = recalled.memories.iter().map(|memory| memory.text.len()).sum();
    estimated_tokens(messages + memories)
}

fn remembered(memory: &Remembered, texts: &mut Texts<'_>) -> Value {
    let mut object = json!({
        "id": safe_name(&memory.id),
        "digest": digest(&memory.text),
        "bytes": memory.text.len(),
        "tokens": estimated_tokens(memory.text.len()),
        "score": memory.score,
        "source": memory.source.as_deref().map(safe_name),
    });
    texts.put(&mut object, "text", &memory.text);
    object
}

/// A prompt with the texts of its messages.
pub(super) fn prompt(prompt: &Prompt, texts: &mut Texts<'_>) -> Value {
    let messages: Vec<_> =
        prompt.messages.iter().map(|message| self::message(message, false, texts)).collect();
    let tools: Vec<_> = prompt.tools.iter().map(|tool| self::tool(tool, texts)).collect();
    let tokens = estimated_tokens(crate::tokens::prompt_bytes(prompt));
    json!({ "messages": messages, "tools": tools, "options": options(&prompt.options, texts), "tokens": tokens })
}

/// A prompt that another step shows in full: its messages by digest.
pub(super) fn prompt_reference(prompt: &Prompt) -> Value {
    let messages: Vec<_> = prompt.messages.iter().map(message_digest).collect();
    json!({
        "messages": messages,
        "tools": prompt.tools.len(),
        "tokens": estimated_tokens(crate::tokens::prompt_bytes(prompt)),
    })
}

fn tool(tool: &Tool, texts: &mut Texts<'_>) -> Value {
    let bytes = tool.name.len() + tool.description.len() + tool.parameters.len();
    let mut object = json!({
        "name": safe_name(&tool.name),
        "digest": digest(&format!("{}\n{}", tool.description, tool.parameters)),
        "bytes": bytes,
        "tokens": estimated_tokens(bytes),
    });
    texts.put(&mut object, "text", &tool.description);
    object
}

/// The options by name: numbers and truth values as they are, others as texts.
fn options(options: &[Property], texts: &mut Texts<'_>) -> Value {
    let mut members = Map::new();
    for option in options {
        let value = match serde_json::from_str(&option.json) {
            Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::Null)) => value,
            _ => texts.keep(&option.json).map_or_else(|| digest(&option.json).into(), Value::String),
        };
        members.insert(safe_name(&option.name).into_owned(), value);
    }
    Value::Object(members)
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
