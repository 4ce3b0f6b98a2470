//! What two hosts share in memory, in this process: the events of their turns, and messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use masque_store::{
    EventPage, InProcessTurnEvents, Inbox, InboxMessage, Recipient, Shared, TurnEvents, TurnId,
};
use tokio::sync::mpsc;
use uuid::Uuid;

#[derive(Default)]
pub(super) struct SharedMemory {
    events: Mutex<Arc<InProcessTurnEvents>>,
    inboxes: Mutex<HashMap<Uuid, mpsc::UnboundedSender<InboxMessage>>>,
}

/// The messages for one host.
struct HostInbox {
    memory: Arc<SharedMemory>,
    received: tokio::sync::Mutex<mpsc::UnboundedReceiver<InboxMessage>>,
}

/// The logs within this process, which both hosts read.
struct HostEvents(Arc<SharedMemory>);

impl SharedMemory {
    /// What the host with this id works with, which is one of two.
    pub(super) fn of(self: &Arc<Self>, host: Uuid) -> Shared {
        let (send, received) = mpsc::unbounded_channel();
        self.inboxes.lock().unwrap().insert(host, send);
        let inbox = HostInbox { memory: Arc::clone(self), received: tokio::sync::Mutex::new(received) };
        let own = Shared::in_process(host);
        own.live_hosts.set(2);
        Shared { inbox: Arc::new(inbox), events: Arc::new(HostEvents(Arc::clone(self))), ..own }
    }

    /// Forgets all events, as shared memory may at any moment.
    pub(super) fn flush(&self) {
        *self.events.lock().unwrap() = Arc::default();
    }

    fn events(&self) -> Arc<InProcessTurnEvents> {
        Arc::clone(&self.events.lock().unwrap())
    }
}

#[async_trait]
impl Inbox for HostInbox {
    async fn send(&self, to: Recipient, message: InboxMessage) {
        let inboxes = self.memory.inboxes.lock().unwrap();
        for (host, inbox) in inboxes.iter() {
            if to == Recipient::All || to == Recipient::Host(*host) {
                // The host may have ended.
                let _ = inbox.send(message);
            }
        }
    }

    async fn receive(&self) -> InboxMessage {
        self.received.lock().await.recv().await.unwrap()
    }
}

#[async_trait]
impl TurnEvents for HostEvents {
    async fn append(&self, turn: TurnId, attempt: u32, first: u64, events: &[String], ended: bool) -> bool {
        self.0.events().append(turn, attempt, first, events, ended).await
    }

    async fn read(&self, turn: TurnId, from: u64) -> Option<EventPage> {
        self.0.events().read(turn, from).await
    }

    fn is_shared(&self) -> bool {
        true
    }
}
