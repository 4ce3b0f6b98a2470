//! Messages between hosts, by channels of Redis: one for each host, and one for all.
//!
//! Redis keeps no message for a host that does not listen at that moment. So whenever a connection was lost, the host is
//! told that it may have missed messages. What a host sends to itself does not go through Redis.

use std::sync::Arc;

use async_trait::async_trait;
use masque_store::{InProcessInbox, Inbox, InboxMessage, Recipient};
use redis::{Msg, PushInfo, RedisResult, cmd};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::circuit::Circuit;
use crate::keys::Keys;
use crate::link::Link;

/// [`Inbox`] on Redis.
pub(crate) struct RedisInbox {
    pub(crate) circuit: Arc<Circuit>,
    pub(crate) keys: Keys,
    pub(crate) local: Arc<InProcessInbox>,
}

/// What is sent through a channel.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    from: Uuid,
    #[serde(flatten)]
    message: InboxMessage,
}

/// Sends a text to a channel by a connection.
pub(crate) async fn publish_on(link: &Link, channel: &str, text: &str) -> RedisResult<()> {
    let mut command = cmd("PUBLISH");
    command.arg(channel).arg(text);
    link.query(&command).await
}

/// Listens for messages to this host and to all.
pub(crate) async fn subscribe_on(link: &Link, keys: &Keys, host: Uuid) -> RedisResult<()> {
    link.subscribe(&keys.host_channel(host)).await?;
    link.subscribe(&keys.all_channel()).await
}

/// Puts a message of a channel into the inbox. A message that this build does not know comes from a newer host, which asks
/// for something that is in the store too.
pub(crate) fn receive_push(push: PushInfo, inbox: &InProcessInbox) {
    let Some(message) = Msg::from_push_info(push) else { return };
    match serde_json::from_slice::<Envelope>(message.get_payload_bytes()) {
        // It was put in when it was sent.
        Ok(envelope) if envelope.from == inbox.host() => {}
        Ok(envelope) => inbox.deliver(envelope.message),
        Err(_) => inbox.deliver(InboxMessage::MayHaveMissed),
    }
}

impl RedisInbox {
    async fn publish(&self, channel: String, message: InboxMessage) {
        let envelope = Envelope { from: self.local.host(), message };
        // No message fails to be written as JSON.
        let Ok(text) = serde_json::to_string(&envelope) else { return };
        let (channel, text) = (&channel, &text);
        // A message that is not sent is found in the store later.
        self.circuit.call(|link| async move { publish_on(&link, channel, text).await }).await;
    }
}

#[async_trait]
impl Inbox for RedisInbox {
    async fn send(&self, to: Recipient, message: InboxMessage) {
        match to {
            Recipient::Host(host) if host == self.local.host() => self.local.deliver(message),
            Recipient::Host(host) => self.publish(self.keys.host_channel(host), message).await,
            Recipient::All => {
                self.local.deliver(message);
                self.publish(self.keys.all_channel(), message).await;
            }
        }
    }

    async fn receive(&self) -> InboxMessage {
        self.local.receive().await
    }
}

#[cfg(test)]
mod tests {
    use masque_store::TurnId;

    use super::*;

    #[test]
    fn a_message_comes_back_as_it_was_sent() {
        let from = Uuid::from_u128(9);
        for message in [
            InboxMessage::CancelTurn(TurnId::new()),
            InboxMessage::Reading(TurnId::new()),
            InboxMessage::MayHaveMissed,
        ] {
            let text = serde_json::to_string(&Envelope { from, message }).unwrap();
            let envelope: Envelope = serde_json::from_str(&text).unwrap();
            assert_eq!((envelope.from, envelope.message), (from, message), "{text}");
        }
    }
}
