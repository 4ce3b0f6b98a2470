//! The open parts of a record: what plugins received and returned. Reading them never fails, since a record may be of another
//! version: what is missing or has another shape is left out. Pure.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::view::{ExplainedPart, ExplainedTiming, ExplainedUsage};

/// A message in a record.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RecordedMessage {
    pub(super) id: Option<String>,
    pub(super) role: String,
    pub(super) source: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) bytes: u64,
    pub(super) tokens: u64,
    pub(super) cache: bool,
    pub(super) parts: Vec<RecordedPart>,
}

/// A part of a message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RecordedPart {
    r#type: String,
    name: Option<String>,
    media_type: Option<String>,
    bytes: u64,
    tokens: u64,
    text: Option<String>,
}

impl From<RecordedPart> for ExplainedPart {
    fn from(part: RecordedPart) -> Self {
        let RecordedPart { r#type, name, media_type, bytes, tokens, text } = part;
        Self { r#type, name, media_type, bytes, tokens, text }
    }
}

/// A memory that was recalled.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RecordedMemory {
    pub(super) id: Option<String>,
    pub(super) source: Option<String>,
    pub(super) score: Option<f64>,
    pub(super) digest: Option<String>,
    pub(super) bytes: u64,
    pub(super) tokens: u64,
    pub(super) text: Option<String>,
}

/// A tool of a prompt.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RecordedTool {
    pub(super) name: Option<String>,
    pub(super) digest: Option<String>,
    pub(super) bytes: u64,
    pub(super) tokens: u64,
    pub(super) text: Option<String>,
}

/// The reply of a model.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RecordedReply {
    pub(super) digest: Option<String>,
    pub(super) bytes: u64,
    pub(super) tokens: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RecordedTiming {
    first_content_ms: Option<f64>,
    total_ms: Option<f64>,
    host_ms: Option<f64>,
    upstream_ms: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RecordedUsage {
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
    estimated: bool,
}

pub(super) fn timing(value: &Value) -> ExplainedTiming {
    let RecordedTiming { first_content_ms, total_ms, host_ms, upstream_ms } = read(value);
    ExplainedTiming { first_content_ms, total_ms, host_ms, upstream_ms }
}

pub(super) fn usage(value: &Value) -> ExplainedUsage {
    let RecordedUsage { input_tokens, output_tokens, cached_tokens, estimated } = read(value);
    ExplainedUsage { input_tokens, output_tokens, cached_tokens, estimated }
}

/// A part of a record, or its default if it has another shape.
pub(super) fn read<T: DeserializeOwned + Default>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_default()
}

/// The items of a list; none if there is no such list.
pub(super) fn list<'a, T: DeserializeOwned + Default>(
    value: &'a Value,
    name: &str,
) -> impl Iterator<Item = T> + use<'a, T> {
    items(value, name).map(read)
}

/// The items of a list as they are.
pub(super) fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// A number, if it is one.
pub(super) fn number(value: &Value, name: &str) -> Option<u64> {
    value.get(name).and_then(Value::as_u64)
}

/// A text, if it is one.
pub(super) fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_missing_or_has_another_shape_is_left_out() {
        for value in [json!(null), json!(3), json!([]), json!({}), json!({ "messages": 7 })] {
            assert_eq!(list::<RecordedMessage>(&value, "messages").count(), 0, "{value}");
            assert_eq!(timing(&value), ExplainedTiming::default(), "{value}");
        }
        let value = json!({ "messages": [{ "role": "user", "mood": "fine", "tokens": 3 }, { "role": 7 }] });
        let read: Vec<RecordedMessage> = list(&value, "messages").collect();
        let seen: Vec<_> = read.iter().map(|message| (message.role.as_str(), message.tokens)).collect();
        assert_eq!(seen, [("user", 3), ("", 0)]);
    }
}
