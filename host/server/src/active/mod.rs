//! The active set: which companions there are, and which plugins, in which versions, with which grants, play them.
//!
//! A set is one numbered generation, made whole or not at all (`load`) and swapped as one behind [`Active`]; a turn keeps
//! the one it was admitted with. [`follow()`] notices that what a set was made of has changed, and `reload` makes the next one
//! of it. [`verify`] says for `masque check` what the first one would be refused for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use masque_runtime::{Compiler, Plugin, Sandbox, SandboxConfig};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::config::{self, Config, Diagnostic};
use crate::convert;

mod changes;
mod folders;
mod follow;
mod load;
mod loaded;
mod packages;
mod redact;
mod reload;
mod schema;

pub(crate) use follow::follow;
pub(crate) use load::load;
pub(crate) use loaded::Loaded;
pub(crate) use redact::Redactor;
pub(crate) use reload::{Outcome, Reload, Reloader};

/// One generation.
#[derive(Debug)]
pub(crate) struct ActiveSet {
    /// Rises with every swap.
    pub(crate) generation: u64,
    /// The digest of the configuration that it was made of.
    pub(crate) configuration: String,
    pub(crate) companions: BTreeMap<String, Arc<Companion>>,
    /// Those of the companions.
    pub(crate) names: Arc<BTreeSet<String>>,
    /// All plugins by their name, those that no companion uses included.
    pub(crate) plugins: BTreeMap<String, Arc<Loaded>>,
    /// Knows the secrets of all of them.
    pub(crate) redactor: Arc<Redactor>,
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

/// The generation that new turns get, and how the last attempt at another one went: one never without the other.
#[derive(Debug)]
pub(crate) struct Active(watch::Sender<Now>);

#[derive(Clone, Debug)]
pub(crate) struct Now {
    pub(crate) set: Arc<ActiveSet>,
    /// `None` while nothing that the set is made of has changed.
    pub(crate) reload: Option<Reload>,
}

/// Another generation came in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outdated;

impl Active {
    pub(crate) fn new(set: ActiveSet) -> Self {
        Self(watch::Sender::new(Now { set: Arc::new(set), reload: None }))
    }

    /// What a turn pins when it is admitted.
    pub(crate) fn current(&self) -> Arc<ActiveSet> {
        Arc::clone(&self.0.borrow().set)
    }

    pub(crate) fn now(&self) -> Now {
        self.0.borrow().clone()
    }

    /// Makes `next` the generation after `base`, which must still be the current one. Who holds `base` keeps it.
    ///
    /// `problems` are what its maker should know all the same.
    pub(crate) fn publish(
        &self,
        base: &ActiveSet,
        mut next: ActiveSet,
        problems: Vec<String>,
    ) -> Result<Arc<ActiveSet>, Outdated> {
        next.generation = base.generation + 1;
        let next = Arc::new(next);
        let reload = Reload::new(Outcome::Applied, next.generation, problems);
        let published = self.0.send_if_modified(|now| {
            let fits = now.set.generation == base.generation;
            if fits {
                *now = Now { set: Arc::clone(&next), reload: Some(reload) };
            }
            fits
        });
        if !published {
            return Err(Outdated);
        }
        for (name, plugin) in &base.plugins {
            if next.plugins.get(name).is_none_or(|kept| !Arc::ptr_eq(kept, plugin)) {
                plugin.retire();
            }
        }
        Ok(next)
    }

    /// Notes an attempt that came to no generation, and returns the one before it.
    pub(crate) fn note(&self, reload: Reload) -> Option<Reload> {
        let mut before = None;
        self.0.send_modify(|now| before = now.reload.replace(reload));
        before
    }
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
pub(crate) async fn verify(config: &Config) -> Vec<Diagnostic> {
    // Nothing is kept: a check leaves the machine as it found it.
    let sandbox = SandboxConfig { compiler: compiler(), ..convert::runtime::sandbox(&config.sandbox) };
    match Sandbox::new(&sandbox) {
        Ok(sandbox) => load(config, &sandbox).await.err().unwrap_or_default(),
        Err(error) => vec![Diagnostic::error(
            config::Location::Builtin("sandbox".into()),
            format!("the sandbox can't be set up: {error}"),
            "Set [sandbox] to what this machine can give.",
        )],
    }
}

#[cfg(test)]
mod tests;
