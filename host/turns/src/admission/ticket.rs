//! What a turn holds from its admission to its end.

use std::sync::Arc;
use std::time::Instant;

use masque_companions::ActiveSet;
use masque_store::{ConversationId, Owner, Target};

use crate::keyed_queue::QueueSlot;
use crate::log::EventReader;
use crate::request::ChatRequest;

/// A request that has waited for everything that it has to wait for, with the slots that it holds.
pub(crate) struct Ticket {
    pub(crate) request: ChatRequest,
    /// The generation that the whole turn uses.
    pub(crate) set: Arc<ActiveSet>,
    pub(super) target: Target,
    pub(crate) arrived: Instant,
    /// Whether an earlier turn of the same request is to be run again. It has been looked for by then.
    pub(super) resume: bool,
    /// Held until the registry can find the turn by its key.
    pub(crate) key_slot: Option<QueueSlot<(Owner, String)>>,
    /// Held until the end of the turn. A new conversation has one too: a client that learns its id may use it at once.
    pub(super) _conversation_slot: QueueSlot<ConversationId>,
    pub(super) _user_slot: Option<QueueSlot<Owner>>,
    pub(super) _host_slot: QueueSlot<()>,
}

impl Ticket {
    /// Releases every slot, and returns the request and the time of its arrival.
    pub(super) fn release(self) -> (ChatRequest, Instant) {
        (self.request, self.arrived)
    }
}

/// The result of waiting.
pub(super) enum Waited {
    /// A turn may be admitted.
    Ticket(Box<Ticket>),
    /// The same request began a turn before; this reads it.
    Reader(EventReader),
}
