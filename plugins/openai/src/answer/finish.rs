//! What a server's finish reason means.

use crate::shape::is_name;
use masque_sdk::Failure;
use serde_json::Value;

/// How a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Finish {
    // From the weakest to the strongest: of several reasons the strongest counts.
    Stop,
    ToolCalls,
    Length,
    Filtered,
}

impl Finish {
    /// Its name in the contract.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::ToolCalls => "tool_calls",
            Self::Length => "length",
            Self::Filtered => "filtered",
        }
    }
}

const FILTERED: [&str; 32] = [
    "filter",
    "safety",
    "unsafe",
    "moderat",
    "block",
    "prohibit",
    "recitation",
    "refus",
    "guardrail",
    "sensitive",
    "policy",
    "violat",
    "spii",
    "flagged",
    "censor",
    "language",
    "toxic",
    "harm",
    "hate",
    "abus",
    "jailbreak",
    "injection",
    "copyright",
    "inappropriate",
    "profan",
    "risk",
    "illegal",
    "reject",
    "restrict",
    "nsfw",
    "intervene",
    "declin",
];
const FAILED: [&str; 26] = [
    "error",
    "fail",
    "abort",
    "cancel",
    "exception",
    "timeout",
    "timed_out",
    "time_limit",
    "deadline",
    "interrupt",
    "insufficient",
    "unavailable",
    "overload",
    "rate_limit",
    "quota",
    "throttl",
    "malformed",
    "invalid",
    "disconnect",
    "preempt",
    "evict",
    "killed",
    "crash",
    "out_of_memory",
    "unexpected",
    "busy",
];
const LENGTH: [&str; 9] = [
    "length",
    "max_",
    "token_limit",
    "tokens_limit",
    "truncat",
    "incomplete",
    "limit_reached",
    "exceed",
    "context_full",
];
const TOOL_CALLS: [&str; 3] = ["tool_call", "tool_use", "function_call"];
const STOP: [&str; 11] = [
    "stop",
    "eos",
    "end",
    "end_turn",
    "end_of_turn",
    "complete",
    "completed",
    "done",
    "finished",
    "success",
    "eos_token",
];
/// What says that the reply goes on.
const NO_END: [&str; 14] = [
    "",
    "null",
    "none",
    "nil",
    "undefined",
    "unspecified",
    "finish_reason_unspecified",
    "continue",
    "in_progress",
    "running",
    "generating",
    "streaming",
    "pending",
    "unfinished",
];

/// Reads a finish reason. `None` if the value is no end: some servers send an empty reason, or the word `null`, with
/// every frame but the last.
///
/// # Errors
/// The reason is a failure of the server. A reason that nobody knows is logged and counts as `stop`.
pub(super) fn read(value: &Value) -> Result<Option<Finish>, Failure> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => match members.get("type").or_else(|| members.get("reason")) {
            Some(Value::String(text)) => text.clone(),
            _ => return Ok(None),
        },
        Value::Number(number) => number.to_string(),
        _ => return Ok(None),
    };
    let reason: String = text.trim().to_ascii_lowercase().replace(['-', ' ', '.'], "_");
    // Gemini's enumeration, with its type before the name.
    let reason = reason
        .strip_prefix("finishreason_")
        .or_else(|| reason.strip_prefix("finish_reason_"))
        .unwrap_or(&reason);
    if NO_END.contains(&reason) {
        return Ok(None);
    }
    // One that is no name may be words of the reply.
    let shown = if is_name(text.trim()) { reason } else { "(no name)" };
    let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    if STOP.contains(&reason) {
        return Ok(Some(Finish::Stop));
    }
    // A malformed tool call is a failure, a filter's error a filter.
    if has(&FILTERED) {
        return Ok(Some(Finish::Filtered));
    }
    if has(&FAILED) {
        return Err(failure(reason, shown));
    }
    if has(&TOOL_CALLS) {
        return Ok(Some(Finish::ToolCalls));
    }
    if has(&LENGTH) {
        return Ok(Some(Finish::Length));
    }
    // `stop_sequence`, but not `stopped_by_filter`.
    if reason.starts_with("stop") {
        return Ok(Some(Finish::Stop));
    }
    tracing::warn!(
        finish_reason = shown,
        "the endpoint ended the reply with an unknown reason; it counts as `stop`"
    );
    Ok(Some(Finish::Stop))
}

