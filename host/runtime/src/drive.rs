//! Runs one call in a store, held to its two budgets, and says which one ran out.
//!
//! Dropping the store is the cancel: a call that is answered at once is driven by whoever waits for the answer, and one that
//! goes on writing its reply by a task of its own, which is aborted when nobody reads any more. Deadlines stand outside
//! wasmtime's event loop, since a timeout inside `run_concurrent` may never be polled.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use wasmtime::component::ResourceTableError;
use wasmtime::{Store, UpdateDeadline};

use crate::capability::{Asked, Call};
use crate::contract::Failure;
use crate::egress::Gate;
use crate::engine::{STACK, Slot};
use crate::error::{CallError, Cause};
use crate::guest::{Asking, Guest, Journal, Lent, Notes, Speaker};
use crate::limits::{Exhausted, Limits};
use crate::meter::Meter;
use crate::plugin::Plugin;
use crate::reuse::Live;

/// From here on a guest that has only computed yields for longer, so that whoever waits for a socket is served first: for
/// one tick. Beside six guests that spin on two cores (the example `fairness`, unoptimised, on a machine with a load of 13
/// besides) the p99 of ordinary calls is 40 ms, of 9 ms without them, and their median stays below 0.5 ms. Pauses in
/// proportion to the number of such guests were tried and showed no gain.
const POLITE: Duration = Duration::from_millis(20);

/// The work of one call: instantiation, the call, and whatever follows it. Gives the store back where it ended well.
pub(crate) type Work<R> = Pin<Box<dyn Future<Output = wasmtime::Result<(Result<R, Failure>, Live)>> + Send>>;

/// Makes a call and returns its answer. Dropping the future ends the call.
///
/// Within the caller's own task, which saves another with its wake-ups: at 8 clients the p99 of a turn's first token is a
/// tenth lower, its median and its processor time are the same. A guest that computes still lets the caller look around at
/// every tick.
pub(crate) async fn run<R: Send + 'static>(
    plugin: &Plugin,
    call: Call,
    function: &'static str,
    work: impl FnOnce(Live) -> Work<R> + Send + 'static,
) -> Result<R, CallError> {
    // On the heap, so that the caller's future stays small.
    let made = Box::pin(make(plugin, call, function, work));
    AssertUnwindSafe(made).catch_unwind().await.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        Err(broken(plugin, function, format!("the call panicked: {said}")))
    })
}

/// Starts a call in a task of its own. The returned handle aborts it when dropped.
pub(crate) fn start<R: Send + 'static>(
    plugin: &Plugin,
    call: Call,
    function: &'static str,
    work: impl FnOnce(Live) -> Work<R> + Send + 'static,
) -> AbortOnDropHandle<Result<R, CallError>> {
    AbortOnDropHandle::new(tokio::spawn(make(plugin, call, function, work).in_current_span()))
}

