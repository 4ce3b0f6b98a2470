//! Short messages between hosts. A message can be lost, so whatever it asks for is also found in the store, later.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::TurnId;

/// Sends messages to hosts, and receives those for this one.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Sends a message, as far as the recipient can be reached. A host may send to itself.
    async fn send(&self, to: Recipient, message: InboxMessage);

    /// Waits for the next message for this host. One caller at a time; no message is lost when the future is dropped.
    async fn receive(&self) -> InboxMessage;
}

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// The host with this id.
    Host(Uuid),
    /// All hosts of the installation, the sender included.
    All,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "turn", rename_all = "kebab-case")]
pub enum InboxMessage {
    /// A client wants this turn, which the recipient runs, to end.
    CancelTurn(TurnId),
    /// This turn, which waits on the recipient, may be the next of its conversation.
    WakeTurn(TurnId),
    /// A client of another host reads this turn, which the recipient runs. Sent again every few seconds.
    Reading(TurnId),
    /// Messages may have been lost: look into the store. Comes from the implementation, after it could not receive.
    MayHaveMissed,
}
