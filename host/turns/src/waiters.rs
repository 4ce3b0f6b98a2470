//! The turns that wait on this host for their conversation, so that the end of another turn can wake them.
//!
//! Who is next is the store's decision. A turn that is woken asks it again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use masque_store::{ConversationId, Inbox, InboxMessage, Recipient, TurnId, Waiter};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// All turns of one host that wait, or may have to.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<HashMap<TurnId, WaitingEntry>>);

struct WaitingEntry {
    wake: Arc<Notify>,
    /// `None` while the turn does not wait.
    waits: Option<Wait>,
}

/// What a turn waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) conversation: ConversationId,
    /// Whether it has a place in the conversation's queue. Without one, nobody names it when another turn ends.
    pub(crate) has_place: bool,
}

impl Waiters {
    /// Adds a turn that is about to be admitted under this id. A wake-up is kept from here on.
    pub(crate) fn register(self: &Arc<Self>, turn: TurnId) -> WaitingTurn {
        let wake = Arc::new(Notify::new());
        self.entries().insert(turn, WaitingEntry { wake: Arc::clone(&wake), waits: None });
        WaitingTurn { waiters: Arc::clone(self), turn, wake }
    }

    /// Wakes the turn with this id, if it is here.
    pub(crate) fn wake(&self, turn: TurnId) {
        self.wake_if(|id, _| id == turn);
    }

    /// Wakes every turn.
    pub(crate) fn wake_all(&self) {
        self.wake_if(|_, _| true);
    }

    /// Wakes the turns that wait for this conversation without a place in its queue.
    pub(crate) fn wake_without_place(&self, conversation: ConversationId) {
        self.wake_if(|_, wait| wait.is_some_and(|wait| wait.conversation == conversation && !wait.has_place));
    }

    /// Wakes the turns that wait for this conversation.
    pub(crate) fn wake_queue(&self, conversation: ConversationId) {
        self.wake_if(|_, wait| wait.is_some_and(|wait| wait.conversation == conversation));
    }

    /// How many turns of this host wait for a conversation.
    pub(crate) fn count(&self, conversation: ConversationId) -> usize {
        let entries = self.entries();
        let waits = entries.values().filter_map(|entry| entry.waits);
        waits.filter(|wait| wait.conversation == conversation).count()
    }

    fn wake_if(&self, condition: impl Fn(TurnId, Option<Wait>) -> bool) {
        for (turn, entry) in self.entries().iter() {
            if condition(*turn, entry.waits) {
                entry.wake.notify_one();
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<TurnId, WaitingEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A turn that can be woken. It can't be any more once this is dropped.
pub(crate) struct WaitingTurn {
    waiters: Arc<Waiters>,
    turn: TurnId,
    wake: Arc<Notify>,
}

impl WaitingTurn {
    /// The id under which it is admitted.
    pub(crate) fn turn(&self) -> TurnId {
        self.turn
    }

    /// Resolves when the turn is woken, or has been since the last call.
    pub(crate) async fn woken(&self, wait: Wait) {
        let _waiting = self.begin(wait);
        self.wake.notified().await;
    }

    fn begin(&self, wait: Wait) -> CurrentWait<'_> {
        if let Some(entry) = self.waiters.entries().get_mut(&self.turn) {
            entry.waits = Some(wait);
        }
        CurrentWait(self)
    }
}

impl Drop for WaitingTurn {
    fn drop(&mut self) {
        self.waiters.entries().remove(&self.turn);
    }
}

/// A wait that is over when this is dropped.
struct CurrentWait<'a>(&'a WaitingTurn);

impl Drop for CurrentWait<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.0.waiters.entries().get_mut(&self.0.turn) {
            entry.waits = None;
        }
    }
}

/// Wakes turns on any host.
#[derive(Clone)]
pub(crate) struct WakeUps {
    /// This host.
    pub(crate) host: Uuid,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) inbox: Arc<dyn Inbox>,
}

impl WakeUps {
    /// Wakes the turn that is next for a conversation: at once if it waits on this host, and through the inbox otherwise, in
    /// a task of `tasks`. Nobody waits for the message; a turn that is not woken asks by itself, later.
    pub(crate) fn wake(&self, next: &Waiter, tasks: &TaskTracker) {
        let (host, turn) = (next.host, next.turn);
        if host == self.host {
            self.waiters.wake(turn);
        } else {
            let inbox = Arc::clone(&self.inbox);
            tasks.spawn(async move {
                inbox.send(Recipient::Host(host), InboxMessage::WakeTurn(turn)).await;
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_that_is_woken_before_it_waits_does_not_wait() {
        let waiters = Arc::new(Waiters::default());
        let turn = waiters.register(TurnId::new());
        let wait = Wait { conversation: ConversationId::new(), has_place: true };
        waiters.wake(turn.turn());
        turn.woken(wait).await;
        let mut again = Box::pin(turn.woken(wait));
        assert!(futures::poll!(&mut again).is_pending(), "one wake-up ends one wait");
        waiters.wake_all();
        again.await;
    }

    #[tokio::test]
    async fn the_end_of_a_turn_wakes_those_that_have_no_place_and_no_others() {
        let waiters = Arc::new(Waiters::default());
        let conversation = ConversationId::new();
        let (with, without, other) = (TurnId::new(), TurnId::new(), TurnId::new());
        let (with, without, other) =
            (waiters.register(with), waiters.register(without), waiters.register(other));
        let mut with = Box::pin(with.woken(Wait { conversation, has_place: true }));
        let mut without = Box::pin(without.woken(Wait { conversation, has_place: false }));
        let elsewhere = Wait { conversation: ConversationId::new(), has_place: false };
        let mut other = Box::pin(other.woken(elsewhere));
        for waiting in [&mut with, &mut without, &mut other] {
            assert!(futures::poll!(waiting).is_pending());
        }
        assert_eq!(waiters.count(conversation), 2);
        waiters.wake_without_place(conversation);
        assert!(futures::poll!(&mut without).is_ready());
        assert!(futures::poll!(&mut with).is_pending());
        assert!(futures::poll!(&mut other).is_pending());
        assert_eq!(waiters.count(conversation), 1);
        waiters.wake_queue(conversation);
        assert!(futures::poll!(&mut with).is_ready());
    }
}