/// The call itself, as a future that borrows nothing.
fn make<R, W>(
    plugin: &Plugin,
    mut call: Call,
    function: &'static str,
    work: W,
) -> impl Future<Output = Result<R, CallError>> + Send + use<R, W>
where
    R: Send + 'static,
    W: FnOnce(Live) -> Work<R> + Send + 'static,
{
    let limits = plugin.limits().clone();
    let begun = Instant::now();
    let asked = call.asked.take();
    let asker_ends = asked.as_ref().map(|asked| asked.deadline);
    let deadline = call.deadline.min(begun + limits.wall).min(asker_ends.unwrap_or(call.deadline));
    call.deadline = deadline;
    if asked.is_some() {
        // Questions don't nest: neither to any depth nor in a circle.
        call.models = None;
    }
    let answers = call.models.as_ref().filter(|_| plugin.grants().models).map_or(0, |models| models.weight());
    let notes = Notes::default();
    let seat = Seat {
        plugin: plugin.name().to_owned(),
        version: plugin.package().description().version.clone(),
        function,
        notes: notes.clone(),
    };
    let gate = Gate::new(
        plugin.grants().clone(),
        plugin.upstream().clone(),
        deadline,
        limits.requests,
        notes.clone(),
    );
    let journal = Journal::new(
        Speaker {
            plugin: seat.plugin.clone(),
            version: seat.version.clone(),
            function,
            secrets: plugin
                .grants()
                .credentials
                .iter()
                .map(|credential| credential.secret().clone())
                .collect(),
        },
        &limits,
    );
    let (grants, settings) = (plugin.grants().clone(), plugin.settings().clone());
    let (sandbox, share, weight) =
        (plugin.package().sandbox().clone(), plugin.share().clone(), plugin.weight());
    let scratch = plugin.scratch().cloned();
    // An answer's places are its asker's, so its instance can't stay.
    let shelf = plugin.shelf().filter(|_| asked.is_none()).and_then(|shelf| {
        let key = shelf.key(call.whose.as_ref())?;
        Some((shelf.clone(), key))
    });
    async move {
        let asker = asked.as_ref().map(|asked| asked.meter.clone());
        let kept = shelf.as_ref().and_then(|(shelf, key)| {
            let (live, places) = shelf.take(key)?;
            match sandbox.resume(&share, places, answers) {
                Ok(slot) => Some((live, slot)),
                Err(places) => {
                    // The store first: whoever gets its places makes another in the same pool.
                    drop(live);
                    drop(places);
                    None
                }
            }
        });
        let (live, place) = match (kept, asked) {
            (Some((live, slot)), _) => (Some(live), Ok(Place::own(slot))),
            (None, Some(asked)) => (None, Place::set_aside(asked, begun).await),
            (None, None) => {
                let weight = weight.saturating_add(answers);
                (None, sandbox.slot(&share, weight, begun, deadline).await.map(Place::own))
            }
        };
        // Before the store, so that it outlives it.
        let place = place.map_err(|cause| seat.error(cause))?;
        let meter = Arc::new(Meter::new(limits.cpu, asker));
        let asking = Asking {
            asked: Asked {
                deadline,
                meter: meter.clone(),
                slot: place.slot.clone(),
                turn: Arc::new(Semaphore::new(1)),
            },
            limit: limits.questions,
            left: limits.questions,
        };
        let lent = Lent { grants, settings, call, journal, notes, asking: Some(asking) };
        let mut live = match live {
            Some(mut live) => {
                live.store.data_mut().begin(lent, gate);
                live
            }
            None => {
                let away = |error: &dyn std::fmt::Display| {
                    seat.error(Cause::Engine(format!("the scratch folder can't be used: {error}")))
                };
                let scratch = match scratch {
                    Some((folder, limit)) => Some(folder.open(limit).await.map_err(|error| away(&error))?),
                    None => None,
                };
                let guest = Guest::new(lent, gate, &limits, scratch).map_err(|error| away(&error))?;
                let mut store = Store::new(&sandbox.engine, guest);
                store.limiter(|guest| &mut guest.ledger);
                store.set_hostcall_fuel(limits.hostcall_bytes);
                store.set_max_component_handles(limits.handles);
                Live::new(store)
            }
        };
        yield_at_every_tick(&mut live.store, meter.clone(), sandbox.tick());
        let metered = Metered { work: work(live), meter };
        match tokio::time::timeout_at(deadline.into(), metered).await {
            Ok(Ok(Ok((answer, mut live)))) => {
                // Where every place is taken, somebody waits for this one.
                if let Some((shelf, key)) = shelf.filter(|_| sandbox.free_instances() > 0) {
                    live.store.data_mut().rest();
                    let slot = Arc::into_inner(place.slot);
                    if let Some(places) = slot.and_then(|slot| slot.into_places(weight)) {
                        shelf.keep(key, live, places);
                    }
                }
                answer.map_err(|failure| seat.error(Cause::Failed(Box::new(failure))))
            }
            Ok(Ok(Err(error))) => Err(seat.error(seat.broken(error, &limits, begun.elapsed()))),
            Ok(Err(Overrun(limit))) => Err(seat.error(Cause::CpuTime(limit))),
            Err(_) => Err(seat.error(Cause::WallTime(begun.elapsed()))),
        }
    }
}

/// Waits for a call that [`start`] began.
pub(crate) async fn finish<R>(
    plugin: &Plugin,
    function: &'static str,
    task: AbortOnDropHandle<Result<R, CallError>>,
) -> Result<R, CallError> {
    task.await.unwrap_or_else(|error| Err(broken(plugin, function, error.to_string())))
}

/// What the host itself is to blame for.
fn broken(plugin: &Plugin, function: &'static str, reason: String) -> CallError {
    CallError {
        plugin: plugin.name().to_owned(),
        version: plugin.package().description().version.clone(),
        function,
        cause: Cause::Engine(reason),
        denied: Vec::new(),
    }
}

