//! Translates an endpoint's errors into the codes of the contract.
//!
//! The failure's message holds the beginning of an error that the endpoint reports. Only the operator's log shows it, and the
//! host leaves out what it repeats of a message. What may be a part of a reply is not in it: `shape` says how that looks.

use crate::frames::{Frame, Frames};
use crate::json;
use crate::reported;
use crate::surrogates;
use masque_sdk::Failure;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// The number of bytes of an endpoint's answer that a message holds.
pub(crate) const MAX_EXCERPT: usize = 4 * 1024;
/// The longest time to wait that is passed on; longer ones are shortened to it.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The words with which servers say that a prompt is longer than the model's context.
const CONTEXT_WORDS: [&str; 9] = [
    "context length",
    "context window",
    "context size",
    "maximum context",
    "prompt is too long",
    "request is too long",
    "input is too long",
    "too many input tokens",
    "exceeds the available context",
];

/// The headers in which an endpoint says when to try again.
#[derive(Clone, Copy, Default)]
pub(crate) struct RetryAfter<'a> {
    /// `retry-after-ms`: milliseconds, sent by OpenAI.
    pub(crate) milliseconds: Option<&'a str>,
    /// `retry-after`: seconds, or a date (RFC 9110, section 10.2.3).
    pub(crate) header: Option<&'a str>,
}

impl RetryAfter<'_> {
    pub(crate) fn wait(self, now: SystemTime) -> Option<Duration> {
        let milliseconds = self.milliseconds.and_then(|text| number(text, 0.001));
        let seconds = || self.header.and_then(|text| number(text, 1.0));
        let date = || {
            let until = httpdate::parse_http_date(self.header?.trim()).ok()?;
            Some(until.duration_since(now).unwrap_or_default())
        };
        milliseconds.or_else(seconds).or_else(date).map(|wait| wait.min(MAX_WAIT))
    }
}

fn number(text: &str, unit: f64) -> Option<Duration> {
    let number: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(number * unit).ok()
}

/// The failure of a response whose status is an error or a redirect.
pub(crate) fn from_status(status: u16, body: &[u8], retry: RetryAfter<'_>, now: SystemTime) -> Failure {
    let error = error_of(body);
    let code = match status {
        300..=399 => "unavailable",
        401..=403 => "unauthorized",
        404 => "not-found",
        408 | 504 => "timeout",
        429 => "rate-limited",
        503 | 529 => "overloaded",
        400..=499 => error.as_ref().and_then(code_of).unwrap_or("invalid"),
        _ => error.as_ref().and_then(code_of).unwrap_or("unavailable"),
    };
    let hint = match status {
        300..=399 => " (redirects are not followed; name the final address in `base_url`)",
        401..=403 => " (check the key in `[credentials]` and that the plugin's grants name it)",
        404 => " (check `base_url` and `model`)",
        _ => "",
    };
    let said = error
        .as_ref()
        .and_then(reported::words)
        .map_or_else(|| excerpt(body), |text| excerpt(text.as_bytes()));
    let failure = Failure::new(code, format!("the endpoint answered {status}{hint}: {said}"));
    match retry.wait(now) {
        Some(wait) => failure.retry_after(wait),
        None => failure,
    }
}

/// The error that the body of a response holds, as JSON or as an event of a stream.
pub(crate) fn error_of(body: &[u8]) -> Option<Value> {
    let mut frames = Frames::default();
    // A body that is too long has no error that could be read.
    frames.push(body).and_then(|()| frames.end()).ok()?;
    let (Frame::Event(text) | Frame::Bare(text) | Frame::Error(text)) = frames.next()?;
    let error = json::parse(&text).ok()?.into_iter().next()?;
    Some(reported::innermost(&error))
}

/// The failure of an error in a stream or in a response with the status 200.
pub(crate) fn from_error(error: &Value) -> Failure {
    let error = reported::innermost(error);
    let code = code_of(&error).or_else(|| code_of_status(status_of(&error)?)).unwrap_or("unavailable");
    let said = reported::words(&error).unwrap_or_else(|| error.to_string());
    Failure::new(code, format!("the endpoint reported an error: {}", excerpt(said.as_bytes())))
}

