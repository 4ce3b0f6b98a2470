//! What the turns of one host share.

use std::sync::Arc;
use std::time::Duration;

use masque_companions::Active;
use masque_store::{Budgets, Owner, Shared, Spending, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::finalizer::Finalizer;
use crate::keyed_queue::KeyedQueue;
use crate::mirrors::Mirrors;
use crate::options::Options;
use crate::registry::TurnRegistry;
use crate::user_slots::UserSlots;
use crate::waiters::{Waiters, WakeUps};

/// How long the store keeps a conversation for a turn unless its lease is renewed, and how long a host counts as living after a
/// heartbeat.
pub const LEASE: Duration = Duration::from_secs(30);
/// How long a turn waits for a slot when the host or the user has reached the bound. A longer wait would only hide the
/// overload.
pub(crate) const SLOT_WAIT: Duration = Duration::from_secs(1);
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
    /// What the hosts of the installation share in memory.
    pub(crate) shared: Shared,
    /// Names this process in the store.
    pub(crate) id: Uuid,
    pub(crate) registry: TurnRegistry,
    /// The turns that wait for their conversation.
    pub(crate) waiters: Arc<Waiters>,
    /// The turns of other hosts that are read here.
    pub(crate) mirrors: Mirrors,
    /// One admission at a time for each idempotency key, so that the second finds the turn of the first.
    pub(crate) keys: KeyedQueue<(Owner, String)>,
    /// The concurrent turns of each user; `None` for no bound.
    pub(crate) users: Option<Arc<UserSlots>>,
    /// The concurrent turns of the host.
    pub(crate) slots: KeyedQueue<()>,
    /// The tasks of turns, the admissions that may start one, and what is left to do after a turn.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the host takes no new turns. Those that run go on, and their ends are stored.
    pub(crate) closing: CancellationToken,
    pub(crate) finalizer: Finalizer,
    /// What the accounts of the host's users may spend.
    pub(crate) budgets: Arc<Budgets>,
}

impl Host {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        active: Arc<Active>,
        options: Options,
        shared: Shared,
        id: Uuid,
    ) -> Self {
        let closing = CancellationToken::new();
        let (tasks, waiters) = (TaskTracker::new(), Arc::new(Waiters::default()));
        let wake_ups = WakeUps { host: id, waiters: Arc::clone(&waiters), inbox: Arc::clone(&shared.inbox) };
        let finalizer = Finalizer::new(Arc::clone(&store), wake_ups);
        let budgets = Budgets::new(Arc::clone(&store) as Arc<dyn Spending>, id, LEASE);
        let slots = options.max_concurrent;
        let users = options.max_concurrent_per_user.map(|turns| {
            let limit = u32::try_from(turns).unwrap_or(u32::MAX);
            UserSlots::new(Arc::clone(&shared.slots), limit, tasks.clone())
        });
        Self {
            registry: TurnRegistry::new(options.log_ttl),
            waiters,
            mirrors: Mirrors::default(),
            keys: KeyedQueue::new(1, MAX_WAITING_PER_KEY, options.max_wait),
            users,
            slots: KeyedQueue::new(slots, max_waiting_for_slot(slots), SLOT_WAIT),
            tasks,
            store,
            active,
            options,
            shared,
            id,
            closing,
            finalizer,
            budgets: Arc::new(budgets),
        }
    }
}