/// Whose call it is, for its errors.
struct Seat {
    plugin: String,
    version: String,
    function: &'static str,
    notes: Notes,
}

impl Seat {
    fn error(&self, cause: Cause) -> CallError {
        CallError {
            plugin: self.plugin.clone(),
            version: self.version.clone(),
            function: self.function,
            cause,
            denied: self.notes.refusals(),
        }
    }

    /// A wasmtime error in words that name the limit.
    fn broken(&self, error: wasmtime::Error, limits: &Limits, elapsed: Duration) -> Cause {
        // What the host itself found wrong is told as it is, whatever else the guest ran into.
        let error = match error.downcast::<Cause>() {
            Ok(cause) => return cause,
            Err(error) => error,
        };
        let text = format!("{error:#}");
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            tracing::error!(error = text, "the pool of instances is smaller than its number of places");
            return Cause::Busy(elapsed);
        }
        if let Some(limit) = host_limit(&error, &text, limits) {
            return Cause::HostResources(limit);
        }
        // A guest that was refused memory aborts, so the refusal is the cause and the trap only its end.
        match self.notes.exhaustion() {
            Some(Exhausted::Memory) => return Cause::Memory { limit: limits.memory_bytes },
            Some(Exhausted::Table) => return Cause::Table { limit: limits.table_elements },
            None => {}
        }
        match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::StackOverflow) => Cause::Stack { limit: STACK },
            Some(trap) => Cause::Trap(trap.to_string()),
            None => Cause::Trap(crate::guest::clean(&text, &[])),
        }
    }
}

/// Which limit on the host's own memory a guest ran into. Wasmtime has a type for one of the three errors.
fn host_limit(error: &wasmtime::Error, text: &str, limits: &Limits) -> Option<String> {
    if text.contains("fuel allocated for hostcalls") {
        let limit = limits.hostcall_bytes;
        return Some(format!("it handed over more than {limit} bytes at once (limit `hostcall_bytes`)"));
    }
    if text.contains("store handle limit exceeded") {
        return Some(format!("it held more than {} handles (limit `handles`)", limits.handles));
    }
    let full = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full))
    };
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full))
        || error.chain().any(full)
    {
        return Some(format!(
            "it held more than {} of the host's resources (limit `resources`)",
            limits.resources
        ));
    }
    None
}

/// Where in the pool a call runs, held until its store is gone.
struct Place {
    slot: Arc<Slot>,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Place {
    fn own(slot: Slot) -> Self {
        Self { slot: Arc::new(slot), _turn: None }
    }

    /// The places that the asker brought along, once the answer before has left them.
    async fn set_aside(asked: Asked, begun: Instant) -> Result<Self, Cause> {
        match tokio::time::timeout_at(asked.deadline.into(), asked.turn.acquire_owned()).await {
            Ok(Ok(turn)) => Ok(Self { slot: asked.slot, _turn: Some(turn) }),
            Ok(Err(closed)) => Err(Cause::Engine(closed.to_string())),
            Err(_) => Err(Cause::WallTime(begun.elapsed())),
        }
    }
}

fn yield_at_every_tick(store: &mut Store<Guest>, meter: Arc<Meter>, tick: Duration) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        if meter.spent() < POLITE {
            Ok(UpdateDeadline::Yield(1))
        } else {
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::time::sleep(tick))))
        }
    });
}

/// Sums the thread's time over the polls of the store's future. A call hook would miss what the host does on the guest's
/// behalf, the lifting of its results included.
struct Metered<R> {
    work: Work<R>,
    meter: Arc<Meter>,
}

/// The CPU limit that ran out.
struct Overrun(Duration);

impl<R> Future for Metered<R> {
    type Output = Result<wasmtime::Result<(Result<R, Failure>, Live)>, Overrun>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let before = thread_time();
        let polled = self.work.as_mut().poll(cx);
        self.meter.add(thread_time().saturating_sub(before));
        match (polled, self.meter.overrun()) {
            (Poll::Ready(done), _) => Poll::Ready(Ok(done)),
            (Poll::Pending, Some(limit)) => Poll::Ready(Err(Overrun(limit))),
            (Poll::Pending, None) => Poll::Pending,
        }
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}
