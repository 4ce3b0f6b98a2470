//! The sandbox that the configuration asks for, as the runtime takes it.

use masque_config::Sandbox;
use masque_runtime::SandboxConfig;

/// The part of the sandbox that the configuration decides. Unless the caller sets them, components are compiled in this
/// process, and there are no folders for compiled components and scratch files.
pub fn sandbox_config(sandbox: &Sandbox) -> SandboxConfig {
    let Sandbox { instances, memory_bytes, slot_wait } = *sandbox;
    SandboxConfig { instances, memory_bytes, slot_wait, ..SandboxConfig::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_and_the_runtime_have_the_same_defaults() {
        let (configured, default) = (sandbox_config(&Sandbox::default()), SandboxConfig::default());
        assert_eq!(
            (configured.instances, configured.memory_bytes, configured.slot_wait),
            (default.instances, default.memory_bytes, default.slot_wait)
        );
    }
}
