//! A turn's place in the queue of its conversation, which the store keeps for all hosts.

use std::sync::Arc;
use std::time::Duration;

use masque_store::{ConversationId, TurnId};
use tokio::runtime::Handle;

use crate::host::Host;

/// How long the store keeps a place unless the turn asks again. A turn asks every second at least, unless the host has no
/// slot for it; and a host that has ended keeps those behind its turns waiting for no longer than this.
pub(super) const PLACE_TTL: Duration = Duration::from_secs(5);

/// A place in the queue of a conversation. Dropping it gives the place back, a moment later.
pub(super) struct QueuePlace {
    host: Arc<Host>,
    conversation: ConversationId,
    turn: TurnId,
    is_used: bool,
}

impl QueuePlace {
    pub(super) fn new(host: &Arc<Host>, conversation: ConversationId, turn: TurnId) -> Self {
        Self { host: Arc::clone(host), conversation, turn, is_used: false }
    }

    /// The turn has begun, and the store has removed the place.
    pub(super) fn mark_used(mut self) {
        self.is_used = true;
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        if self.is_used {
            return;
        }
        // Without a runtime the process ends, and the place expires.
        let Ok(runtime) = Handle::try_current() else { return };
        let (host, conversation, turn) = (Arc::clone(&self.host), self.conversation, self.turn);
        let give_back = async move {
            if let Err(error) = host.store.stop_waiting(conversation, turn).await {
                tracing::warn!(%error, "a place in the queue of a conversation could not be given back; it expires");
            }
            // This turn may have been the next one. The others ask who is.
            host.waiters.wake_queue(conversation);
        };
        self.host.tasks.spawn_on(give_back, &runtime);
    }
}
