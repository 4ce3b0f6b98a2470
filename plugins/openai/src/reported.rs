//! Finds the error that a server reports, however it is wrapped: under `error` or another name, in a list, in a choice, or
//! as the whole frame. Says nothing about its class, which `failure` tells.

use crate::json::is_blank;
use serde_json::{Map, Value};

/// The names under which an error is a member of its own.
const WRAPPERS: [&str; 7] = ["error", "errors", "Error", "err", "exception", "fault", "error_details"];
/// The names of members that only an error has.
const MARKS: [&str; 10] = [
    "error_code",
    "errorCode",
    "err_code",
    "errcode",
    "error_msg",
    "error_message",
    "errorMessage",
    "errmsg",
    "error_type",
    "faultstring",
];
/// The names of an error's words, in the order of preference.
const WORDS: [&str; 15] = [
    "message",
    "Message",
    "error_message",
    "error_msg",
    "errorMessage",
    "errmsg",
    "err_msg",
    "msg",
    "detail",
    "details",
    "description",
    "faultstring",
    "status_msg",
    "reason",
    "title",
];
/// The members of a frame of a reply.
const USUAL: [&str; 9] = [
    "id",
    "object",
    "created",
    "model",
    "choices",
    "usage",
    "system_fingerprint",
    "service_tier",
    "provider",
];
/// The kinds of frames that tell how far the server is.
const HEARTBEATS: [&str; 9] = [
    "ping",
    "heartbeat",
    "keepalive",
    "keep-alive",
    "queued",
    "pending",
    "loading",
    "processing",
    "in_progress",
];
/// The members in which a gateway puts the answer of the server behind it.
const ENVELOPES: [&str; 6] = ["response", "Response", "detail", "data", "body", "result"];
/// How deep errors are wrapped in each other at most.
const MAX_DEPTH: usize = 6;

/// The error that a frame, or a whole answer, reports. `None` for a frame of a reply, and for frames that say nothing.
pub(crate) fn error_in(frame: &Map<String, Value>) -> Option<Value> {
    // Most frames of a stream are plain ones.
    let is_plain = frame.keys().all(|name| USUAL.contains(&name.as_str()));
    if is_plain && frame.get("object").and_then(Value::as_str) != Some("error") {
        return None;
    }
    if let Some(error) = wrapped(frame) {
        return Some(error);
    }
    let whole = || Some(Value::Object(frame.clone()));
    if MARKS.iter().filter_map(|name| frame.get(*name)).any(|value| !says_success(value)) {
        return whole();
    }
    // Groq has its own place for what goes wrong within a stream.
    if let Some(error) = frame.get("x_groq").and_then(Value::as_object).and_then(wrapped) {
        return Some(error);
    }
    // MiniMax reports the outcome beside the reply.
    if let Some(Value::Object(outcome)) = frame.get("base_resp")
        && outcome.get("status_code").is_some_and(|code| !is_blank(code))
    {
        return Some(Value::Object(outcome.clone()));
    }
    let says = |name: &str, words: &[&str]| {
        let said = frame.get(name).and_then(Value::as_str).unwrap_or_default();
        words.iter().any(|word| said.eq_ignore_ascii_case(word))
    };
    let names_itself = ["object", "type", "status", "event"]
        .iter()
        .any(|name| says(name, &["error", "failed", "failure", "exception"]));
    if names_itself || frame.get("success") == Some(&Value::Bool(false)) {
        return whole();
    }
    let has_reply =
        ["choices", "usage", "delta"].iter().filter_map(|name| frame.get(*name)).any(|v| !is_blank(v));
    if has_reply {
        return None;
    }
    let inner = ENVELOPES.iter().filter_map(|name| frame.get(*name)?.as_object());
    if let Some(error) = inner.filter(|inner| !inner.contains_key("choices")).find_map(wrapped) {
        return Some(error);
    }
    // Without a reply in it, words are an error: `{"detail": …}`, `{"code": 1302, "msg": …}`.
    let is_heartbeat = ["type", "event", "status"].iter().any(|name| says(name, &HEARTBEATS));
    let is_worded =
        ["message", "Message", "msg", "detail", "title", "error_description"].iter().any(|name| match frame
            .get(*name)
        {
            Some(Value::String(text)) => !text.trim().is_empty(),
            Some(Value::Array(items)) => *name == "detail" && !items.is_empty(),
            Some(detail @ Value::Object(_)) => *name == "detail" && !is_blank(detail),
            _ => false,
        });
    if is_worded && !is_heartbeat { whole() } else { None }
}

