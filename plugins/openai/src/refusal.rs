//! What a refused request tells about the server, so that it can be sent once more without what was refused: a parameter
//! that the server names, or an order of messages that it does not accept.
//!
//! Never drops what changes the question: model, messages and tools stay. The limit of tokens gets its other name and is
//! not dropped, since it bounds what a reply costs.

use crate::failure;
use crate::prompt_shape::{LateSystem, PromptShape};
use crate::reported;
use serde_json::{Map, Value};

/// Parameters that are never left out.
const KEPT: [&str; 5] = ["model", "messages", "tools", "max_tokens", "max_completion_tokens"];
/// The two names for the longest reply.
const LIMITS: [(&str, &str); 2] =
    [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")];
/// What servers say about a parameter that they do not take.
const UNSUPPORTED: [&str; 14] = [
    "support",
    "unknown",
    "unrecognized",
    "unexpected",
    "not permitted",
    "not allowed",
    "not recognized",
    "not available",
    "extra",
    "additional propert",
    "does not accept",
    "deprecated",
    "use '",
    "invalid param",
];

/// Leaves out, or renames, the parameter that a refusal names. Returns what was done, or `None` if it names none.
pub(crate) fn without_parameter(body: &mut Map<String, Value>, status: u16, answer: &[u8]) -> Option<String> {
    if !matches!(status, 400 | 422) || is_about_content(status, answer) {
        return None;
    }
    let error = failure::error_of(answer);
    let words = error.as_ref().and_then(reported::words).unwrap_or_else(|| failure::excerpt(answer));
    let param =
        error.as_ref().and_then(|error| error.get("param")).and_then(Value::as_str).unwrap_or_default();
    // Validation errors of FastAPI name the place: `"loc": ["body", "stream_options"]`.
    let places = error.as_ref().map(located).unwrap_or_default();
    let is_unsupported = UNSUPPORTED.iter().any(|phrase| words.to_lowercase().contains(phrase));
    let is_named = |name: &str| {
        param == name
            || places.iter().any(|place| place == name)
            || is_quoted(&words, name)
            || (is_unsupported && is_word(&words, name))
    };
    for (sent, other) in LIMITS {
        if body.contains_key(sent)
            && (is_named(sent) && is_unsupported || places.iter().any(|place| place == sent))
        {
            let limit = body.remove(sent)?;
            body.insert(other.into(), limit);
            return Some(format!("`{other}` in place of `{sent}`"));
        }
    }
    let is_droppable = |name: &&String| !KEPT.contains(&name.as_str());
    // The longest name first: `stream_options` is not `stream`.
    let mut names: Vec<_> = body.keys().filter(is_droppable).cloned().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let name = names.into_iter().find(|name| is_named(name))?;
    body.remove(&name)?;
    Some(format!("without `{name}`"))
}

/// The order of messages that the refusal asks for, if it differs from the one that was sent. Some servers report the
/// refusal of their chat template with status 500.
pub(crate) fn stricter_shape(shape: PromptShape, status: u16, answer: &[u8]) -> Option<PromptShape> {
    if !matches!(status, 400 | 422 | 500) {
        return None;
    }
    let error = failure::error_of(answer);
    let words =
        error.as_ref().and_then(reported::words).unwrap_or_else(|| failure::excerpt(answer)).to_lowercase();
    let has = |any: &[&str]| any.iter().any(|part| words.contains(part));
    let alternates = has(&["alternat", "consecutive", "successive", "same role", "in a row"])
        || (has(&[
            "first message",
            "first non-system",
            "must start",
            "must begin",
            "start with",
            "begin with",
        ]) && has(&["user"]));
    let is_about_system = has(&["system"])
        && has(&[
            "beginning",
            "first",
            "start",
            "only",
            "one system",
            "single",
            "after",
            "last role",
            "position",
            "not supported",
        ]);
    if !alternates && !is_about_system {
        return None;
    }
    let late_system = match shape.late_system {
        LateSystem::Keep => LateSystem::User,
        other => other,
    };
    let stricter = PromptShape { alternates: shape.alternates || alternates, late_system };
    (stricter != shape).then_some(stricter)
}

/// Whether the refusal is about the prompt, which no parameter changes.
fn is_about_content(status: u16, answer: &[u8]) -> bool {
    let failure = failure::from_status(
        status,
        answer,
        failure::RetryAfter::default(),
        std::time::SystemTime::UNIX_EPOCH,
    );
    matches!(failure.code.as_str(), "context-length" | "filtered" | "unauthorized" | "not-found")
}

/// The last names of all `loc` members.
fn located(error: &Value) -> Vec<String> {
    match error {
        Value::Array(items) => items.iter().flat_map(located).collect(),
        Value::Object(members) => {
            let place = members.get("loc").and_then(Value::as_array);
            let own = place.and_then(|place| place.iter().rev().find_map(Value::as_str)).map(String::from);
            let inner = members.values().filter(|value| value.is_array() || value.is_object());
            own.into_iter().chain(inner.flat_map(located)).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether the words name the parameter in quotation marks.
fn is_quoted(words: &str, name: &str) -> bool {
    ['\'', '"', '`'].iter().any(|mark| words.contains(&format!("{mark}{name}{mark}")))
}

/// Whether the words hold the name as a word of its own.
fn is_word(words: &str, name: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    words.match_indices(name).any(|(at, _)| {
        let (before, after) =
            (words.get(..at).unwrap_or_default(), words.get(at + name.len()..).unwrap_or_default());
        !before.ends_with(is_part) && !after.starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body() -> Map<String, Value> {
        let body = json!({
            "model": "m", "messages": [], "stream": true, "stream_options": {}, "temperature": 0.2, "max_tokens": 9,
            "user": "u", "tools": [],
        });
        body.as_object().unwrap().clone()
    }

    #[test]
    fn only_the_parameter_that_a_refusal_names_is_left_out_or_renamed() {
        let openai =
            |message: &str, param: Value| json!({"error": {"message": message, "param": param, "code": "x"}});
        let table = [
            (
                openai(
                    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                    json!("max_tokens"),
                ),
                Some("`max_completion_tokens` in place of `max_tokens`"),
            ),
            (
                openai("use max_completion_tokens, max_tokens is not supported", json!(null)),
                Some("`max_completion_tokens` in place of `max_tokens`"),
            ),
            (
                openai(
                    "Unsupported value: 'temperature' does not support 0.2 with this model.",
                    json!("temperature"),
                ),
                Some("without `temperature`"),
            ),
            (
                json!({"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}),
                Some("without `stream_options`"),
            ),
            (
                json!({"object": "error", "message": "Unrecognized request argument supplied: stream_options"}),
                Some("without `stream_options`"),
            ),
            (json!({"error": "unknown field `user`"}), Some("without `user`")),
            (openai("Conversation roles must alternate user/assistant/user/assistant", json!(null)), None),
            (openai("The messages are invalid.", json!("messages")), None),
            (openai("'tools' is not supported", json!("tools")), None),
            (
                openai("maximum context length is 8 tokens; 'max_tokens' is too large", json!("max_tokens")),
                None,
            ),
            (json!({"error": "Bad request"}), None),
        ];
        for (answer, wanted) in table {
            let mut body = body();
            let done = without_parameter(&mut body, 400, answer.to_string().as_bytes());
            assert_eq!(done.as_deref(), wanted, "{answer}");
            assert!(
                body.contains_key("model") && body.contains_key("messages") && body.contains_key("tools")
            );
            assert_eq!(
                body.len(),
                if wanted.is_some_and(|done| done.starts_with("without")) { 7 } else { 8 }
            );
        }
        let named = openai("'temperature' is not supported", json!(null)).to_string();
        assert_eq!(without_parameter(&mut body(), 500, named.as_bytes()), None);
    }

    #[test]
    fn a_refused_order_of_messages_asks_for_a_stricter_one() {
        let plain = PromptShape { alternates: false, late_system: LateSystem::Keep };
        let strict = PromptShape { alternates: true, late_system: LateSystem::User };
        let table = [
            ("Conversation roles must alternate user/assistant/user/assistant/...", Some(strict)),
            (
                "After the (optional) system message(s), user and assistant roles should be alternating.",
                Some(strict),
            ),
            ("deepseek-reasoner does not support successive user or assistant messages", Some(strict)),
            ("System message must be at the beginning.", Some(PromptShape { alternates: false, ..strict })),
            (
                "Only one system message is supported, at the start.",
                Some(PromptShape { alternates: false, ..strict }),
            ),
            ("First message must be from user.", Some(strict)),
            ("Unexpected role 'system' after role 'user'", Some(PromptShape { alternates: false, ..strict })),
            (
                "Expected last role User or Tool but got system",
                Some(PromptShape { alternates: false, ..strict }),
            ),
            ("Bad request", None),
        ];
        for (message, wanted) in table {
            for body in [json!({"error": {"message": message}}).to_string(), message.to_owned()] {
                assert_eq!(stricter_shape(plain, 400, body.as_bytes()), wanted, "{body}");
                assert_eq!(stricter_shape(strict, 400, body.as_bytes()), None, "{body}");
            }
            assert_eq!(stricter_shape(plain, 404, message.as_bytes()), None);
        }
    }
}