/// The code for the status that an error in a reply names.
fn code_of_status(status: u64) -> Option<&'static str> {
    // FastChat and others append two digits: 42903.
    let status = if (10_000..100_000).contains(&status) { status / 100 } else { status };
    Some(match status {
        401..=403 => "unauthorized",
        404 => "not-found",
        408 | 504 => "timeout",
        429 => "rate-limited",
        503 | 529 => "overloaded",
        400..=499 => "invalid",
        _ => return None,
    })
}

/// The failure of a response that is not an answer, and looks like `shape`.
pub(crate) fn invalid_answer(what: &str, shape: &str) -> Failure {
    Failure::unavailable(format!("invalid answer from the endpoint, {what}: {shape}"))
}

/// Returns the beginning of an endpoint's answer on one line, without control characters. Of one that is compressed it
/// returns the encoding.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    // The second form is the first one, read as text.
    if bytes.starts_with(b"\x1f\x8b") || bytes.starts_with(b"\x1f\xef\xbf\xbd") {
        return "(compressed with gzip, without the header content-encoding)".to_owned();
    }
    let kept = bytes.get(..MAX_EXCERPT).unwrap_or(bytes);
    let text = String::from_utf8_lossy(kept).replace(char::is_control, " ");
    let text = text.replace(surrogates::is_mark, "\u{fffd}");
    let mark = if kept.len() < bytes.len() { "…" } else { "" };
    format!("{}{mark}", text.trim())
}

