//! Opens the shared memory.

use std::sync::Arc;

use async_trait::async_trait;
use masque_store::{InProcessInbox, InProcessTurnSlots, Inbox, InboxMessage, LiveHosts, Recipient, Shared};
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::circuit::Circuit;
use crate::inbox::RedisInbox;
use crate::keys::Keys;
use crate::local_rates::LocalRates;
use crate::open_error::RedisOpenError;
use crate::options::RedisOptions;
use crate::rate_limits::RedisRateLimits;
use crate::reconnecting::Reconnecting;
use crate::refusal::Refusal;
use crate::script;
use crate::turn_events::RedisTurnEvents;
use crate::turn_slots::RedisTurnSlots;

/// Opens the shared memory of `host` in Redis. All keys are those of `installation`. `live_hosts` says by how many hosts
/// limits are divided while Redis can't be reached.
///
/// If Redis can't be reached now, the host begins without it, says so in the log, and uses it as soon as it is there. A
/// background task sees to that for as long as [`Shared::inbox`] exists. Must be called within a tokio runtime.
///
/// # Errors
/// [`RedisOpenError`] where waiting can't help.
pub async fn open(
    options: &RedisOptions,
    installation: Uuid,
    host: Uuid,
    live_hosts: LiveHosts,
) -> Result<Shared, RedisOpenError> {
    script::prepare();
    let keys = Keys::new(installation);
    let circuit = Arc::new(Circuit::new(options.target(), options.command_timeout));
    let inbox = Arc::new(InProcessInbox::new(host));
    let slots = Arc::new(InProcessTurnSlots::default());
    let reconnecting = Reconnecting {
        options: options.clone(),
        keys: keys.clone(),
        circuit: Arc::clone(&circuit),
        inbox: Arc::clone(&inbox),
        slots: Arc::clone(&slots),
    };
    match reconnecting.try_once().await {
        Ok(()) => {}
        Err(Refusal::Lasting(error)) => return Err(error),
        Err(Refusal::Transient(reason)) => circuit.begin_unavailable(reason),
    }
    let task = tokio::spawn(reconnecting.run()).abort_handle();
    let inbox = RedisInbox { circuit: Arc::clone(&circuit), keys: keys.clone(), local: inbox };
    Ok(Shared {
        rates: Arc::new(RedisRateLimits {
            circuit: Arc::clone(&circuit),
            keys: keys.clone(),
            live_hosts: live_hosts.clone(),
            local: LocalRates::default(),
        }),
        slots: Arc::new(RedisTurnSlots {
            circuit: Arc::clone(&circuit),
            keys: keys.clone(),
            live_hosts: live_hosts.clone(),
            local: slots,
        }),
        events: Arc::new(RedisTurnEvents { circuit: Arc::clone(&circuit), keys }),
        inbox: Arc::new(OpenInbox { inbox, task }),
        health: circuit,
        live_hosts,
    })
}

/// The inbox, with the task that connects again. The task ends with it.
struct OpenInbox {
    inbox: RedisInbox,
    task: AbortHandle,
}

impl Drop for OpenInbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Inbox for OpenInbox {
    async fn send(&self, to: Recipient, message: InboxMessage) {
        self.inbox.send(to, message).await;
    }

    async fn receive(&self) -> InboxMessage {
        self.inbox.receive().await
    }
}
