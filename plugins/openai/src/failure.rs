//! Translates an endpoint's errors into the codes of the contract.
//!
//! The failure's message holds the beginning of what the endpoint sent. Only the operator's log shows it.

use masque_sdk::Failure;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// The number of bytes of an endpoint's answer that a message holds.
pub(crate) const MAX_EXCERPT: usize = 4 * 1024;
/// The longest time to wait that is passed on; longer ones are shortened to it.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

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
    let error = serde_json::from_slice::<Value>(body).ok();
    let error = error.as_ref().map(error_object);
    let code = match status {
        300..=399 => "unavailable",
        401..=403 => "unauthorized",
        404 => "not-found",
        408 | 504 => "timeout",
        429 => "rate-limited",
        503 | 529 => "overloaded",
        400..=499 => error.and_then(code_of).unwrap_or("invalid"),
        _ => "unavailable",
    };
    let hint = match status {
        300..=399 => " (redirects are not followed; name the final address in `base_url`)",
        401..=403 => " (check the key in `[credentials]` and that the plugin's grants name it)",
        404 => " (check `base_url` and `model`)",
        _ => "",
    };
    let said = error.and_then(message).map_or_else(|| excerpt(body), |text| excerpt(text.as_bytes()));
    let failure = Failure::new(code, format!("the endpoint answered {status}{hint}: {said}"));
    match retry.wait(now) {
        Some(wait) => failure.retry_after(wait),
        None => failure,
    }
}

/// The failure of an error object in a stream or in a response with the status 200.
pub(crate) fn from_error(error: &Value) -> Failure {
    let error = error_object(error);
    let status =
        ["code", "status", "status_code"].iter().find_map(|name| error.get(name)).and_then(as_status);
    let code = match status {
        Some(429) => "rate-limited",
        Some(401..=403) => "unauthorized",
        Some(408 | 504) => "timeout",
        Some(503 | 529) => "overloaded",
        _ => code_of(error).unwrap_or("unavailable"),
    };
    let said = message(error).map_or_else(|| error.to_string(), String::from);
    Failure::new(code, format!("the endpoint reported an error: {}", excerpt(said.as_bytes())))
}

/// The failure of a response that is not an answer.
pub(crate) fn invalid_answer(what: &str, body: &[u8]) -> Failure {
    Failure::unavailable(format!("invalid answer from the endpoint, {what}: {}", excerpt(body)))
}

/// Returns the beginning of an endpoint's answer on one line, without control characters.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let kept = bytes.get(..MAX_EXCERPT).unwrap_or(bytes);
    let text = String::from_utf8_lossy(kept).replace(char::is_control, " ");
    let mark = if kept.len() < bytes.len() { "…" } else { "" };
    format!("{}{mark}", text.trim())
}

fn error_object(value: &Value) -> &Value {
    value.get("error").unwrap_or(value)
}

fn message(error: &Value) -> Option<&str> {
    let nested = || ["message", "detail"].iter().find_map(|name| error.get(name)?.as_str());
    error.as_str().or_else(nested)
}

fn as_status(value: &Value) -> Option<u16> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    u16::try_from(number?).ok()
}

/// Tells the code by the `code` and `type` of an error, or by its text, since many servers have neither field.
fn code_of(error: &Value) -> Option<&'static str> {
    let named = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let known = [named("code"), named("type")].join(" ");
    let words = message(error).unwrap_or_default().to_lowercase();
    let has = |text: &str, any: &[&str]| any.iter().any(|part| text.contains(part));
    if has(&known, &["context_length", "context_size", "string_above_max"])
        || has(
            &words,
            &["context length", "context window", "context size", "maximum context", "prompt is too long"],
        )
    {
        Some("context-length")
    } else if has(&known, &["content_filter", "content_policy", "responsibleaipolicy"]) {
        Some("filtered")
    } else if has(&known, &["rate_limit", "quota", "tokens_per"]) {
        Some("rate-limited")
    } else if has(&known, &["overloaded", "capacity"]) {
        Some("overloaded")
    } else if has(&known, &["api_key", "authentication", "permission"]) {
        Some("unauthorized")
    } else if has(&known, &["model_not_found", "not_found"]) {
        Some("not-found")
    } else if has(&known, &["timeout"]) {
        Some("timeout")
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