/// Whether a code or a text of an outcome reports no error.
fn says_success(value: &Value) -> bool {
    let is_good = |text: &str| {
        ["0", "200", "ok", "success", "none", "null"].iter().any(|good| text.eq_ignore_ascii_case(good))
    };
    match value {
        Value::String(text) => text.trim().is_empty() || is_good(text.trim()),
        Value::Number(number) => number.as_u64() == Some(200) || is_blank(value),
        other => is_blank(other),
    }
}

/// The error under one of the names of errors, or under a name that holds the word.
pub(crate) fn wrapped(object: &Map<String, Value>) -> Option<Value> {
    let named = WRAPPERS.iter().filter_map(|name| object.get(*name)).find(|value| !says_success(value));
    let found = named.or_else(|| {
        // `{"internalServerException": {"message": …}}`
        let is_error = |name: &str, value: &Value| {
            value.is_object() && is_named_after_errors(name) && words(value).is_some()
        };
        object.iter().find(|(name, value)| is_error(name, value)).map(|(_, value)| value)
    })?;
    match found {
        // `{"error": true, "message": …}`
        Value::Bool(_) => Some(Value::Object(object.clone())),
        // `{"error": "not_found", "message": …}`: the words are beside the name. In `{"error": "slow down", "status": 429}`
        // they are the error itself.
        Value::String(text) if inner_json(text).is_none() => {
            let mut error = without(object);
            let has_words =
                WORDS.iter().filter_map(|name| error.get(*name)).any(|said| words(said).is_some());
            if has_words {
                error.entry("type").or_insert_with(|| text.clone().into());
            } else {
                error.insert("message".to_owned(), text.clone().into());
            }
            Some(Value::Object(error))
        }
        _ => Some(found.clone()),
    }
}

/// Whether the name of a member says that its object is an error.
fn is_named_after_errors(name: &str) -> bool {
    let has = |word: &[u8]| name.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
    has(b"error") || has(b"exception")
}

/// The members that are not the error's own wrapper and not a reply.
fn without(object: &Map<String, Value>) -> Map<String, Value> {
    let is_kept = |name: &String| !WRAPPERS.contains(&name.as_str()) && name != "choices";
    object
        .iter()
        .filter(|(name, _)| is_kept(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The error without its wrappings, for reading its members: the first of a list, the inner object, and the JSON in a
/// text.
pub(crate) fn innermost(error: &Value) -> Value {
    let mut error = error.clone();
    for _ in 0..MAX_DEPTH {
        let inner = match &error {
            Value::Array(items) => items.iter().find(|item| !is_blank(item)).cloned(),
            Value::Object(members) => {
                wrapped(members).or_else(|| enveloped(members)).filter(|inner| *inner != error)
            }
            Value::String(text) => inner_json(text),
            _ => None,
        };
        match inner {
            Some(inner) => error = inner,
            None => break,
        }
    }
    error
}

/// The object in `{"detail": {…}}`, if no words are beside it.
fn enveloped(members: &Map<String, Value>) -> Option<Value> {
    let detail = members.get("detail").filter(|_| !members.contains_key("message"))?;
    (detail.is_object() && !is_blank(detail)).then(|| detail.clone())
}

/// The error in a text that holds JSON, such as the body of an upstream's response.
fn inner_json(text: &str) -> Option<Value> {
    let start = text.find('{')?;
    let inner = serde_json::from_str::<Value>(text.get(start..)?.trim_end()).ok()?;
    let members = inner.as_object()?;
    (wrapped(members).is_some() || words(&inner).is_some()).then_some(inner)
}

/// What the error says in words.
pub(crate) fn words(error: &Value) -> Option<String> {
    match error {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Array(items) => {
            let said: Vec<_> = items.iter().filter_map(words).collect();
            (!said.is_empty()).then(|| said.join("; "))
        }
        Value::Object(members) => {
            let named = WORDS.iter().filter_map(|name| members.get(*name)).find_map(words);
            // FastChat's words are where a reply's text would be.
            named.or_else(|| members.get("text").and_then(words))
        }
        _ => None,
    }
}
