//! Tries whether a plugin can use its settings, before they take effect.
//!
//! The schema of a plugin says little about the content of a setting: a character card is any text to it. So the plugin is
//! called once with its real settings, a made-up turn and no grant at all, and its own words decide. Nothing leaves the
//! sandbox, and a plugin that needs the network, state or a question to the model is told that they are denied.
//!
//! The policy: only a failure that names a setting refuses it. Every other failure may come from what the trial lacks, or from
//! what the user is made to say, so it is a warning at most: a plugin that works is never refused. The consequence: a plugin
//! that traps on its settings, or calls every failure its input's, is found in the first turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use masque_config::{Config, Diagnostic, Name, Plugin as PluginConfig};
use masque_grants::{Grants, Limits};
use masque_runtime::contract::{Message, Opening, Prompt, Property, Recollection, Turn, User};
use masque_runtime::{Call, CallError, Cause, Package, Plugin, PluginKind};
use serde_json::Value;

use crate::redact::Redactor;

/// The longest trial. A plugin answers within milliseconds, unless it waits for something that it is denied.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// The tokens that a memory is given.
const MEMORY_BUDGET: u32 = 4096;
/// The most warnings of one plugin.
const MAX_WARNINGS: usize = 50;
/// The longest warning, in characters.
const MAX_WARNING: usize = 400;
/// Metadata of the user in a trial. Only the host writes metadata of a user.
const TRIAL: &str = "trial";
/// Metadata of an answer: a list of warnings.
const WARNINGS: &str = "warnings";
/// Metadata of a failure: a JSON pointer to the setting that can't be used.
const SETTING: &str = "setting";

/// What the trial of one plugin found.
#[derive(Debug, Default)]
pub(crate) struct TrialReport {
    pub(crate) problems: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Whether the host was too busy for the trial, so that nothing is known.
    pub(crate) is_temporary: bool,
}

/// What one call of a trial means.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The setting at this JSON pointer can't be used.
    Refused { pointer: String, reason: String },
    /// The settings may be the reason, or the trial.
    Doubtful(String),
    /// Nothing is known against the settings.
    Usable,
    /// The host had no instance for the call.
    Busy,
}

/// Tries the plugin `name`, whose settings fit its schema.
pub(crate) async fn try_settings(
    config: &Config,
    name: &Name,
    plugin: &PluginConfig,
    package: &Arc<Package>,
    redactor: &Redactor,
) -> TrialReport {
    // The log of a call that lacks every grant would mislead: what matters of it is in the report.
    let limits = Limits { log_lines: 0, ..plugin.limits.into() };
    let tried =
        Plugin::new(package.clone(), name.to_string(), plugin.settings_json(), Grants::default(), limits);
    let mut report = TrialReport::default();
    match call(&tried).await {
        Ok(warnings) => {
            for warning in warnings {
                let warning = clip(&redactor.redact(&warning));
                report.warnings.push(Diagnostic::warning(
                    config.locations.setting(name, ""),
                    format!("plugin `{name}`{}: {warning}", named_file(plugin, &first_setting(&warning))),
                    "The rest is used.",
                ));
            }
        }
        Err(error) => match judge(&error) {
            Verdict::Usable => {}
            Verdict::Busy => {
                report.is_temporary = true;
                report.problems.push(Diagnostic::error(
                    config.locations.setting(name, ""),
                    format!("the settings of plugin `{name}` could not be tried: it {}", error.cause),
                    "Try again when fewer calls are under way; a host that runs does so by itself.",
                ));
            }
            Verdict::Doubtful(reason) => report.warnings.push(Diagnostic::warning(
                config.locations.setting(name, ""),
                format!(
                    "plugin `{name}` failed when its settings were tried: it {}",
                    redactor.redact(&reason)
                ),
                "If turns fail as well, look at its settings.",
            )),
            Verdict::Refused { pointer, reason } => {
                let what = match pointer.strip_prefix('/') {
                    Some(setting) => {
                        format!("the setting `{}` of plugin `{name}`", setting.replace('/', "."))
                    }
                    None => format!("the settings of plugin `{name}`"),
                };
                let file = named_file(plugin, &pointer);
                let remedy = if file.is_empty() { "Correct the setting." } else { "Correct the file." };
                report.problems.push(Diagnostic::error(
                    config.locations.setting(name, &pointer),
                    format!("{what}{file} can't be used: {}", redactor.redact(&reason)),
                    remedy,
                ));
            }
        },
    }
    report
}

/// Calls what a turn calls, and returns the plugin's warnings.
async fn call(plugin: &Plugin) -> Result<Vec<String>, CallError> {
    let call = Call::until(Instant::now() + TIME_LIMIT);
    match plugin.package().kind() {
        PluginKind::Persona => {
            let prompt = plugin.compose(call.clone(), &turn(), nothing()).await?;
            if plugin.package().greets() {
                plugin.greet(call, &opening()).await?;
            }
            Ok(warnings(&prompt.metadata))
        }
        PluginKind::Memory => {
            let recalled = plugin.recall(call, &turn(), MEMORY_BUDGET).await?;
            Ok(warnings(&recalled.metadata))
        }
        // A model that accepts the prompt has read its settings. The rest of its reply is not waited for.
        PluginKind::Model => plugin.generate(call, &prompt()).await.map(|_reply| Vec::new()),
    }
}

