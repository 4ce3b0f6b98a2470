//! What the configuration knows of `masque-runtime`, without the engine. What reads text or bytes is the runtime's own
//! source; the rest are plain values, whose defaults do not matter here.
#![allow(dead_code, missing_docs, unreachable_pub)]

#[path = "../../../host/runtime/src/file.rs"]
mod file;
use std::time::Duration;

pub use file::FileFormat;
pub use masque_grants::{Credential, GrantError, Grants, HttpGrant, IpNet, Limits, MAX_COMPONENT_BYTES, Origin, Reuse, Secret, is_name};

pub mod contract {
    pub struct Description {
        pub settings_schema: String,
    }
}

pub struct SandboxConfig {
    pub instances: u32,
    pub memory_bytes: usize,
    pub slot_wait: Duration,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self { instances: 1000, memory_bytes: 256 << 20, slot_wait: Duration::from_secs(2) }
    }
}
