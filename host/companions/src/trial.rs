//! Tries whether a plugin can use its settings, before they take effect.
//!
//! The schema of a plugin says little about the content of a setting: a character card is any text to it. So the plugin's
//! functions are called once with its real settings and the made-up first turn of a new user: `compose`, `greet` and
//! `reflect` of a persona, `recall` and `observe` of a memory, `generate` of a model.
//!
//! A trial has no effect. There is no network, no model to ask and no scratch folder. `state` and `history` are there if they
//! are granted, as they are for a new user; what is written is dropped with the trial. Nothing is logged. This holds for the
//! background functions as well, so they are tried like the others: otherwise a setting that only they read would park every
//! job.
//!
//! The policy, for what the plugin does:
//!
//! - It fails and names a setting: refused, with its words.
//! - It traps (a panic), reaches one of its limits (`cpu`, `memory`, …) or breaks the contract, and lacked nothing that it has
//!   in a turn: refused, with the limit or the message of the panic. The next turn would fail in the same way.
//! - The same after the trial denied it something, or without the scratch folder that it was granted: a warning.
//! - It fails for want of a service or a credential: accepted. An upstream that is away refuses nothing.
//! - It fails, and asked for something that the operator did not grant: accepted, with a warning that names the grant.
//! - It is slow, but within its limits: accepted. If the trial does not end in time, nothing is known, so it is a warning: wall
//!   time depends on what else the machine does.
//!
//! The consequences: a plugin that needs an upstream to notice an unusable setting is found in the first turn; and a plugin
//! that breaks at the made-up message can't be used, although another message might go well.

mod input;
mod missing_grants;
mod state;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, Instant};

use masque_config::{Config, Diagnostic, Name, Plugin as PluginConfig};
use masque_grants::{Grants, Limits};
use masque_runtime::{Call, CallError, Package, Plugin, PluginKind};

use self::missing_grants::missing_grant_warnings;
use self::state::{EmptyHistory, TrialState};
use self::verdict::{Verdict, find, judge};
use crate::redact::Redactor;

/// The time for waiting. A plugin answers within milliseconds, unless it waits for something that it is denied.
const WAITING: Duration = Duration::from_secs(2);
/// The longest trial, with the time for computing. A plugin whose limit `cpu` is not reached by then is not judged by it.
const MAX_TIME: Duration = Duration::from_secs(10);
/// The tokens that a memory is given.
const MEMORY_BUDGET: u32 = 4096;
/// The most warnings of one plugin.
const MAX_WARNINGS: usize = 50;
/// The longest warning, in characters.
const MAX_WARNING: usize = 400;
/// The most files that are named where it is not known which of them is at fault.
const MAX_FILES: usize = 4;
/// Metadata of an answer: a list of warnings.
const WARNINGS: &str = "warnings";

/// What the trial of one plugin found.
#[derive(Debug, Default)]
pub(crate) struct TrialReport {
    pub(crate) problems: Vec<Diagnostic>,
    pub(crate) warnings: Vec<Diagnostic>,
    /// Whether the host was too busy for the trial, so that nothing is known.
    pub(crate) is_temporary: bool,
}

/// Tries the plugin `name`, whose settings fit its schema.
pub(crate) async fn try_settings(
    config: &Config,
    name: &Name,
    plugin: &PluginConfig,
    package: &Arc<Package>,
    redactor: &Redactor,
) -> TrialReport {
    // The log of a call that lacks most grants would mislead: what matters of it is in the report.
    let limits = Limits { log_lines: 0, ..plugin.limits.into() };
    let time_limit = time_limit(limits.cpu);
    let grants = grants(&plugin.grants);
    let tried = Plugin::for_trial(package.clone(), name.to_string(), plugin.settings_json(), grants, limits);
    let mut report = TrialReport::default();
    match call(&tried, time_limit).await {
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
        Err(error) => {
            report.warnings.extend(missing_grant_warnings(
                &config.locations,
                name,
                &plugin.grants,
                &error,
                redactor,
            ));
            match judge(&error, &plugin.grants) {
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
                        "plugin `{name}` failed when its settings were tried: {}",
                        redactor.redact(&reason)
                    ),
                    "If turns fail as well, look at its settings.",
                )),
                Verdict::Breaks(reason) => {
                    let pointer = only_setting(plugin);
                    let file = named_file(plugin, &pointer);
                    let file = if file.is_empty() { all_files(plugin) } else { file };
                    report.problems.push(Diagnostic::error(
                    config.locations.setting(name, &pointer),
                    format!("{}{file} can't be used: {}", subject(name, &pointer), redactor.redact(&reason)),
                    "Correct what it is given, or raise the limit that it reached. If neither is at fault, the plugin is.",
                ));
                }
                Verdict::Refused { pointer, reason } => {
                    let file = named_file(plugin, &pointer);
                    let remedy = if file.is_empty() { "Correct the setting." } else { "Correct the file." };
                    report.problems.push(Diagnostic::error(
                        config.locations.setting(name, &pointer),
                        format!(
                            "{}{file} can't be used: {}",
                            subject(name, &pointer),
                            redactor.redact(&reason)
                        ),
                        remedy,
                    ));
                }
            }
        }
    }
    report
}

