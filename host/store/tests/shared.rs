//! The conformance suite of the shared memory, within one process.
#![allow(clippy::unwrap_used, reason = "all of this crate is a test")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use masque_store::conformance::shared::SharedFixture;
use masque_store::{
    InProcessInbox, InProcessRateLimits, InProcessTurnEvents, InProcessTurnSlots, Shared, SharedStatus,
};
use uuid::Uuid;

/// The hosts are parts of one process: all but the inbox is the same for each.
#[derive(Default)]
struct OneProcess {
    rates: Arc<InProcessRateLimits>,
    slots: Arc<InProcessTurnSlots>,
    events: Arc<InProcessTurnEvents>,
}

#[async_trait]
impl SharedFixture for OneProcess {
    async fn host(&self, id: Uuid) -> Shared {
        Shared {
            rates: self.rates.clone(),
            slots: self.slots.clone(),
            events: self.events.clone(),
            inbox: Arc::new(InProcessInbox::new(id)),
            ..Shared::in_process(id)
        }
    }

    async fn pass_time(&self, time: Duration) {
        self.slots.pass_time(time);
        self.events.pass_time(time);
    }
}

async fn open() -> Option<Arc<dyn SharedFixture>> {
    Some(Arc::new(OneProcess::default()))
}

mod suite {
    masque_store::shared_conformance_tests!(crate::open);
}

#[test]
fn the_memory_of_one_process_is_always_there_and_not_shared() {
    let shared = Shared::in_process(Uuid::from_u128(1));
    assert_eq!(shared.health.status(), SharedStatus::InProcess);
    assert!(!shared.events.is_shared());
    assert_eq!(shared.live_hosts.get(), 1);
}
