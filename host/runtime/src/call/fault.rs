//! Finds the limit behind an error of wasmtime's.

use std::time::Duration;

use masque_grants::Limits;
use wasmtime::component::ResourceTableError;

use crate::diagnostics::{CallDiagnostics, ExhaustedLimit};
use crate::engine::MAX_STACK_BYTES;
use crate::error::Cause;
use crate::secret_matcher::SecretMatcher;
use crate::text::sanitize;

/// Finds why a call failed. `elapsed` is its time so far.
pub(super) fn explain(
    error: wasmtime::Error,
    diagnostics: &CallDiagnostics,
    limits: &Limits,
    elapsed: Duration,
) -> Cause {
    // A cause that the host found itself takes precedence over everything else that the guest ran into.
    let error = match error.downcast::<Cause>() {
        Ok(cause) => return cause,
        Err(error) => error,
    };
    if let Some(limit) = diagnostics.host_memory() {
        return Cause::HostResources(format!(
            "its requests, responses and field sets took more than {limit} bytes (limit `host_memory`)"
        ));
    }
    let text = format!("{error:#}");
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        tracing::error!(error = text, "the pool of instances is smaller than its number of places");
        return Cause::Busy(elapsed);
    }
    if let Some(limit) = host_limit(&error, &text, limits) {
        return Cause::HostResources(limit);
    }
    // A guest that is refused memory aborts, so the refusal is the cause of the trap.
    match diagnostics.exhausted() {
        Some(ExhaustedLimit::Memory) => return Cause::Memory { limit: limits.memory_bytes },
        Some(ExhaustedLimit::Table) => return Cause::Table { limit: limits.table_elements },
        None => {}
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::StackOverflow) => Cause::Stack { limit: MAX_STACK_BYTES },
        Some(trap) => Cause::Trap(trap.to_string()),
        None => Cause::Trap(sanitize(&text, &SecretMatcher::default())),
    }
}

/// The limit on the host's own memory that a guest ran into. Wasmtime has a type for one of these three errors only.
fn host_limit(error: &wasmtime::Error, text: &str, limits: &Limits) -> Option<String> {
    if text.contains("fuel allocated for hostcalls") {
        let limit = limits.hostcall_bytes;
        return Some(format!("it handed over more than {limit} bytes at once (limit `hostcall_bytes`)"));
    }
    if text.contains("store handle limit exceeded") {
        return Some(format!("it held more than {} handles (limit `handles`)", limits.handles));
    }
    let is_full = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full))
    };
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full))
        || error.chain().any(is_full)
    {
        return Some(format!(
            "it held more than {} of the host's resources (limit `resources`)",
            limits.resources
        ));
    }
    None
}
