//! What the turns of one host share.

use std::sync::Arc;
use std::time::Duration;

use masque_companions::Active;
use masque_store::{Budgets, ConversationId, Owner, Spending, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::finalizer::Finalizer;
use crate::keyed_queue::KeyedQueue;
use crate::options::Options;
use crate::registry::TurnRegistry;

/// How long the store keeps a conversation for a turn unless its lease is renewed.
pub(crate) const LEASE: Duration = Duration::from_secs(30);
/// How long a turn waits for a slot when the host or the user has reached the bound. A longer wait would only hide the
/// overload.
const SLOT_WAIT: Duration = Duration::from_secs(1);
/// Requests with one idempotency key that may wait for the first of them to be admitted.
const MAX_WAITING_PER_KEY: usize = 16;

/// How many turns may wait for one of `slots` slots. Those behind them would wait in vain.
fn max_waiting_for_slot(slots: usize) -> usize {
    (slots / 4).max(1)
}

/// What the turns of one host share.
pub(crate) struct Host {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) active: Arc<Active>,
    pub(crate) options: Options,
    /// Names this process in the store.
    pub(crate) id: Uuid,
    pub(crate) registry: TurnRegistry,
    /// One turn at a time for each conversation.
    pub(crate) conversations: KeyedQueue<ConversationId>,
    /// One admission at a time for each idempotency key, so that the second finds the turn of the first.
    pub(crate) keys: KeyedQueue<(Owner, String)>,
    /// The concurrent turns of each user; `None` for no bound.
    pub(crate) users: Option<KeyedQueue<Owner>>,
    /// The concurrent turns of the host.
    pub(crate) slots: KeyedQueue<()>,
    /// The tasks of turns, and the admissions that may start one.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the host takes no new turns. Those that run go on, and their ends are stored.
    pub(crate) closing: CancellationToken,
    pub(crate) finalizer: Finalizer,
    /// What the accounts of the host's users may spend.
    pub(crate) budgets: Arc<Budgets>,
}

impl Host {
    pub(crate) fn new(store: Arc<dyn Store>, active: Arc<Active>, options: Options, id: Uuid) -> Self {
        let closing = CancellationToken::new();
        let finalizer = Finalizer::new(Arc::clone(&store));
        let budgets = Budgets::new(Arc::clone(&store) as Arc<dyn Spending>, id, LEASE);
        let slots = options.max_concurrent;
        Self {
            registry: TurnRegistry::new(options.log_ttl),
            conversations: KeyedQueue::new(1, options.max_waiting, options.max_wait),
            keys: KeyedQueue::new(1, MAX_WAITING_PER_KEY, options.max_wait),
            users: options.max_concurrent_per_user.map(|turns| KeyedQueue::new(turns, turns, SLOT_WAIT)),
            slots: KeyedQueue::new(slots, max_waiting_for_slot(slots), SLOT_WAIT),
            tasks: TaskTracker::new(),
            store,
            active,
            options,
            id,
            closing,
            finalizer,
            budgets: Arc::new(budgets),
        }
    }
}
