//! What a turn holds from its admission to its end.

use std::sync::Arc;
use std::time::Instant;

use masque_companions::ActiveSet;
use masque_store::Owner;

use super::capacity::Capacity;
use crate::keyed_queue::QueueSlot;
use crate::request::ChatRequest;

/// A request whose turn the store has started, with the slots that it holds.
pub(crate) struct Ticket {
    pub(crate) request: ChatRequest,
    /// The generation that the whole turn uses.
    pub(crate) set: Arc<ActiveSet>,
    pub(crate) arrived: Instant,
    /// When the store was asked. The lease began after that.
    pub(crate) asked: tokio::time::Instant,
    /// Held until the registry can find the turn by its key.
    pub(crate) key_slot: Option<QueueSlot<(Owner, String)>>,
    /// Held until the end of the turn.
    pub(super) _capacity: Capacity,
}

impl Ticket {
    /// Gives the slots back. What is left says what the turn was.
    pub(crate) fn release(self) -> (ChatRequest, Arc<ActiveSet>) {
        (self.request, self.set)
    }
}
