//! A store with the instance in it, and whether the instance may serve another call.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::{Accessor, Instance, InstancePre};

use crate::contract::Failure;
use crate::guest::Guest;

/// The least number of calls that one instance may serve.
const CALLS: u32 = 64;
/// The most further calls that one instance serves. The number is random, so that instances are not all recycled at once.
const CALLS_JITTER: u32 = 64;
/// How long a guest may take to return after the last item of its reply was read.
const LINGER: Duration = Duration::from_secs(1);

/// The work of one call: instantiation, the call, and whatever follows it. Returns the store where the call ended well.
pub(crate) type Work<R> =
    Pin<Box<dyn Future<Output = wasmtime::Result<(Result<R, Failure>, LiveInstance)>> + Send>>;

/// A store and the instance in it.
pub(crate) struct LiveInstance {
    pub(crate) store: Store<Guest>,
    instance: Option<Instance>,
    calls_left: u32,
    held_before: HeldResources,
    /// No task of the last call was left when it was answered.
    quiet: bool,
}

/// Resources of the host that a guest holds.
#[derive(Clone, Copy, Debug, Default)]
struct HeldResources {
    /// Resources in the host's tables.
    resources: usize,
    /// Tasks, streams and futures of the component model.
    tasks: usize,
}

impl LiveInstance {
    pub(crate) fn new(store: Store<Guest>) -> Self {
        Self {
            store,
            instance: None,
            calls_left: CALLS + jitter(),
            held_before: HeldResources::default(),
            quiet: false,
        }
    }

    /// Begins a call: instantiates the component for the first one and returns the same instance for the others.
    pub(crate) async fn instance(&mut self, pre: &InstancePre<Guest>) -> wasmtime::Result<Instance> {
        let instance = match self.instance {
            Some(instance) => instance,
            None => {
                let instance = pre.instantiate_async(&mut self.store).await?;
                self.store.data().host_state().usage.record_instantiation();
                instance
            }
        };
        self.instance = Some(instance);
        self.quiet = false;
        self.calls_left = self.calls_left.saturating_sub(1);
        self.held_before = self.held();
        Ok(instance)
    }

    /// Records whether the guest had no task left when the call was answered.
    pub(crate) fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Wasmtime hides `concurrent_state_table_size` from its documentation, but no other method counts the streams and futures
    /// that a guest left open without a task.
    fn held(&mut self) -> HeldResources {
        let tasks = self.store.concurrent_state_table_size();
        HeldResources { resources: self.store.data_mut().resources(), tasks }
    }

    /// Whether another call may use the instance: the guest is quiet, left nothing behind, and has calls left.
    pub(crate) fn is_reusable(&mut self) -> bool {
        let (held, before) = (self.held(), self.held_before);
        let clean = self.quiet && held.resources <= before.resources && held.tasks <= before.tasks;
        if !clean {
            tracing::debug!(
                self.quiet,
                resources = held.resources,
                resources_before = before.resources,
                tasks = held.tasks,
                tasks_before = before.tasks,
                "an instance is not kept"
            );
        }
        clean && self.calls_left > 0
    }
}

/// Whether the guest has no task left at this moment.
pub(crate) async fn is_quiet(accessor: &Accessor<Guest>) -> bool {
    poll_fn(|cx| Poll::Ready(accessor.poll_no_interesting_tasks(cx).is_ready())).await
}

/// Gives a guest whose reply has ended a moment to return. Returns whether it has no task left then.
pub(crate) async fn wait_until_quiet(accessor: &Accessor<Guest>) -> bool {
    tokio::time::timeout(LINGER, poll_fn(|cx| accessor.poll_no_interesting_tasks(cx))).await.is_ok()
}

fn jitter() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    u32::try_from(RandomState::new().hash_one(()) % u64::from(CALLS_JITTER)).unwrap_or(0)
}
