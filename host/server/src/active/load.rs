//! A set out of a configuration. Every mistake that shows only once the components themselves have been asked is reported,
//! all at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use masque_runtime::{Kind, Package, Plugin, Sandbox};

use super::packages::{Packages, Refusal};
use super::{ActiveSet, Companion, Loaded, Redactor, schema};
use crate::config::{self, Config, Diagnostic, Name};

/// Why there is no set.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) problems: Vec<Diagnostic>,
    /// Whether the same files may do at another time.
    pub(super) passing: bool,
}

/// The first generation, from the configuration.
///
/// # Errors
/// Every mistake at once.
pub(crate) async fn load(config: &Config, sandbox: &Arc<Sandbox>) -> Result<ActiveSet, Vec<Diagnostic>> {
    assemble(config, sandbox, None).await.map_err(|refused| refused.problems)
}

/// A set that may follow `current`: what is the same in both is taken over from there, not compiled, described or made
/// again.
pub(super) async fn assemble(
    config: &Config,
    sandbox: &Arc<Sandbox>,
    current: Option<&ActiveSet>,
) -> Result<ActiveSet, Refused> {
    let mut refused = Refused { problems: Vec::new(), passing: false };
    let mut packages = Packages::new(sandbox, current);
    let mut plugins = BTreeMap::new();
    for (name, plugin) in &config.plugins {
        let before = current.and_then(|current| current.plugins.get(name.as_str()));
        match packages.load(&plugin.source).await {
            Ok(package) => {
                refused.problems.extend(schema::check(config, name, plugin, package.description()));
                refused
                    .problems
                    .extend(before.and_then(|before| too_old(config, name, before.package(), &package)));
                plugins.insert(name.to_string(), loaded(name, plugin, package, before));
            }
            Err(Refusal { what, remedy, passing }) => {
                refused.passing |= passing;
                refused.problems.push(Diagnostic::error(
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
            let companion = companion(config, name, wanted, &plugins, &mut refused.problems)?;
            Some((name.to_string(), Arc::new(companion)))
        })
        .collect();
    if !refused.problems.is_empty() {
        return Err(refused);
    }
    Ok(ActiveSet {
        generation: current.map_or(1, |current| current.generation + 1),
        configuration: config.digest(),
        names: Arc::new(companions.keys().cloned().collect()),
        companions,
        plugins,
        redactor: Arc::new(Redactor::new(config)),
    })
}

/// The plugin that there was, if nothing about it has changed.
fn loaded(
    name: &Name,
    plugin: &config::Plugin,
    package: Arc<Package>,
    before: Option<&Arc<Loaded>>,
) -> Arc<Loaded> {
    let terms = plugin.fingerprint();
    if let Some(before) = before
        && before.package().digest() == package.digest()
        && *before.terms() == terms
    {
        return Arc::clone(before);
    }
    let (grants, limits) = (plugin.grants.clone(), plugin.limits.into());
    let plugin = Plugin::new(package, name.to_string(), plugin.settings_json(), grants, limits);
    Arc::new(Loaded::new(plugin, terms))
}

/// State belongs to the plugin's name, and what a later version wrote an earlier one can't be trusted to read.
fn too_old(config: &Config, name: &Name, before: &Package, after: &Package) -> Option<Diagnostic> {
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

/// `None` where a plugin is missing (that is reported already) or has another kind than its use asks for.
fn companion(
    config: &Config,
    name: &Name,
    wanted: &config::Companion,
    plugins: &BTreeMap<String, Arc<Loaded>>,
    problems: &mut Vec<Diagnostic>,
) -> Option<Companion> {
    let mut find = |key: &str, plugin: &Name, kind: Kind| {
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
            format!("Name a plugin that is a {kind}{}.", of_kind(plugins, kind)),
        ));
        None
    };
    let persona = find("persona", &wanted.persona, Kind::Persona);
    let memory = find("memory", &wanted.memory, Kind::Memory);
    let models: Vec<_> = wanted
        .models
        .iter()
        .enumerate()
        .map(|(index, model)| find(&format!("models/{index}"), model, Kind::Model))
        .collect();
    Some(Companion {
        name: name.to_string(),
        persona: persona?,
        memory: memory?,
        models: models.into_iter().collect::<Option<_>>()?,
        fallback: wanted.fallback,
        memory_budget: wanted.memory_budget,
        options: wanted.options.clone(),
    })
}

/// `, such as `a` or `b``: the plugins that would fit.
fn of_kind(plugins: &BTreeMap<String, Arc<Loaded>>, kind: Kind) -> String {
    let fitting: Vec<_> = plugins
        .values()
        .filter(|plugin| plugin.package().kind() == kind)
        .map(|plugin| format!("`{}`", plugin.name()))
        .collect();
    if fitting.is_empty() { String::new() } else { format!(", such as {}", fitting.join(" or ")) }
}
