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
const WORDS: [&str; 14] = [
    "message",
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
/// How deep errors are wrapped in each other at most.
const MAX_DEPTH: usize = 6;

/// The error that a frame, or a whole answer, reports. `None` for a frame of a reply, and for frames that say nothing.
pub(crate) fn error_in(frame: &Map<String, Value>) -> Option<Value> {
    if let Some(error) = wrapped(frame) {
        return Some(error);
    }
    let whole = || Some(Value::Object(frame.clone()));
    if MARKS.iter().filter_map(|name| frame.get(*name)).any(|value| !is_blank(value)) {
        return whole();
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
    // Without a reply in it, words are an error: `{"detail": …}`, `{"code": 1302, "msg": …}`.
    let has_reply =
        ["choices", "usage", "delta"].iter().filter_map(|name| frame.get(*name)).any(|v| !is_blank(v));
    let is_heartbeat =
        ["type", "event"].iter().any(|name| says(name, &["ping", "heartbeat", "keepalive", "keep-alive"]));
    let is_worded =
        ["message", "msg", "detail", "error_description"].iter().any(|name| match frame.get(*name) {
            Some(Value::String(text)) => !text.trim().is_empty(),
            Some(Value::Array(items)) => *name == "detail" && !items.is_empty(),
            _ => false,
        });
    if is_worded && !has_reply && !is_heartbeat { whole() } else { None }
}

/// The error under one of the names of errors.
pub(crate) fn wrapped(object: &Map<String, Value>) -> Option<Value> {
    let found = WRAPPERS.iter().filter_map(|name| object.get(*name)).find(|value| !is_blank(value))?;
    match found {
        // `{"error": true, "message": …}`
        Value::Bool(_) => Some(Value::Object(object.clone())),
        // `{"error": "not_found", "message": …}`: the words are beside the name.
        Value::String(name) if words(&Value::Object(without(object))).is_some() => {
            let mut error = without(object);
            error.entry("type").or_insert_with(|| name.clone().into());
            Some(Value::Object(error))
        }
        _ => Some(found.clone()),
    }
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
            Value::Object(members) => wrapped(members).filter(|inner| *inner != error),
            Value::String(text) => inner_json(text),
            _ => None,
        };
        match inner {
            // An inner text takes the outer members along: they may hold the status.
            Some(Value::String(text)) if error.is_object() => {
                let mut members = error.as_object().map(without).unwrap_or_default();
                members.insert("message".into(), text.into());
                return Value::Object(members);
            }
            Some(inner) => error = inner,
            None => break,
        }
    }
    error
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
