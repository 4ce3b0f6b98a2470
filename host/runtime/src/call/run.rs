//! Makes a call: acquires permits of the pool, prepares the store, and drives it until it is answered or a budget runs out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::Semaphore;
use wasmtime::Store;

use super::cpu_budget::{CpuLimitExceeded, MeteredWork, yield_at_ticks};
use super::fault::explain;
use super::identity::{CallIdentity, call_error};
use super::observer::{CallNotes, CallObserver};
use super::placement::{PlacementRequest, WarmAccess, acquire_placement};
use crate::capability::{Call, NestedCall};
use crate::cpu_meter::CpuMeter;
use crate::egress::EgressGate;
use crate::error::{CallError, Cause};
use crate::exports::BoundCall;
use crate::guest::{CallLog, Guest, HostState, LogSource, NestedCallBudget, StateBudget};
use crate::instance::LiveInstance;
use crate::observe::{CallUsage, RequestObserver};
use crate::profile::PluginProfile;

/// Makes a call and returns its answer, unless `check` finds that it breaks the contract. Dropping the future ends the call.
///
/// The call runs within the caller's own task, which saves the wake-ups of another one: at 8 clients the p99 of a turn's first
/// token is a tenth lower; its median and its CPU time are the same. A guest that computes yields to the caller at every tick.
pub(crate) async fn run<R: Send + 'static>(
    profile: &Arc<PluginProfile>,
    mut call: Call,
    function: &'static str,
    bound: BoundCall<R>,
    check: impl FnOnce(&R) -> Result<(), &'static str>,
) -> Result<R, CallError> {
    let observer = CallObserver::begin(profile, &mut call, function);
    // On the heap, so that the caller's future stays small.
    let answered = Box::pin(make(Arc::clone(profile), call, function, bound, observer.notes())).await;
    let checked = answered.and_then(|answer| match check(&answer) {
        Ok(()) => Ok(answer),
        Err(reason) => Err(call_error(profile, function, Cause::Contract(reason.to_owned()))),
    });
    observer.end(checked.as_ref().err());
    checked
}

/// Makes a call for which `notes` are from its observer. A panic of the host's own code fails the call.
pub(crate) async fn make<R: Send + 'static>(
    profile: Arc<PluginProfile>,
    call: Call,
    function: &'static str,
    bound: BoundCall<R>,
    notes: CallNotes,
) -> Result<R, CallError> {
    let made = AssertUnwindSafe(make_unguarded(&profile, call, function, bound, notes)).catch_unwind().await;
    made.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        Err(call_error(&profile, function, Cause::Engine(format!("the call panicked: {said}"))))
    })
}