fn judge(error: &CallError) -> Verdict {
    match &error.cause {
        Cause::Failed(failure) if failure.code == "invalid" => {
            match find::<String>(&failure.metadata, SETTING).or_else(|| named_by_sdk(&failure.message)) {
                Some(pointer) => Verdict::Refused { pointer, reason: failure.message.to_string() },
                None if error.denied.is_empty() => Verdict::Doubtful(error.cause.to_string()),
                None => Verdict::Usable,
            }
        }
        Cause::Busy(_) => Verdict::Busy,
        Cause::Failed(_) | Cause::WallTime(_) | Cause::Unsupported(_) => Verdict::Usable,
        // Whoever is denied something may give up in any way.
        _ if !error.denied.is_empty() => Verdict::Usable,
        cause => Verdict::Doubtful(cause.to_string()),
    }
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

fn warnings(metadata: &[Property]) -> Vec<String> {
    let mut warnings: Vec<String> = find(metadata, WARNINGS).unwrap_or_default();
    warnings.truncate(MAX_WARNINGS);
    warnings
}

fn find<T: serde::de::DeserializeOwned>(metadata: &[Property], name: &str) -> Option<T> {
    let property = metadata.iter().find(|property| &*property.name == name)?;
    serde_json::from_str(&property.json).ok()
}

/// The setting that a warning begins with, such as `` `card`: … ``, as a JSON pointer.
fn first_setting(warning: &str) -> String {
    let setting = warning.strip_prefix('`').and_then(|rest| rest.split_once('`'));
    setting.map(|(setting, _)| format!("/{setting}")).unwrap_or_default()
}

/// The file that the setting at `pointer` is read from, as ` (FILE)`; empty if there is none.
fn named_file(plugin: &PluginConfig, pointer: &str) -> String {
    let file = plugin.setting_files.iter().find(|(at, _)| {
        pointer.strip_prefix(at.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    file.map(|(_, file)| format!(" ({})", file.display())).unwrap_or_default()
}

fn clip(text: &str) -> String {
    text.chars().take(MAX_WARNING).collect()
}

fn nothing() -> Recollection {
    Recollection { messages: Vec::new(), memories: Vec::new(), metadata: Vec::new() }
}

fn user() -> User {
    let trial = Property { name: TRIAL.into(), json: Value::Bool(true).to_string().into() };
    User { id: "trial".into(), name: None, locale: None, timezone: None, metadata: vec![trial] }
}

fn message() -> Message {
    Message {
        id: Some("00000000-0000-0000-0000-000000000000".into()),
        at: Some(0),
        ..Message::new("user", "Hello!")
    }
}

fn turn() -> Turn {
    Turn {
        id: "00000000-0000-0000-0000-000000000000".into(),
        attempt: 1,
        conversation: "00000000-0000-0000-0000-000000000000".into(),
        companion: "trial".into(),
        tenant: "default".into(),
        user: user(),
        message: message(),
        tail: Vec::new(),
        has_earlier: false,
        now: 0,
        deadline_ms: u64::try_from(TIME_LIMIT.as_millis()).unwrap_or(u64::MAX),
        metadata: Vec::new(),
    }
}

fn opening() -> Opening {
    let Turn { conversation, companion, tenant, user, now, metadata, .. } = turn();
    Opening { conversation, companion, tenant, user, now, metadata }
}

fn prompt() -> Prompt {
    Prompt { messages: vec![message()], tools: Vec::new(), options: Vec::new(), metadata: Vec::new() }
}

#[cfg(test)]
mod tests {
    use masque_runtime::contract::Failure;

    use super::*;

    fn verdict(cause: Cause, denied: &[&str]) -> Verdict {
        judge(&CallError {
            plugin: "ida".into(),
            version: "1.0.0".into(),
            function: "compose",
            cause,
            denied: denied.iter().map(|what| (*what).to_owned()).collect(),
        })
    }

    fn failed(code: &str, message: &str, setting: Option<&str>) -> Cause {
        let mut failure = Failure::new(code, message.to_owned());
        failure.metadata = setting
            .map(|setting| Property { name: SETTING.into(), json: Value::from(setting).to_string().into() })
            .into_iter()
            .collect();
        Cause::Failed(Box::new(failure))
    }

    #[test]
    fn only_a_failure_that_names_a_setting_refuses_it() {
        let refused = |pointer: &str, reason: &str| Verdict::Refused {
            pointer: pointer.to_owned(),
            reason: reason.to_owned(),
        };
        assert_eq!(verdict(failed("invalid", "no card", Some("/card")), &[]), refused("/card", "no card"));
        assert_eq!(verdict(failed("invalid", "no card", Some("/card")), &["x"]), refused("/card", "no card"));
        let early = "the setting `max_turns`: too large";
        assert_eq!(verdict(failed("invalid", early, None), &[]), refused("/max_turns", early));
        // The network, state and what the user says are not settings.
        for code in ["denied", "unavailable", "unauthorized", "timeout", "internal", "conflict"] {
            assert_eq!(verdict(failed(code, "x", Some("/card")), &[]), Verdict::Usable, "{code}");
        }
        assert_eq!(verdict(failed("invalid", "say how and where", None), &["no state"]), Verdict::Usable);
        assert!(matches!(verdict(failed("invalid", "say how", None), &[]), Verdict::Doubtful(_)));
        assert!(matches!(verdict(Cause::Trap("unreachable".into()), &[]), Verdict::Doubtful(_)));
        assert_eq!(verdict(Cause::Trap("unreachable".into()), &["no state"]), Verdict::Usable);
        assert_eq!(verdict(Cause::WallTime(TIME_LIMIT), &[]), Verdict::Usable);
        assert_eq!(verdict(Cause::Busy(TIME_LIMIT), &[]), Verdict::Busy);
    }

    #[test]
    fn a_warning_names_its_setting_first() {
        assert_eq!(first_setting("`card`: `later` is not used"), "/card");
        assert_eq!(first_setting("nothing"), "");
    }
}
