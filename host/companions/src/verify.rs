//! The check of a configuration that is not going to be started: `masque check`.

use masque_config::{Config, Diagnostic, Location};
use masque_runtime::{Compiler, Sandbox, SandboxConfig};

use crate::builtins::BuiltinComponents;
use crate::load::assemble;
use crate::sandbox::sandbox_config;
/// Loads the configuration and discards the result. Returns every problem that [`load`](crate::load()) finds, and only
/// warnings if the configuration can be started. Nothing is written: there is no cache for compiled components.
pub async fn verify(config: &Config, compiler: Compiler, builtins: BuiltinComponents) -> Vec<Diagnostic> {
    let sandbox = SandboxConfig { compiler, ..sandbox_config(&config.sandbox) };
    match Sandbox::new(&sandbox) {
        Ok(sandbox) => match assemble(config, &sandbox, builtins, None).await {
            Ok(assembled) => assembled.warnings,
            Err(failure) => failure.problems,
        },
        Err(error) => vec![Diagnostic::error(
            Location::Builtin("sandbox".into()),
            format!("the sandbox can't be set up: {error}"),
            "Set [sandbox] to what this machine can give.",
        )],
    }
}
