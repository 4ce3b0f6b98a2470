//! Failures in the client's terms: what a failed plugin call or store operation is reported as, and whether another model
//! may take over.
//!
//! The codes come from the plugin contract, the texts from the host. What the plugin itself said goes to the log only.

use std::time::Duration;

use masque_companions::Redactor;
use masque_problem::{Kind, Problem};
use masque_runtime::{CallError, Cause, MessageTexts, PluginKind};
use masque_store::StoreError;

/// The longest `Retry-After` of an upstream that is passed on to clients. Longer ones are cut: the operator may have
/// configured another upstream by then.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The outcome of a call that was cut off, since nobody waited for its end any more.
pub(crate) const CANCELLED: &str = "cancelled";

/// Writes a failed call to the log, without secrets and without what it repeats of `messages`.
pub(crate) fn log_failed_call(error: &CallError, redactor: &Redactor, messages: &MessageTexts) {
    let cause = redactor.redact_failure(error, messages);
    tracing::warn!(
        plugin = error.plugin,
        function = error.function,
        code = error.code(),
        cause,
        "a call failed"
    );
}

/// The problem that a client is given for a failed call of a plugin of `plugin_kind`.
pub(crate) fn call_problem(plugin_kind: PluginKind, error: &CallError) -> Problem {
    let problem = Problem::from(call_problem_kind(plugin_kind, error));
    match error.retry_after() {
        // Only where waiting helps: for a refused request, clients would repeat it in vain.
        Some(wait) if problem.retry_after.is_some() => problem.retry_after(wait.min(MAX_RETRY_AFTER)),
        _ => problem,
    }
}

fn call_problem_kind(plugin_kind: PluginKind, error: &CallError) -> Kind {
    match &error.cause {
        Cause::Busy(_) => Kind::Overloaded,
        Cause::WallTime(_) => Kind::TurnTimeout,
        Cause::Truncated => Kind::ModelTruncated,
        Cause::Failed(failure) if plugin_kind == PluginKind::Model => model_failure_kind(&failure.code),
        _ => Kind::PluginFailed,
    }
}

/// The problem kind for a model's failure code.
fn model_failure_kind(code: &str) -> Kind {
    match code {
        "unavailable" => Kind::ModelUnavailable,
        "unauthorized" => Kind::ModelUnauthorized,
        "rate-limited" => Kind::ModelRateLimited,
        "overloaded" => Kind::ModelOverloaded,
        "timeout" => Kind::TurnTimeout,
        "stalled" => Kind::ModelStalled,
        "truncated" => Kind::ModelTruncated,
        "invalid" | "filtered" | "context-length" | "not-found" => Kind::ModelInvalid,
        // `denied`, `conflict`, `internal` and unknown codes are defects of the plugin.
        _ => Kind::PluginFailed,
    }
}

/// The code itself if it is one of the contract, else `internal`: a plugin may return any text as its code, and neither labels
/// of metrics nor records may hold it.
pub(crate) fn known_code(code: &str) -> &'static str {
    const CODES: [&str; 14] = [
        "denied",
        "invalid",
        "unavailable",
        "unauthorized",
        "rate-limited",
        "overloaded",
        "timeout",
        "stalled",
        "truncated",
        "filtered",
        "context-length",
        "conflict",
        "not-found",
        "internal",
    ];
    CODES.into_iter().find(|known| *known == code).unwrap_or("internal")
}

/// Whether the next model may be called instead. It may not if the request was refused for its content, which would be the
/// same, or if the host itself is busy.
pub(crate) fn allows_fallback(error: &CallError) -> bool {
    match &error.cause {
        Cause::Busy(_) => false,
        Cause::Failed(failure) => !matches!(failure.code.as_str(), "invalid" | "filtered"),
        _ => true,
    }
}

/// Whether a model refused what it was asked: its filter stopped it, it is too long, or its server does not accept it. The text of
/// a user can cause each of them.
pub(crate) fn is_prompt_rejected(error: &CallError) -> bool {
    matches!(&error.cause, Cause::Failed(failure)
        if matches!(failure.code.as_str(), "filtered" | "context-length" | "invalid"))
}

