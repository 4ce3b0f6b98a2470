//! `limits` of a plugin: what one call may use, and what it may store.

use std::time::Duration;

use masque_grants::Limits;
use serde::Serialize;

use crate::section::Section;
use crate::units::{GIB, HOUR, KIB, MIB, MILLISECOND};
use crate::value::show_size;

/// The limits that an operator may set. The other limits of the sandbox are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PluginLimits {
    /// Time from the start of the call to the last item of its reply. `None` for the default of the plugin's kind, which
    /// is not known before the component is loaded: see [`Limits::for_whole_turn`].
    pub wall: Option<Duration>,
    /// CPU time.
    pub cpu: Duration,
    /// Bytes in all linear memories together.
    pub memory_bytes: usize,
    /// Bytes that the plugin may store for one user, and in the scope `shared` for all users together.
    pub state_bytes: usize,
}

impl Default for PluginLimits {
    fn default() -> Self {
        let Limits { cpu, memory_bytes, state_bytes, .. } = Limits::default();
        Self { wall: None, cpu, memory_bytes, state_bytes }
    }
}

impl From<PluginLimits> for Limits {
    fn from(limits: PluginLimits) -> Self {
        let PluginLimits { wall, cpu, memory_bytes, state_bytes } = limits;
        let default = Self::default();
        Self { wall: wall.unwrap_or(default.wall), cpu, memory_bytes, state_bytes, ..default }
    }
}

/// Reads the table; `max_memory` is what the sandbox can give.
pub(crate) fn read(mut section: Section<'_, '_>, max_memory: usize) -> PluginLimits {
    let default = PluginLimits::default();
    let memory = section.size("memory", default.memory_bytes, MIB..=4 * GIB);
    if memory.value > max_memory && section.has("memory") {
        section.report.error_at(
            &memory.span,
            format!(
                "{} is more memory than the sandbox gives ({})",
                show_size(memory.value),
                show_size(max_memory)
            ),
            "Lower it, or raise `memory` in [sandbox].",
        );
    }
    let is_set = section.has("wall");
    let wall = section.duration("wall", Limits::default().wall, MILLISECOND..=HOUR);
    let limits = PluginLimits {
        wall: is_set.then_some(wall),
        cpu: section.duration("cpu", default.cpu, MILLISECOND..=HOUR),
        memory_bytes: memory.value.min(max_memory),
        state_bytes: section.size("state", default.state_bytes, 64 * KIB..=GIB).value,
    };
    section.finish();
    limits
}
