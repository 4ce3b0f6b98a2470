//! Decides what the end of a call says about the settings of the plugin.

use masque_grants::Grants;
use masque_runtime::contract::Property;
use masque_runtime::{CallError, Cause};

/// Metadata of a failure: a JSON pointer to the setting that can't be used.
const SETTING: &str = "setting";

/// What one call of a trial means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The plugin says that the setting at this JSON pointer can't be used.
    Refused { pointer: String, reason: String },
    /// The plugin breaks with these settings: it traps, reaches a limit or breaks the contract.
    Breaks(String),
    /// The settings may be the reason, or the trial.
    Doubtful(String),
    /// Nothing is known against the settings.
    Usable,
    /// The host had no instance for the call.
    Busy,
}

/// Judges a call that did not succeed. `grants` are those of the operator, of which the trial gives a part.
pub(super) fn judge(error: &CallError, grants: &Grants) -> Verdict {
    let cause = &error.cause;
    let is_complete = error.denied.is_empty() && !may_lack_more(cause, grants);
    match cause {
        Cause::Failed(failure) if failure.code == "invalid" => {
            match find::<String>(&failure.metadata, SETTING).or_else(|| named_by_sdk(&failure.message)) {
                Some(pointer) => Verdict::Refused { pointer, reason: failure.message.to_string() },
                None if error.denied.is_empty() => Verdict::Doubtful(in_words(error)),
                None => Verdict::Usable,
            }
        }
        Cause::Failed(failure) if failure.code == "internal" && is_complete => {
            Verdict::Doubtful(in_words(error))
        }
        Cause::Failed(_) | Cause::Unsupported(_) => Verdict::Usable,
        Cause::Busy(_) => Verdict::Busy,
        // A plugin that waits is not at fault, and wall time depends on what else the machine does.
        Cause::WallTime(_) if is_complete => Verdict::Doubtful(in_words(error)),
        Cause::WallTime(_) => Verdict::Usable,
        Cause::Engine(_) | Cause::Truncated => Verdict::Doubtful(in_words(error)),
        Cause::CpuTime(_)
        | Cause::Memory { .. }
        | Cause::Table { .. }
        | Cause::Stack { .. }
        | Cause::HostResources(_)
        | Cause::Trap(_)
        | Cause::Contract(_) => {
            let reason = in_words(error);
            if is_complete { Verdict::Breaks(reason) } else { Verdict::Doubtful(reason) }
        }
    }
}

/// Whether the call may have lacked something that the error does not list as denied.
fn may_lack_more(cause: &Cause, grants: &Grants) -> bool {
    // The host does not notice that a guest looks for its scratch folder. The contract is checked after the call has ended,
    // when its refusals are no longer known.
    let is_listed = !matches!(cause, Cause::Contract(_));
    grants.scratch.is_some() || (!is_listed && (!grants.http.is_empty() || grants.models))
}

/// The function, the cause, what the plugin wrote to standard error before it trapped (the message of a panic), and what the
/// trial denied it.
fn in_words(error: &CallError) -> String {
    let CallError { function, denied, .. } = error;
    let mut words = format!("`{function}` {}", error.cause_and_last_words());
    if !denied.is_empty() {
        words.push_str(&format!(" (denied in the trial: {})", denied.join("; ")));
    }
    words
}

/// The setting of a failure with the SDK's own words for settings that can't be read, as a JSON pointer. Components that were
/// built with its first version name it nowhere else.
fn named_by_sdk(message: &str) -> Option<String> {
    if message.starts_with("settings: ") {
        return Some(String::new());
    }
    let rest =
        message.strip_prefix("the setting `").or_else(|| message.strip_prefix("there is no setting `"))?;
    let (setting, _) = rest.split_once('`')?;
    Some(format!("/{}", setting.replace('.', "/")))
}