/// The problem that a client is given for a failed operation of the store.
pub(crate) fn store_problem(error: &StoreError) -> Problem {
    match error {
        StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_) => Problem::from(Kind::StorageUnavailable),
        StoreError::Corrupt(_)
        | StoreError::NewerFormat(_)
        | StoreError::Refused(_)
        | StoreError::FenceEnded
        | StoreError::Conflict(_)
        | StoreError::Internal(_) => {
            tracing::error!(%error, "the store could not do what it was asked");
            Problem::from(Kind::Internal)
        }
    }
}

#[cfg(test)]
mod tests {
    use masque_runtime::contract::Failure;

    use super::*;

    fn error(cause: Cause) -> CallError {
        CallError {
            plugin: "openai".into(),
            version: "0.1.0".into(),
            function: "generate",
            cause,
            denied: Vec::new(),
            missing_grants: Vec::new(),
            error_output: Vec::new(),
        }
    }

    fn failed(code: &str) -> CallError {
        error(Cause::Failed(Box::new(Failure::new(code, "upstream said so"))))
    }

    #[test]
    fn every_failure_code_has_a_problem_kind_and_a_fallback_rule() {
        let table = [
            ("denied", Kind::PluginFailed, true),
            ("invalid", Kind::ModelInvalid, false),
            ("unavailable", Kind::ModelUnavailable, true),
            ("unauthorized", Kind::ModelUnauthorized, true),
            ("rate-limited", Kind::ModelRateLimited, true),
            ("overloaded", Kind::ModelOverloaded, true),
            ("timeout", Kind::TurnTimeout, true),
            ("stalled", Kind::ModelStalled, true),
            ("truncated", Kind::ModelTruncated, true),
            ("filtered", Kind::ModelInvalid, false),
            ("context-length", Kind::ModelInvalid, true),
            ("conflict", Kind::PluginFailed, true),
            ("not-found", Kind::ModelInvalid, true),
            ("internal", Kind::PluginFailed, true),
            ("of-a-later-version", Kind::PluginFailed, true),
        ];
        for (code, kind, next) in table {
            assert_eq!(call_problem(PluginKind::Model, &failed(code)).kind, kind, "{code}");
            assert_eq!(allows_fallback(&failed(code)), next, "{code}");
            let is_rejected = ["filtered", "context-length", "invalid"].contains(&code);
            assert_eq!(is_prompt_rejected(&failed(code)), is_rejected, "{code}");
            assert_eq!(known_code(code), if code == "of-a-later-version" { "internal" } else { code });
        }
    }

    #[test]
    fn every_way_that_the_sandbox_ends_a_call_has_a_problem_kind() {
        let table = [
            (Cause::Busy(Duration::from_secs(1)), Kind::Overloaded, false),
            (Cause::WallTime(Duration::from_secs(1)), Kind::TurnTimeout, true),
            (Cause::CpuTime(Duration::from_secs(1)), Kind::PluginFailed, true),
            (Cause::Memory { limit: 1 }, Kind::PluginFailed, true),
            (Cause::Trap("unreachable".into()), Kind::PluginFailed, true),
            (Cause::Truncated, Kind::ModelTruncated, true),
        ];
        for (cause, kind, next) in table {
            let error = error(cause);
            assert_eq!(call_problem(PluginKind::Model, &error).kind, kind, "{error}");
            assert_eq!(allows_fallback(&error), next, "{error}");
        }
    }

    #[test]
    fn a_failure_of_a_persona_or_memory_is_never_reported_as_one_of_the_model() {
        assert_eq!(call_problem(PluginKind::Persona, &failed("unavailable")).kind, Kind::PluginFailed);
        assert_eq!(call_problem(PluginKind::Memory, &failed("rate-limited")).kind, Kind::PluginFailed);
    }

    #[test]
    fn the_message_of_a_plugin_never_reaches_the_client() {
        let problem = call_problem(PluginKind::Model, &failed("unavailable"));
        assert!(!problem.to_value(None).to_string().contains("upstream said so"));
    }

    #[test]
    fn the_retry_after_of_an_upstream_is_passed_on_where_waiting_helps() {
        let wait = |code: &str, ms: u64| {
            let mut failure = Failure::new(code, "");
            failure.retry_after_ms = Some(ms);
            call_problem(PluginKind::Model, &error(Cause::Failed(Box::new(failure)))).retry_after
        };
        assert_eq!(wait("rate-limited", 7_000), Some(Duration::from_secs(7)));
        assert_eq!(wait("rate-limited", u64::MAX), Some(MAX_RETRY_AFTER));
        assert_eq!(wait("invalid", 7_000), None);
    }
}
