//! From the values of the configuration to the types of the runtime.

use masque_runtime::{Limits, SandboxConfig};

use crate::config;

/// The sandbox that the configuration asks for. Components are compiled in this process, without a cache, unless the
/// caller sets `compiler` and `cache`.
pub fn sandbox_config(sandbox: &config::Sandbox) -> SandboxConfig {
    SandboxConfig {
        instances: sandbox.instances,
        memory_bytes: sandbox.memory_bytes,
        slot_wait: sandbox.slot_wait,
        ..SandboxConfig::default()
    }
}

/// The limits of one call. Those that an operator can't set keep the runtime's defaults.
pub(crate) fn call_limits(limits: config::Limits) -> Limits {
    Limits { wall: limits.wall, cpu: limits.cpu, memory_bytes: limits.memory_bytes, ..Limits::default() }
}
