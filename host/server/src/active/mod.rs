//! The active set: which companions there are, and which plugins, in which versions, with which grants, play them.
//!
//! A set is one numbered generation, made whole or not at all and swapped as one behind [`Active`]; a turn keeps the
//! one it was admitted with. [`load`] makes a set out of the configuration and reports every mistake that shows only
//! once the components themselves have been asked, [`verify`] does the same for `masque check`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use masque_runtime::{Compiler, Kind, Plugin, Sandbox, SandboxConfig};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::config::{self, Config, Problem};

mod packages;
mod schema;

use packages::Packages;

/// One generation.
#[derive(Debug)]
pub(crate) struct ActiveSet {
    /// Rises with every swap.
    pub(crate) generation: u64,
    pub(crate) companions: BTreeMap<String, Arc<Companion>>,
    /// Those of the companions.
    pub(crate) names: Arc<BTreeSet<String>>,
    /// All plugins by their name, those that no companion uses included.
    pub(crate) plugins: BTreeMap<String, Arc<Plugin>>,
}

/// Someone to talk to.
#[derive(Debug)]
pub(crate) struct Companion {
    pub(crate) name: String,
    pub(crate) persona: Arc<Plugin>,
    pub(crate) memory: Arc<Plugin>,
    /// Never empty; the first serves.
    pub(crate) models: Vec<Arc<Plugin>>,
    /// Whether the next model may take over before the first content.
    pub(crate) fallback: bool,
    /// What a recollection may hold, in the model's tokens.
    pub(crate) memory_budget: u32,
    /// For every prompt, over the persona's.
    pub(crate) options: Map<String, Value>,
}

/// The generation that new turns get.
#[derive(Debug)]
pub(crate) struct Active(watch::Sender<Arc<ActiveSet>>);

impl Active {
    pub(crate) fn new(set: ActiveSet) -> Self {
        Self(watch::Sender::new(Arc::new(set)))
    }

    /// What a turn pins when it is admitted.
    pub(crate) fn current(&self) -> Arc<ActiveSet> {
        Arc::clone(&self.0.borrow())
    }
}

/// The first generation, from the configuration.
///
/// # Errors
/// Every mistake at once.
pub(crate) async fn load(config: &Config, sandbox: &Arc<Sandbox>) -> Result<ActiveSet, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut packages = Packages::new(sandbox);
    let mut plugins = BTreeMap::new();
    for (name, plugin) in &config.plugins {
        match packages.load(&plugin.source).await {
            Ok(package) => {
                problems.extend(schema::check(config, name, plugin, package.description()));
                let settings = plugin.settings_json();
                let (grants, limits) = (config.grants(plugin), plugin.limits.to_runtime());
                let loaded = Plugin::new(package, name.to_string(), settings, grants, limits);
                plugins.insert(name.to_string(), Arc::new(loaded));
            }
            Err(refusal) => problems.push(Problem::error(
                config.locations.plugin(name, "source"),
                format!("plugin `{name}` ({}) can't be loaded: {}", plugin.source, refusal.what),
                refusal.remedy,
            )),
        }
    }
    let companions: BTreeMap<_, _> = config
        .companions
        .iter()
        .filter_map(|(name, wanted)| {
            let companion = companion(config, name, wanted, &plugins, &mut problems)?;
            Some((name.to_string(), Arc::new(companion)))
        })
        .collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let names = Arc::new(companions.keys().cloned().collect());
    Ok(ActiveSet { generation: 1, companions, names, plugins })
}

/// Compiles in a child of this binary, as [`crate::cli`] offers it.
pub(crate) fn compiler() -> Compiler {
    match std::env::current_exe() {
        Ok(program) => Compiler::Child { program, arguments: vec![crate::cli::COMPILE.to_owned()] },
        Err(error) => {
            tracing::warn!(%error, "this binary can't be found again, so components are compiled within the process");
            Compiler::InProcess
        }
    }
}

/// What [`load`] would object to, for a configuration that is not to be started.
pub(crate) async fn verify(config: &Config) -> Vec<Problem> {
    // Nothing is kept: a check leaves the machine as it found it.
    let sandbox = SandboxConfig { compiler: compiler(), ..config.sandbox.to_runtime() };
    match Sandbox::new(&sandbox) {
        Ok(sandbox) => load(config, &sandbox).await.err().unwrap_or_default(),
        Err(error) => vec![Problem::error(
            config::Place::Builtin("sandbox".into()),
            format!("the sandbox can't be set up: {error}"),
            "Set [sandbox] to what this machine can give.",
        )],
    }
}

/// `None` where a plugin is missing (that is reported already) or has another kind than its use asks for.
fn companion(
    config: &Config,
    name: &config::Name,
    wanted: &config::Companion,
    plugins: &BTreeMap<String, Arc<Plugin>>,
    problems: &mut Vec<Problem>,
) -> Option<Companion> {
    let mut find = |key: &str, plugin: &config::Name, kind: Kind| {
        let found = plugins.get(plugin.as_str())?;
        if found.package().kind() == kind {
            return Some(Arc::clone(found));
        }
        problems.push(Problem::error(
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
fn of_kind(plugins: &BTreeMap<String, Arc<Plugin>>, kind: Kind) -> String {
    let fitting: Vec<_> = plugins
        .values()
        .filter(|plugin| plugin.package().kind() == kind)
        .map(|plugin| format!("`{}`", plugin.name()))
        .collect();
    if fitting.is_empty() { String::new() } else { format!(", such as {}", fitting.join(" or ")) }
}

#[cfg(test)]
mod tests;
