//! Makes an active set from a configuration. Errors that show only once a component has described itself are collected,
//! so that the operator sees all of them at once.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use masque_config::{
    Companion as CompanionConfig, Config, Diagnostic, Name, Plugin as PluginConfig, PluginLimits,
};
use masque_grants::Limits;
use masque_runtime::{Package, Plugin, PluginKind, Sandbox};

use crate::builtins::BuiltinComponents;
use crate::companion::Companion;
use crate::packages::{PackageError, PackageLoader};
use crate::plugin::LoadedPlugin;
use crate::redact::Redactor;
use crate::schema;
use crate::set::ActiveSet;
use crate::trial::try_settings;

/// Why a configuration can't be loaded.
#[derive(Debug, Default)]
pub(crate) struct LoadFailure {
    pub(crate) problems: Vec<Diagnostic>,
    /// Whether the same files may load at another time.
    pub(crate) is_temporary: bool,
}

/// A set that was made, with what the operator is to be told of it.
#[derive(Debug)]
pub(crate) struct Assembled {
    pub(crate) set: ActiveSet,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// The first generation, made from the configuration. Warnings are logged.
///
/// # Errors
/// Every problem of the plugins and companions, each with its line in the configuration.
pub async fn load(
    config: &Config,
    sandbox: &Arc<Sandbox>,
    builtins: BuiltinComponents,
) -> Result<ActiveSet, Vec<Diagnostic>> {
    let Assembled { set, warnings } =
        assemble(config, sandbox, builtins, None).await.map_err(|failure| failure.problems)?;
    warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    Ok(set)
}

/// A set that can follow `current`. Packages and plugins that are the same in both are taken from `current`; they are not
/// compiled, described or tried again.
pub(crate) async fn assemble(
    config: &Config,
    sandbox: &Arc<Sandbox>,
    builtins: BuiltinComponents,
    current: Option<&ActiveSet>,
) -> Result<Assembled, LoadFailure> {
    let mut failure = LoadFailure::default();
    let mut warnings = Vec::new();
    let redactor = Arc::new(Redactor::new(config));
    let mut packages = PackageLoader::new(sandbox, builtins, current);
    let mut plugins = BTreeMap::new();
    for (name, plugin) in &config.plugins {
        let before = current.and_then(|current| current.plugins.get(name.as_str()));
        match packages.load(&plugin.source, plugin.limits).await {
            Ok(package) => {
                let mistakes = schema::check(config, name, plugin, package.description());
                let fits_schema = mistakes.is_empty();
                failure.problems.extend(mistakes);
                failure.problems.extend(
                    before.and_then(|before| state_downgrade(config, name, before.package(), &package)),
                );
                let made = make_plugin(name, plugin, package, before);
                let is_new = before.is_none_or(|before| !Arc::ptr_eq(before, &made));
                if is_new && fits_schema {
                    let report = try_settings(config, name, plugin, made.package(), &redactor).await;
                    failure.is_temporary |= report.is_temporary;
                    failure.problems.extend(report.problems);
                    warnings.extend(report.warnings);
                }
                plugins.insert(name.to_string(), made);
            }
            Err(PackageError { what, remedy, is_temporary }) => {
                failure.is_temporary |= is_temporary;
                failure.problems.push(Diagnostic::error(
                    config.locations.plugin(name, "source"),
                    format!("plugin `{name}` ({}) can't be loaded: {what}", plugin.source),
                    remedy,
                ));
            }
        }
    }
    let companions: BTreeMap<_, _> = config
        .companions
        .iter()
        .filter_map(|(name, wanted)| {
            let companion = make_companion(config, name, wanted, &plugins, &mut failure.problems)?;
            Some((name.to_string(), Arc::new(companion)))
        })
        .collect();
    if !failure.problems.is_empty() {
        return Err(failure);
    }
    let set = ActiveSet {
        generation: current.map_or(1, |current| current.generation + 1),
        configuration: config.digest(),
        names: Arc::new(companions.keys().cloned().collect()),
        companions,
        plugins,
        redactor,
    };
    Ok(Assembled { set, warnings })
}

/// The plugin `before` if its component and fingerprint are the same, otherwise a new one.
fn make_plugin(
    name: &Name,
    plugin: &PluginConfig,
    package: Arc<Package>,
    before: Option<&Arc<LoadedPlugin>>,
) -> Arc<LoadedPlugin> {
    let fingerprint = plugin.fingerprint();
    if let Some(before) = before
        && before.package().digest() == package.digest()
        && *before.fingerprint() == fingerprint
    {
        return Arc::clone(before);
    }
    let (grants, limits) =
        (plugin.grants.clone(), limits(plugin.limits, package.kind(), plugin.grants.models));
    let plugin = Plugin::new(package, name.to_string(), plugin.settings_json(), grants, limits);
    Arc::new(LoadedPlugin::new(plugin, fingerprint))
}

/// The limits of the plugin. Without one of the operator's, a model has the whole turn, and so has a plugin that may ask
/// one: it waits for the model's answer.
fn limits(set: PluginLimits, kind: PluginKind, may_ask_models: bool) -> Limits {
    let limits = Limits::from(set);
    let waits_for_model = kind == PluginKind::Model || may_ask_models;
    if set.wall.is_none() && waits_for_model { limits.for_whole_turn() } else { limits }
}

/// A problem if the new version stores its state in an older format. Stored state belongs to the plugin's name, and an
/// older version can't be trusted to read what a newer one wrote.
fn state_downgrade(config: &Config, name: &Name, before: &Package, after: &Package) -> Option<Diagnostic> {
    let (before, after) = (before.description(), after.description());
    (after.state_version < before.state_version).then(|| {
        Diagnostic::error(
            config.locations.plugin(name, "source"),
            format!(
                "version {} of plugin `{name}` keeps its state in version {}, and what version {} has written is in \
                 version {}",
                after.version, after.state_version, before.version, before.state_version
            ),
            "Keep the later one, or give the earlier one another name, under which it begins without state.",
        )
    })
}

/// A companion from the plugins that it names. `None` if one is missing (which is already reported) or has the wrong
/// kind (which is added to `problems`).
fn make_companion(
    config: &Config,
    name: &Name,
    wanted: &CompanionConfig,
    plugins: &BTreeMap<String, Arc<LoadedPlugin>>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Companion> {
    let mut find = |key: &str, plugin: &Name, kind: PluginKind| {
        let found = plugins.get(plugin.as_str())?;
        if found.package().kind() == kind {
            return Some(Arc::clone(found.plugin()));
        }
        problems.push(Diagnostic::error(
            config.locations.companion(name, key),
            format!(
                "plugin `{plugin}` is a {}, and companion `{name}` needs a {kind} here",
                found.package().kind()
            ),
            format!("Name a plugin that is a {kind}{}.", examples_of_kind(plugins, kind)),
        ));
        None
    };
    let persona = find("persona", &wanted.persona, PluginKind::Persona);
    let memory = find("memory", &wanted.memory, PluginKind::Memory);
    let models: Vec<_> = wanted
        .models
        .iter()
        .enumerate()
        .map(|(index, model)| find(&format!("models/{index}"), model, PluginKind::Model))
        .collect();
    Some(Companion {
        name: name.to_string(),
        persona: persona?,
        memory: memory?,
        models: models.into_iter().collect::<Option<_>>()?,
        fallback: wanted.fallback,
        memory_budget: wanted.memory_budget,
        options: wanted.options.clone(),
        in_use: OnceLock::new(),
    })
}

/// The loaded plugins of a kind, as the end of a sentence: ``, such as `a` or `b` ``. Empty if there are none.
fn examples_of_kind(plugins: &BTreeMap<String, Arc<LoadedPlugin>>, kind: PluginKind) -> String {
    let fitting: Vec<_> = plugins
        .values()
        .filter(|plugin| plugin.package().kind() == kind)
        .map(|plugin| format!("`{}`", plugin.name()))
        .collect();
    if fitting.is_empty() { String::new() } else { format!(", such as {}", fitting.join(" or ")) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_model_has_the_whole_turn_unless_the_operator_limits_its_calls() {
        let minute = Duration::from_secs(60);
        // The longest `timeout` of a turn.
        let longest_turn = 60 * minute;
        let unset = PluginLimits::default();
        let set = PluginLimits { wall: Some(minute), ..unset };
        assert!(limits(unset, PluginKind::Model, false).wall >= longest_turn);
        assert!(limits(unset, PluginKind::Memory, true).wall >= longest_turn);
        assert_eq!(limits(set, PluginKind::Model, false).wall, minute);
        assert_eq!(limits(set, PluginKind::Persona, true).wall, minute);
        assert_eq!(limits(unset, PluginKind::Persona, false).wall, minute);
    }
}
