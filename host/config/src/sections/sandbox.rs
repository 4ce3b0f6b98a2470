//! `[sandbox]`: the resources that all plugins share.

use std::time::Duration;

use serde::Serialize;

use crate::section::Section;
use crate::units::{GIB, HOUR, MIB, SECOND};

/// The resources that all plugins share.
#[derive(Clone, Debug, Serialize)]
pub struct Sandbox {
    /// Instances at the same time.
    pub instances: u32,
    /// The highest value that `limits.memory` of a plugin may have, in bytes.
    pub memory_bytes: usize,
    /// How long a call waits for a free instance.
    pub slot_wait: Duration,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self { instances: 1000, memory_bytes: 256 * MIB, slot_wait: 2 * SECOND }
    }
}

pub(crate) fn read(mut section: Section<'_, '_>) -> Sandbox {
    let default = Sandbox::default();
    let instances = section.count("instances", default.instances.into(), 8..=100_000);
    let sandbox = Sandbox {
        instances: u32::try_from(instances).unwrap_or(u32::MAX),
        memory_bytes: section.size("memory", default.memory_bytes, MIB..=4 * GIB).value,
        slot_wait: section.duration("slot_wait", default.slot_wait, Duration::ZERO..=HOUR),
    };
    section.finish();
    sandbox
}