/// The value of this name.
pub(super) fn find<T: serde::de::DeserializeOwned>(metadata: &[Property], name: &str) -> Option<T> {
    let property = metadata.iter().find(|property| &*property.name == name)?;
    serde_json::from_str(&property.json).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use masque_runtime::contract::Failure;
    use serde_json::Value;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn error(cause: Cause, denied: &[&str]) -> CallError {
        CallError {
            plugin: "ida".into(),
            version: "1.0.0".into(),
            function: "compose",
            cause,
            denied: denied.iter().map(|what| (*what).to_owned()).collect(),
            missing_grants: Vec::new(),
            error_output: Vec::new(),
        }
    }

    fn verdict(cause: Cause, denied: &[&str]) -> Verdict {
        judge(&error(cause, denied), &Grants::default())
    }

    fn failed(code: &str, message: &str, setting: Option<&str>) -> Cause {
        let mut failure = Failure::new(code, message.to_owned());
        failure.metadata = setting
            .map(|setting| Property { name: SETTING.into(), json: Value::from(setting).to_string().into() })
            .into_iter()
            .collect();
        Cause::Failed(Box::new(failure))
    }

    /// Each way in which a plugin breaks by itself.
    fn breaks() -> [Cause; 7] {
        [
            Cause::Trap("unreachable".into()),
            Cause::CpuTime(SECOND),
            Cause::Memory { limit: 1 },
            Cause::Table { limit: 1 },
            Cause::Stack { limit: 1 },
            Cause::HostResources("too much".into()),
            Cause::Contract("no message".into()),
        ]
    }

    #[test]
    fn a_failure_that_names_a_setting_refuses_it() {
        let refused = |pointer: &str, reason: &str| Verdict::Refused {
            pointer: pointer.to_owned(),
            reason: reason.to_owned(),
        };
        assert_eq!(verdict(failed("invalid", "no card", Some("/card")), &[]), refused("/card", "no card"));
        assert_eq!(verdict(failed("invalid", "no card", Some("/card")), &["x"]), refused("/card", "no card"));
        let early = "the setting `max_turns`: too large";
        assert_eq!(verdict(failed("invalid", early, None), &[]), refused("/max_turns", early));
    }

    #[test]
    fn a_plugin_that_breaks_by_itself_is_refused() {
        for cause in breaks() {
            let words = cause.to_string();
            let Verdict::Breaks(reason) = verdict(cause, &[]) else { panic!("{words} is taken") };
            assert!(reason.starts_with("`compose` ") && reason.contains(&words), "{reason}");
        }
        let mut panicked = error(Cause::Trap("unreachable".into()), &[]);
        panicked.error_output = vec!["panicked at src/lib.rs:1:1:".into(), "no such voice".into()];
        let Verdict::Breaks(reason) = judge(&panicked, &Grants::default()) else { panic!("taken") };
        assert!(reason.ends_with("panicked at src/lib.rs:1:1: no such voice"), "{reason}");
    }

    #[test]
    fn a_plugin_that_may_break_for_want_of_something_is_not_refused() {
        for cause in breaks() {
            assert!(matches!(verdict(cause, &["no network"]), Verdict::Doubtful(_)));
        }
        for cause in breaks() {
            let grants = Grants { scratch: Some(1 << 20), ..Grants::default() };
            let verdict = judge(&error(cause, &[]), &grants);
            assert!(matches!(verdict, Verdict::Doubtful(_)), "{verdict:?}");
        }
        let asking = Grants { models: true, ..Grants::default() };
        let broken = error(Cause::Contract("no message".into()), &[]);
        assert!(matches!(judge(&broken, &asking), Verdict::Doubtful(_)));
        let trapped = error(Cause::Trap("unreachable".into()), &[]);
        assert!(matches!(judge(&trapped, &asking), Verdict::Breaks(_)));
    }

    #[test]
    fn what_depends_on_the_network_the_user_or_the_machine_refuses_nothing() {
        for code in ["denied", "unavailable", "unauthorized", "timeout", "overloaded", "conflict"] {
            assert_eq!(verdict(failed(code, "x", Some("/card")), &[]), Verdict::Usable, "{code}");
        }
        assert!(matches!(verdict(failed("internal", "x", None), &[]), Verdict::Doubtful(_)));
        assert_eq!(verdict(failed("internal", "x", None), &["no network"]), Verdict::Usable);
        assert_eq!(verdict(failed("invalid", "say how and where", None), &["no state"]), Verdict::Usable);
        assert!(matches!(verdict(failed("invalid", "say how", None), &[]), Verdict::Doubtful(_)));
        assert!(matches!(verdict(Cause::WallTime(SECOND), &[]), Verdict::Doubtful(_)));
        assert_eq!(verdict(Cause::WallTime(SECOND), &["no network"]), Verdict::Usable);
        for cause in [Cause::Engine("x".into()), Cause::Truncated] {
            assert!(matches!(verdict(cause, &[]), Verdict::Doubtful(_)));
        }
        assert_eq!(verdict(Cause::Busy(SECOND), &[]), Verdict::Busy);
    }
}
