//! Reads the content of a message: a text, a number, or a list of parts in the forms of several servers.

use serde_json::{Map, Value};

/// What a piece of a message holds.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Content {
    pub(super) text: String,
    pub(super) thinking: String,
    pub(super) refusal: String,
}

/// The names of a message's thinking. If several are present, they hold the same text.
const THINKING: [&str; 6] =
    ["reasoning_content", "reasoning", "thinking", "reasoning_text", "thought", "reasoning_details"];

/// Reads a message, or a piece of one.
pub(super) fn read(message: &Map<String, Value>) -> Content {
    let mut content = Content::default();
    if let Some(value) = message.get("content") {
        read_value(value, &mut content);
    }
    let mut named = THINKING.iter().filter_map(|name| message.get(*name)).map(words);
    if let Some(thinking) = named.find(|text| !text.is_empty()) {
        content.thinking = thinking;
    }
    content.refusal.push_str(&message.get("refusal").map(words).unwrap_or_default());
    content
}

fn read_value(value: &Value, content: &mut Content) {
    match value {
        Value::Array(parts) => parts.iter().for_each(|part| read_value(part, content)),
        Value::Object(part) => {
            let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
            let text = words(value);
            match kind {
                "refusal" => content.refusal.push_str(&text),
                _ if kind.contains("think") || kind.contains("reason") => content.thinking.push_str(&text),
                _ => content.text.push_str(&text),
            }
        }
        other => content.text.push_str(&words(other)),
    }
}

/// The words of a value: a text, a number as it is written, or the text of parts.
pub(super) fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(parts) => parts.iter().map(words).collect(),
        Value::Object(part) => {
            ["text", "content", "value", "thinking", "reasoning", "summary", "refusal", "parts"]
                .iter()
                .filter_map(|name| part.get(*name))
                .map(words)
                .find(|text| !text.is_empty())
                .unwrap_or_default()
        }
        Value::Null | Value::Bool(_) => String::new(),
    }
}
