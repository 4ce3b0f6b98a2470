//! Checks that a host frees its resources: memory, descriptors, slots of the sandbox.

use crate::host::Host;
use crate::wait::eventually;

/// Memory in bytes that a host may keep: arenas of the allocator, and resident memory of slots that were used for the first
/// time.
const SLACK: usize = 32 << 20;

/// The resources of an idle host.
#[derive(Clone, Copy, Debug)]
pub struct Baseline {
    /// Resident bytes.
    memory: usize,
    descriptors: usize,
    free_slots: u64,
}

impl Baseline {
    /// Measures the host as soon as it is idle: no turn runs and all slots are free.
    pub async fn of(host: &Host) -> Self {
        let client = host.client();
        eventually("the host to be idle", || async {
            let now = Self::now(host).await;
            let status = client.get("/status").send().await.expect(200);
            (status["turns"]["running"] == 0 && status["sandbox"]["size"] == now.free_slots).then_some(now)
        })
        .await
    }

    async fn now(host: &Host) -> Self {
        let status = host.client().get("/status").send().await.expect(200);
        let free_slots = status["sandbox"]["free"].as_u64().unwrap();
        Self { memory: host.memory(), descriptors: host.descriptors(), free_slots }
    }

    /// Waits until the host uses no more than this.
    pub async fn returns(&self, host: &Host) {
        let now = eventually(&format!("the host to hold what it held before: {self:?}"), || async {
            let now = Self::now(host).await;
            let is_back = now.memory <= self.memory + SLACK
                && now.descriptors <= self.descriptors
                && now.free_slots == self.free_slots;
            is_back.then_some(now)
        })
        .await;
        eprintln!("before: {self:?}; after: {now:?}");
    }
}
