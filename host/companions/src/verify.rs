//! The check of a configuration that is not going to be started: `masque check`.

use masque_config::{Config, Diagnostic, Location};
use masque_runtime::{Compiler, Sandbox, SandboxConfig};

use crate::builtins::BuiltinComponents;
use crate::load::load;
use crate::sandbox::sandbox_config;
/// Loads the configuration and discards the result. Returns every problem that [`load`] finds, and none if the
/// configuration can be started. Nothing is written: there is no cache for compiled components.
pub async fn verify(config: &Config, compiler: Compiler, builtins: BuiltinComponents) -> Vec<Diagnostic> {
    let sandbox = SandboxConfig { compiler, ..sandbox_config(&config.sandbox) };
    match Sandbox::new(&sandbox) {
        Ok(sandbox) => load(config, &sandbox, builtins).await.err().unwrap_or_default(),
        Err(error) => vec![Diagnostic::error(
            Location::Builtin("sandbox".into()),
            format!("the sandbox can't be set up: {error}"),
            "Set [sandbox] to what this machine can give.",
        )],
    }
}