/// The call itself. Its wall time counts from the beginning of its use in `notes`.
async fn make_unguarded<R: Send + 'static>(
    profile: &PluginProfile,
    mut call: Call,
    function: &'static str,
    bound: BoundCall<R>,
    notes: CallNotes,
) -> Result<R, CallError> {
    let limits = &profile.limits;
    let CallNotes { usage, diagnostics } = notes;
    let begun = usage.begun();
    let identity = CallIdentity::new(profile, function, diagnostics);
    let nested = call.nested.take();
    let parent_deadline = nested.as_ref().map(|nested| nested.deadline);
    let deadline = call.deadline.min(begun + limits.wall).min(parent_deadline.unwrap_or(call.deadline));
    call.deadline = deadline;
    if nested.is_some() {
        // A nested call can't make another nested call, so there is no recursion.
        call.models = None;
    }
    let models = call.models.as_ref().filter(|_| profile.grants.models);
    let (may_ask, answers) = (models.is_some(), models.map_or(0, |models| models.weight()));
    let parent = nested.as_ref().map(|nested| nested.meter.clone());
    // The permits of a nested call belong to the asking call, so its instance can't be kept.
    let warm = if nested.is_none() { WarmAccess::new(profile, call.reuse_key.as_ref()) } else { None };
    let request = PlacementRequest { profile, warm: warm.as_ref(), nested, answers, begun, deadline };
    // The placement is declared before the store and therefore dropped after it.
    let (live, placement) = acquire_placement(request).await.map_err(|cause| identity.error(cause))?;
    usage.record_placement();

    let meter = Arc::new(CpuMeter::new(limits.cpu, parent));
    let inherited = may_ask.then(|| NestedCall {
        deadline,
        meter: meter.clone(),
        slot: placement.slot.clone(),
        trace: call.trace.clone(),
        one_at_a_time: Arc::new(Semaphore::new(1)),
    });
    let requests = RequestObserver::new(&call, usage.clone(), profile.labels(), profile.secrets.clone());
    let host_state = host_state(profile, &identity, call, inherited, usage.clone());
    let log = host_state.log.clone();
    let gate = EgressGate::new(
        profile.grants.clone(),
        profile.credentials.clone(),
        profile.upstream.clone(),
        deadline,
        limits,
        identity.diagnostics.clone(),
        requests,
    );
    let mut live = match live {
        Some(mut live) => {
            live.store.data_mut().begin_call(host_state, gate);
            live
        }
        None => new_store(profile, host_state, gate).await.map_err(|cause| identity.error(cause))?,
    };
    yield_at_ticks(&mut live.store, meter.clone(), profile.sandbox.pool.tick());

    let metered = MeteredWork { work: bound(live), meter, usage };
    match tokio::time::timeout_at(deadline.into(), metered).await {
        Ok(Ok(Ok((answer, mut live)))) => {
            // Where every permit is taken, another call waits for this one's.
            if let Some(warm) = warm.filter(|_| profile.sandbox.free_instances() > 0) {
                live.store.data_mut().end_call();
                warm.keep(live, placement, profile.weight);
            }
            answer.map_err(|failure| identity.error(Cause::Failed(Box::new(failure))))
        }
        Ok(Ok(Err(error))) => {
            let cause = explain(error, &identity.diagnostics, limits, begun.elapsed());
            Err(CallError { error_output: log.error_output(), ..identity.error(cause) })
        }
        Ok(Err(CpuLimitExceeded(limit))) => Err(identity.error(Cause::CpuTime(limit))),
        Err(_) => Err(identity.error(Cause::WallTime(begun.elapsed()))),
    }
}

fn host_state(
    profile: &PluginProfile,
    identity: &CallIdentity,
    call: Call,
    inherited: Option<NestedCall>,
    usage: Arc<CallUsage>,
) -> HostState {
    let source = LogSource {
        plugin: identity.plugin.clone(),
        version: identity.version.clone(),
        function: identity.function,
        secrets: profile.secrets.clone(),
        diagnostics: identity.diagnostics.clone(),
    };
    let limit = profile.limits.questions;
    HostState {
        grants: profile.grants.clone(),
        settings: profile.settings.clone(),
        call,
        log: CallLog::new(source, &profile.limits),
        diagnostics: identity.diagnostics.clone(),
        nested: inherited.map(|call| NestedCallBudget { call, limit, left: limit }),
        state_budget: StateBudget::new(&profile.limits),
        counters: profile.counters.clone(),
        secrets: profile.secrets.clone(),
        usage,
    }
}

/// A store for one call, held to the plugin's limits.
async fn new_store(
    profile: &PluginProfile,
    host_state: HostState,
    gate: EgressGate,
) -> Result<LiveInstance, Cause> {
    let unusable =
        |error: &dyn std::fmt::Display| Cause::Engine(format!("the scratch folder can't be used: {error}"));
    let limits = &profile.limits;
    let scratch = match &profile.scratch {
        Some((folder, limit)) => Some(folder.open(*limit).await.map_err(|error| unusable(&error))?),
        None => None,
    };
    let guest = Guest::new(host_state, gate, limits, scratch).map_err(|error| unusable(&error))?;
    let mut store = Store::new(&profile.sandbox.engine, guest);
    store.limiter(|guest| guest.limiter());
    store.set_hostcall_fuel(limits.hostcall_bytes);
    store.set_max_component_handles(limits.handles);
    Ok(LiveInstance::new(store))
}
