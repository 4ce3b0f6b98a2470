//! The messages for one host, in its memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::shared::inbox::{Inbox, InboxMessage, Recipient};

/// How many messages wait for the host. With more, all of them are replaced by [`InboxMessage::MayHaveMissed`].
const MAX_WAITING: usize = 4096;

/// [`Inbox`] within this process: messages to other hosts reach nobody.
#[derive(Debug)]
pub struct InProcessInbox {
    host: Uuid,
    waiting: Mutex<VecDeque<InboxMessage>>,
    arrived: Notify,
}

impl InProcessInbox {
    /// The empty inbox of a host.
    pub fn new(host: Uuid) -> Self {
        Self { host, waiting: Mutex::default(), arrived: Notify::new() }
    }

    /// The host that it is for.
    pub fn host(&self) -> Uuid {
        self.host
    }

    /// Puts a message for this host in.
    pub fn deliver(&self, message: InboxMessage) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_WAITING {
            waiting.clear();
            waiting.push_back(InboxMessage::MayHaveMissed);
        } else {
            waiting.push_back(message);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    fn pop(&self) -> Option<InboxMessage> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

#[async_trait]
impl Inbox for InProcessInbox {
    async fn send(&self, to: Recipient, message: InboxMessage) {
        if to == Recipient::All || to == Recipient::Host(self.host) {
            self.deliver(message);
        }
    }

    async fn receive(&self) -> InboxMessage {
        loop {
            if let Some(message) = self.pop() {
                return message;
            }
            // A message that came since is not missed: its notification is kept until someone waits.
            self.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TurnId;

    #[tokio::test]
    async fn a_host_that_does_not_receive_is_told_that_it_missed_messages() {
        let inbox = InProcessInbox::new(Uuid::from_u128(1));
        for _ in 0..=MAX_WAITING {
            inbox.deliver(InboxMessage::WakeTurn(TurnId::new()));
        }
        assert_eq!(inbox.receive().await, InboxMessage::MayHaveMissed);
        assert_eq!(inbox.pop(), None);
    }
}
