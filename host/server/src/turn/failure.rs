//! What a client is told when a plugin's call did not succeed, and whether another model may take over.
//!
//! A table and nothing else: the codes are the contract's, the words are the host's. What the plugin said itself goes
//! to the log, through [`super::redact`].

use std::time::Duration;

use masque_runtime::{CallError, Cause, Kind as Role};

use crate::problem::{Kind, Problem};

/// The longest `Retry-After` that is handed on: an upstream that says "tomorrow" should not keep clients away for as
/// long as the host may be configured anew.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The problem that stands for a failed call of a plugin in the role of `role`.
pub(crate) fn problem(role: Role, error: &CallError) -> Problem {
    let problem = Problem::from(kind(role, error));
    match error.retry_after() {
        // Only where waiting helps: an upstream's `retry-after` on a refused request would be misread.
        Some(wait) if problem.retry_after.is_some() => problem.retry_after(wait.min(LONGEST_WAIT)),
        _ => problem,
    }
}

fn kind(role: Role, error: &CallError) -> Kind {
    match &error.cause {
        Cause::Busy(_) => Kind::Overloaded,
        Cause::WallTime(_) => Kind::TurnTimeout,
        Cause::Truncated => Kind::ModelTruncated,
        Cause::Failed(failure) if role == Role::Model => code(&failure.code),
        _ => Kind::PluginFailed,
    }
}

/// The kind for a model's failure code.
fn code(code: &str) -> Kind {
    match code {
        "unavailable" => Kind::ModelUnavailable,
        "unauthorized" => Kind::ModelUnauthorized,
        "rate-limited" => Kind::ModelRateLimited,
        "overloaded" => Kind::ModelOverloaded,
        "timeout" => Kind::TurnTimeout,
        "stalled" => Kind::ModelStalled,
        "truncated" => Kind::ModelTruncated,
        "invalid" | "filtered" | "context-length" | "not-found" => Kind::ModelInvalid,
        // `denied`, `conflict` and `internal` are between the plugin and the host; an unknown code is no better.
        _ => Kind::PluginFailed,
    }
}

/// Whether the next model may be asked instead. Not where it would get the same request that was refused for what it
/// says, and not where the host itself has no room.
pub(crate) fn may_fall_over(error: &CallError) -> bool {
    match &error.cause {
        Cause::Busy(_) => false,
        Cause::Failed(failure) => !matches!(failure.code.as_str(), "invalid" | "filtered"),
        _ => true,
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
        }
    }

    fn failed(code: &str) -> CallError {
        error(Cause::Failed(Box::new(Failure::new(code, "upstream said so"))))
    }

    #[test]
    fn every_code_of_the_contract_has_its_kind_and_its_rule_for_the_next_model() {
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
            assert_eq!(problem(Role::Model, &failed(code)).kind, kind, "{code}");
            assert_eq!(may_fall_over(&failed(code)), next, "{code}");
        }
    }

    #[test]
    fn what_the_sandbox_ended_has_its_kind_too() {
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
            assert_eq!(problem(Role::Model, &error).kind, kind, "{error}");
            assert_eq!(may_fall_over(&error), next, "{error}");
        }
    }

    #[test]
    fn a_persona_can_not_pass_for_a_model_that_is_away() {
        assert_eq!(problem(Role::Persona, &failed("unavailable")).kind, Kind::PluginFailed);
        assert_eq!(problem(Role::Memory, &failed("rate-limited")).kind, Kind::PluginFailed);
    }

    #[test]
    fn what_the_plugin_said_never_reaches_the_client() {
        let problem = problem(Role::Model, &failed("unavailable"));
        assert!(!problem.to_value(None).to_string().contains("upstream said so"));
    }

    #[test]
    fn the_upstreams_wait_is_handed_on_where_waiting_helps() {
        let wait = |code: &str, ms: u64| {
            let mut failure = Failure::new(code, "");
            failure.retry_after_ms = Some(ms);
            problem(Role::Model, &error(Cause::Failed(Box::new(failure)))).retry_after
        };
        assert_eq!(wait("rate-limited", 7_000), Some(Duration::from_secs(7)));
        assert_eq!(wait("rate-limited", u64::MAX), Some(LONGEST_WAIT));
        assert_eq!(wait("invalid", 7_000), None);
    }
}
