//! The configuration of the sandbox, as the runtime takes it.

use masque_runtime::SandboxConfig;

use crate::config;

/// The part of the sandbox that the configuration decides; the compiler and the folders are left to the caller.
pub(crate) fn sandbox(sandbox: &config::Sandbox) -> SandboxConfig {
    let config::Sandbox { instances, memory_bytes, slot_wait } = *sandbox;
    SandboxConfig { instances, memory_bytes, slot_wait, ..SandboxConfig::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_and_the_runtime_have_the_same_defaults() {
        let (configured, default) = (sandbox(&config::Sandbox::default()), SandboxConfig::default());
        assert_eq!(
            (configured.instances, configured.memory_bytes, configured.slot_wait),
            (default.instances, default.memory_bytes, default.slot_wait)
        );
    }
}
