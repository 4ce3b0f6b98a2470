//! A request on its way to the store's admission.

use std::sync::Arc;
use std::time::Instant;

use masque_companions::ActiveSet;
use masque_store::{ConversationId, MessageId, Owner, Target};
use masque_telemetry::trace::SpanParent;

use super::queue::QueuePlace;
use crate::keyed_queue::QueueSlot;
use crate::log::EventReader;
use crate::request::ChatRequest;
use crate::waiters::WaitingTurn;

/// A request that is not admitted yet, with what it has found out so far.
pub(super) struct Pending {
    pub(super) request: ChatRequest,
    pub(super) arrived: Instant,
    /// Where the steps of the admission are in the trace.
    pub(super) trace: SpanParent,
    /// The generation that the request was checked with last.
    pub(super) set: Arc<ActiveSet>,
    pub(super) target: Target,
    /// The conversation that it may have to wait for: that of `target`, or of the earlier turn that is run again.
    pub(super) conversation: ConversationId,
    /// Whether an earlier turn of the same request is to be run again. It has been looked for by then.
    pub(super) resume: bool,
    /// Lets no other request with the same idempotency key be admitted meanwhile.
    pub(super) key_slot: Option<QueueSlot<(Owner, String)>>,
    /// Names the turn to the store and to those who wake it.
    pub(super) waiting: WaitingTurn,
    /// The id of the user's message. It stays the same however often the store is asked.
    pub(super) message: MessageId,
    pub(super) place: Option<QueuePlace>,
    /// When it stops to wait for its conversation; `None` if it has not had to wait yet.
    pub(super) wait_ends: Option<tokio::time::Instant>,
    /// When it stops to wait for an attempt that runs elsewhere; `None` if there is none.
    pub(super) join_ends: Option<tokio::time::Instant>,
}

impl Pending {
    /// The earlier turn of the same request is in this conversation.
    pub(super) fn move_to(&mut self, conversation: ConversationId) {
        if self.conversation != conversation {
            self.place = None;
            self.conversation = conversation;
        }
    }
}

/// What makes a request ask the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It has not waited.
    Arrived,
    /// What it has waited for may have ended.
    Woken,
    /// It has waited for some time, and what it waits for may have ended without a word.
    Poll,
}

/// What becomes of a request before the store starts its turn.
pub(super) enum Progress<T> {
    /// It goes on.
    Next(T),
    /// The same request began a turn before; this reads it.
    Reader(EventReader),
}