/// Calls what a turn and its jobs call, and returns the plugin's warnings.
async fn call(plugin: &Plugin, time_limit: Duration) -> Result<Vec<String>, CallError> {
    let mut call = Call::until(Instant::now() + time_limit);
    call.state = Some(Arc::new(TrialState::default()));
    call.history = Some(Arc::new(EmptyHistory));
    let package = plugin.package();
    match package.kind() {
        PluginKind::Persona => {
            let turn = input::turn(time_limit);
            let prompt = plugin.compose(call.clone(), &turn, input::recollection()).await?;
            if package.greets() {
                plugin.greet(call.clone(), &input::opening()).await?;
            }
            if package.reflects() {
                plugin.reflect(call, &input::exchange(time_limit)).await?;
            }
            Ok(warnings(find(&prompt.metadata, WARNINGS)))
        }
        PluginKind::Memory => {
            let recalled = plugin.recall(call.clone(), &input::turn(time_limit), MEMORY_BUDGET).await?;
            if package.observes() {
                plugin.observe(call, &input::exchange(time_limit)).await?;
            }
            Ok(warnings(find(&recalled.metadata, WARNINGS)))
        }
        // A model that accepts the prompt has read its settings. The rest of its reply is not waited for.
        PluginKind::Model => plugin.generate(call, &input::prompt()).await.map(|_reply| Vec::new()),
    }
}

/// The grants of a trial: those that have no effect outside of it.
fn grants(granted: &Grants) -> Grants {
    let Grants { state, state_shared, history, .. } = *granted;
    Grants { state, state_shared, history, ..Grants::default() }
}

/// How long a trial may take: long enough for a plugin that computes to reach its limit `cpu` on a machine with other work.
fn time_limit(cpu: Duration) -> Duration {
    WAITING.saturating_add(cpu.saturating_mul(2)).min(MAX_TIME)
}

fn warnings(found: Option<Vec<String>>) -> Vec<String> {
    let mut warnings = found.unwrap_or_default();
    warnings.truncate(MAX_WARNINGS);
    warnings
}

/// What can't be used, as the beginning of a sentence.
fn subject(name: &Name, pointer: &str) -> String {
    match pointer.strip_prefix('/') {
        Some(setting) => format!("the setting `{}` of plugin `{name}`", setting.replace('/', ".")),
        None => format!("the settings of plugin `{name}`"),
    }
}

/// The JSON pointer of the plugin's setting if it has one only, otherwise that of all settings.
fn only_setting(plugin: &PluginConfig) -> String {
    let mut names = plugin.settings.keys();
    match (names.next(), names.next()) {
        (Some(name), None) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        _ => String::new(),
    }
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

/// The files that the settings are read from, as ` (FILE, FILE)`; empty if there are none.
fn all_files(plugin: &PluginConfig) -> String {
    let files: Vec<_> =
        plugin.setting_files.values().take(MAX_FILES).map(|file| file.display().to_string()).collect();
    if files.is_empty() { String::new() } else { format!(" ({})", files.join(", ")) }
}

fn clip(text: &str) -> String {
    text.chars().take(MAX_WARNING).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_names_its_setting_first() {
        assert_eq!(first_setting("`card`: `later` is not used"), "/card");
        assert_eq!(first_setting("nothing"), "");
    }

    #[test]
    fn a_trial_is_longer_than_the_limit_on_cpu_time_and_bounded() {
        for (cpu, limit) in [(0, 2), (1, 4), (2, 6), (4, 10), (3600, 10)] {
            assert_eq!(time_limit(Duration::from_secs(cpu)), Duration::from_secs(limit));
        }
    }

    #[test]
    fn a_trial_has_no_grant_with_an_effect_outside_of_it() {
        let granted = Grants {
            state: true,
            history: true,
            models: true,
            scratch: Some(1 << 20),
            http: vec!["https://example.org".parse().unwrap()],
            ..Grants::default()
        };
        let given = grants(&granted);
        assert!(given.state && given.history && !given.state_shared);
        assert!(!given.models && given.scratch.is_none() && given.http.is_empty());
        assert!(given.credentials.is_empty() && given.networks.is_empty() && given.reuse.is_none());
    }
}