/// The failure for a reason, which the message calls `shown`.
fn failure(reason: &str, shown: &str) -> Failure {
    let has = |words: &[&str]| words.iter().any(|word| reason.contains(word));
    let code = if has(&["timeout", "timed_out", "time_limit", "deadline"]) {
        "timeout"
    } else if has(&["rate_limit", "quota", "throttl"]) {
        "rate-limited"
    } else if has(&["insufficient", "overload", "preempt", "evict", "busy"]) {
        "overloaded"
    } else if has(&["abort", "cancel", "interrupt", "disconnect", "killed"]) {
        "truncated"
    } else {
        "unavailable"
    };
    Failure::new(code, format!("the endpoint ended the reply with the reason `{shown}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_reason_has_its_meaning() {
        let table = [
            (json!("stop"), Ok(Some("stop"))),
            (json!("STOP"), Ok(Some("stop"))),
            (json!("stop_sequence"), Ok(Some("stop"))),
            (json!("end_turn"), Ok(Some("stop"))),
            (json!("eos"), Ok(Some("stop"))),
            (json!("stopped_by_filter"), Ok(Some("filtered"))),
            (json!("stop: unsafe"), Ok(Some("filtered"))),
            (json!("high_risk"), Ok(Some("filtered"))),
            (json!("stop_due_to_error"), Err("unavailable")),
            (json!("rate_limit_exceeded"), Err("rate-limited")),
            (json!("DEADLINE_EXCEEDED"), Err("timeout")),
            (json!("server_busy"), Err("overloaded")),
            (json!("context_window_exceeded"), Ok(Some("length"))),
            (json!("in_progress"), Ok(None)),
            (json!("continue"), Ok(None)),
            (json!("length"), Ok(Some("length"))),
            (json!("MAX_TOKENS"), Ok(Some("length"))),
            (json!("model_length"), Ok(Some("length"))),
            (json!("max_output_tokens"), Ok(Some("length"))),
            (json!("content_filter"), Ok(Some("filtered"))),
            (json!("SAFETY"), Ok(Some("filtered"))),
            (json!("FinishReason.PROHIBITED_CONTENT"), Ok(Some("filtered"))),
            (json!("recitation"), Ok(Some("filtered"))),
            (json!("refusal"), Ok(Some("filtered"))),
            (json!("sensitive"), Ok(Some("filtered"))),
            (json!("guardrail_intervened"), Ok(Some("filtered"))),
            (json!("tool_calls"), Ok(Some("tool_calls"))),
            (json!("tool-calls"), Ok(Some("tool_calls"))),
            (json!("function_call"), Ok(Some("tool_calls"))),
            (json!({"type": "stop"}), Ok(Some("stop"))),
            (json!("end_of_scene"), Ok(Some("stop"))),
            (json!(2), Ok(Some("stop"))),
            (json!(null), Ok(None)),
            (json!(""), Ok(None)),
            (json!("null"), Ok(None)),
            (json!(false), Ok(None)),
            (json!("error"), Err("unavailable")),
            (json!("network_error"), Err("unavailable")),
            (json!("MALFORMED_FUNCTION_CALL"), Err("unavailable")),
            (json!("insufficient_system_resource"), Err("overloaded")),
            (json!("abort"), Err("truncated")),
            (json!("cancelled"), Err("truncated")),
            (json!("timeout"), Err("timeout")),
        ];
        for (reason, wanted) in table {
            let got = read(&reason).map(|finish| finish.map(Finish::name)).map_err(|failure| failure.code);
            assert_eq!(got, wanted.map_err(String::from), "{reason}");
        }
    }

    #[test]
    fn an_unknown_reason_is_logged() {
        masque_sdk::testing::capture_logs();
        read(&json!("end_of_scene")).unwrap();
        let logged = masque_sdk::testing::logged();
        assert!(logged.iter().any(|line| format!("{line:?}").contains("end_of_scene")), "{logged:?}");
    }

    #[test]
    fn words_in_the_place_of_a_reason_are_not_repeated() {
        masque_sdk::testing::capture_logs();
        read(&json!("my secret plan")).unwrap();
        let logged = masque_sdk::testing::logged();
        assert!(logged.iter().all(|line| !format!("{line:?}").contains("secret")), "{logged:?}");
        let failure = read(&json!("error: my secret plan")).unwrap_err();
        assert!(!failure.message.contains("secret"), "{}", failure.message);
    }
}