/// The number that an error names as its status, if it names one.
fn status_of(error: &Value) -> Option<u64> {
    let number = |value: &Value| match value {
        // The cast saturates.
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().map(|number| number as u64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    // `{"error": 429}`
    if error.is_number() {
        return number(error);
    }
    ["code", "status", "status_code", "http_status", "http_code", "error_code"]
        .iter()
        .filter_map(|name| error.get(name))
        .find_map(number)
}

/// Tells the code by the names in an error, or by its words, since many servers have no names. A number counts less: it
/// is often 400 or 500 for everything.
fn code_of(error: &Value) -> Option<&'static str> {
    let named = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let known = ["code", "type", "status", "error_type", "error_code"].map(named).join(" ");
    let words = reported::words(error).unwrap_or_default().to_lowercase();
    let has = |text: &str, any: &[&str]| any.iter().any(|part| text.contains(part));
    let is = |names: &[&str], phrases: &[&str]| has(&known, names) || has(&words, phrases);
    let of_status = status_of(error).and_then(code_of_status);
    if is(&["context_length", "context_size", "string_above_max"], &CONTEXT_WORDS) {
        Some("context-length")
    } else if is(
        &["content_filter", "content_policy", "responsibleaipolicy", "moderation"],
        &["content management policy", "content policy", "content filter"],
    ) {
        Some("filtered")
    } else if has(&known, &["rate_limit", "quota", "tokens_per", "resource_exhausted", "too_many_requests"]) {
        Some("rate-limited")
    } else if has(&known, &["overloaded", "capacity"]) {
        Some("overloaded")
    } else if is(
        &["api_key", "authentication", "unauthenticated", "permission", "unauthorized"],
        &["api key not valid", "invalid api key", "incorrect api key"],
    ) {
        Some("unauthorized")
    } else if has(&known, &["model_not_found", "not_found"]) {
        Some("not-found")
    } else if has(&known, &["timeout", "deadline_exceeded", "timed_out"]) {
        Some("timeout")
    } else if of_status.is_some() {
        of_status
    } else if has(&words, &["rate limit", "too many requests", "quota"]) {
        Some("rate-limited")
    } else if has(&words, &["overloaded", "at capacity"]) {
        Some("overloaded")
    } else if has(&words, &["timed out", "timeout"]) {
        Some("timeout")
    } else if has(&known, &["invalid_request", "invalid_argument", "bad_request"]) {
        Some("invalid")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_status_has_its_code() {
        let error =
            |code: &str, message: &str| json!({"error": {"code": code, "message": message}}).to_string();
        let llama =
            json!({"error": {"code": 400, "type": "exceed_context_size_error", "message": "too big"}})
                .to_string();
        let vllm =
            json!({"object": "error", "message": "This model's maximum context length is 4096 tokens."})
                .to_string();
        let table = [
            (400, error("context_length_exceeded", ""), "context-length"),
            (400, llama, "context-length"),
            (400, vllm, "context-length"),
            (400, error("content_filter", ""), "filtered"),
            (400, error("unknown_parameter", "no such thing"), "invalid"),
            (400, "garbage".into(), "invalid"),
            (401, error("invalid_api_key", ""), "unauthorized"),
            (402, String::new(), "unauthorized"),
            (403, String::new(), "unauthorized"),
            (404, error("model_not_found", ""), "not-found"),
            (408, String::new(), "timeout"),
            (413, String::new(), "invalid"),
            (422, String::new(), "invalid"),
            (429, error("rate_limit_exceeded", ""), "rate-limited"),
            (500, String::new(), "unavailable"),
            (502, "<html>".into(), "unavailable"),
            (503, String::new(), "overloaded"),
            (504, String::new(), "timeout"),
            (529, String::new(), "overloaded"),
            (301, String::new(), "unavailable"),
            (204, String::new(), "unavailable"),
        ];
        for (status, body, code) in table {
            let failure = from_status(status, body.as_bytes(), RetryAfter::default(), SystemTime::UNIX_EPOCH);
            assert_eq!(failure.code, code, "{status} {body}");
            assert_eq!(failure.retry_after_ms, None);
        }
    }

    #[test]
    fn an_error_instead_of_a_reply_has_its_code() {
        let table = [
            (json!({"error": {"code": 429, "message": "slow down"}}), "rate-limited"),
            (json!({"error": {"code": "503"}}), "overloaded"),
            (json!({"error": {"type": "server_error"}}), "unavailable"),
            (json!({"error": {"type": "overloaded_error"}}), "overloaded"),
            (json!({"error": {"code": "context_length_exceeded"}}), "context-length"),
            (json!({"error": "out of memory"}), "unavailable"),
            (json!({"error": 429}), "rate-limited"),
            (json!({"error": {"code": 429.0}}), "rate-limited"),
            (json!({"error": "slow down", "status": 429}), "rate-limited"),
            (json!({"error": "no slot", "error_type": "overloaded"}), "overloaded"),
            (json!({"detail": {"error": {"code": 504}}}), "timeout"),
        ];
        for (error, code) in table {
            assert_eq!(from_error(&error).code, code, "{error}");
        }
    }

    #[test]
    fn both_headers_for_retries_are_read() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let table: [(Option<&str>, Option<&str>, Option<u64>); 10] = [
            (None, Some("20"), Some(20_000)),
            (None, Some(" 1.5 "), Some(1_500)),
            (None, Some("Sun, 06 Nov 1994 08:50:07 GMT"), Some(30_000)),
            (None, Some("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0)),
            (Some("250"), Some("1"), Some(250)),
            (Some("soon"), Some("1"), Some(1_000)),
            (None, Some("-1"), None),
            (None, Some("soon"), None),
            (None, Some("1e300"), None),
            (None, Some("99999999"), Some(86_400_000)),
        ];
        for (milliseconds, header, wanted) in table {
            let failure = from_status(429, b"", RetryAfter { milliseconds, header }, now);
            assert_eq!(failure.retry_after_ms, wanted, "{milliseconds:?} {header:?}");
        }
    }

    #[test]
    fn an_excerpt_is_short_and_on_one_line() {
        let long =
            from_status(500, "ä\n".repeat(100_000).as_bytes(), RetryAfter::default(), SystemTime::UNIX_EPOCH);
        assert!(long.message.len() < MAX_EXCERPT + 200 && !long.message.contains('\n'));
    }
}
