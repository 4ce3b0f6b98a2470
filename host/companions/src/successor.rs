//! Makes the set that follows the one of a running host, or finds everything that keeps it from being made.

use std::sync::Arc;

use masque_config::{Config, InvalidConfig};
use masque_runtime::Sandbox;

use crate::builtins::BuiltinComponents;
use crate::load::{Assembled, LoadFailure, assemble};
use crate::set::ActiveSet;
use crate::started::Started;

/// A set that can follow `current`, within the memory that the running sandbox gives.
pub(crate) async fn assemble_successor(
    config: &Config,
    started: &Started,
    sandbox: &Arc<Sandbox>,
    builtins: BuiltinComponents,
    current: Option<&ActiveSet>,
) -> Result<Assembled, LoadFailure> {
    let too_large = started.memory_limit_problems(config);
    if too_large.is_empty() {
        return assemble(config, sandbox, builtins, current).await;
    }
    // The running sandbox can't load these plugins. The others are checked nevertheless, so that their mistakes are listed too.
    let mut others = config.clone();
    others.plugins.retain(|_, plugin| !started.exceeds_memory(plugin));
    let found = assemble(&others, sandbox, builtins, current).await;
    let mut failure = found.err().unwrap_or_default();
    failure.problems.extend(too_large);
    Err(failure)
}

/// Why nothing can follow `current`: what reading the configuration has found, and the problems of the plugins and companions
/// in its valid part. So a mistake in one section hides none in another.
pub(crate) async fn find_all_problems(
    invalid: InvalidConfig,
    started: &Started,
    sandbox: &Arc<Sandbox>,
    builtins: BuiltinComponents,
    current: Option<&ActiveSet>,
) -> LoadFailure {
    let InvalidConfig { diagnostics, valid_part } = invalid;
    let mut failure = LoadFailure { problems: diagnostics.into_vec(), is_temporary: false };
    let Some(valid_part) = valid_part else { return failure };
    let valid_part = started.with_started_sections(*valid_part);
    if let Err(found) = assemble_successor(&valid_part, started, sandbox, builtins, current).await {
        failure.problems.extend(found.problems);
        failure.is_temporary = found.is_temporary;
    }
    failure
}
