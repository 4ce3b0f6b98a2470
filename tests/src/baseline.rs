//! What a host holds on to, and whether it lets go of it again.

use crate::host::Host;
use crate::wait::eventually;

/// Memory that the host may keep over what it had: the allocator's arenas, and what the pool leaves resident in places
/// that were used for the first time.
const SLACK: usize = 32 << 20;

/// What a host holds at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Baseline {
    /// Resident bytes.
    memory: usize,
    descriptors: usize,
    free_places: u64,
}

impl Baseline {
    /// As soon as no turn runs and no place is taken.
    pub async fn of(host: &Host) -> Self {
        let client = host.client();
        eventually("the host to be idle", || async {
            let now = Self::now(host).await;
            let status = client.get("/status").send().await.expect(200);
            (status["turns"]["running"] == 0 && status["sandbox"]["size"] == now.free_places).then_some(now)
        })
        .await
    }

    async fn now(host: &Host) -> Self {
        let status = host.client().get("/status").send().await.expect(200);
        let free_places = status["sandbox"]["free"].as_u64().unwrap();
        Self { memory: host.memory(), descriptors: host.descriptors(), free_places }
    }

    /// Waits until the host has given back all that it took since.
    pub async fn returns(&self, host: &Host) {
        let now = eventually(&format!("the host to hold what it held before: {self:?}"), || async {
            let now = Self::now(host).await;
            let back = now.memory <= self.memory + SLACK
                && now.descriptors <= self.descriptors
                && now.free_places == self.free_places;
            back.then_some(now)
        })
        .await;
        eprintln!("before: {self:?}; after: {now:?}");
    }
}
