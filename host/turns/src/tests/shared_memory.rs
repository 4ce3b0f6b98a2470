//! What two hosts share in memory, in this process: the events of their turns, and messages.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use masque_store::{EventPage, Inbox, InboxMessage, Recipient, Shared, TurnEvents, TurnId};
use tokio::sync::mpsc;
use uuid::Uuid;

#[derive(Default)]
pub(super) struct SharedMemory {
    logs: Mutex<HashMap<TurnId, EventPage>>,
    inboxes: Mutex<HashMap<Uuid, mpsc::UnboundedSender<InboxMessage>>>,
}

/// The messages for one host.
struct HostInbox {
    memory: Arc<SharedMemory>,
    received: tokio::sync::Mutex<mpsc::UnboundedReceiver<InboxMessage>>,
}

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
        self.logs.lock().unwrap().clear();
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
    async fn append(
        &self,
        turn: TurnId,
        attempt: u32,
        first: u64,
        events: &[String],
        has_ended: bool,
    ) -> bool {
        let mut logs = self.0.logs.lock().unwrap();
        let new = EventPage { attempt, events: Vec::new(), total: 0, has_ended: false };
        let log = logs.entry(turn).or_insert_with(|| new.clone());
        if attempt > log.attempt {
            *log = new;
        }
        if attempt < log.attempt || first > log.total {
            return false;
        }
        log.events.truncate(usize::try_from(first).unwrap());
        log.events.extend_from_slice(events);
        log.total = log.events.len() as u64;
        log.has_ended = has_ended;
        true
    }

    async fn read(&self, turn: TurnId, from: u64) -> Option<EventPage> {
        let logs = self.0.logs.lock().unwrap();
        let log = logs.get(&turn)?;
        let events = log.events.iter().skip(usize::try_from(from).unwrap()).cloned().collect();
        Some(EventPage { events, ..log.clone() })
    }

    fn is_shared(&self) -> bool {
        true
    }
}
