//! The number of sandbox slots, as the API reports it.

use std::sync::Arc;

use masque_api::SandboxSlots;
use masque_runtime::Sandbox;

/// Reads the slots of the sandbox.
pub(super) struct Slots(pub(super) Arc<Sandbox>);

impl SandboxSlots for Slots {
    fn free(&self) -> usize {
        self.0.free_instances()
    }

    fn size(&self) -> u32 {
        self.0.instances()
    }
}
