//! What the host notices during one call: refusals and exhausted limits. They explain the call's error.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::missing_grant::MissingGrant;
use crate::observe::limit_named_in;

/// The most different refusals that are kept for one call. A guest may repeat the same attempt a thousand times.
const MAX_REFUSALS: usize = 8;

/// A limit of the store that refused growth to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExhaustedLimit {
    /// The limit on all linear memories together.
    Memory,
    /// The limit on all tables together.
    Table,
}

/// The diagnostics of one call. Clones share them, so they outlive a store that was dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallDiagnostics(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    refusals: Mutex<Vec<String>>,
    missing: Mutex<Vec<MissingGrant>>,
    exhausted: OnceLock<ExhaustedLimit>,
    /// The limit on the host's memory, once the guest was past it.
    host_memory: OnceLock<usize>,
    /// How often each grant was missing.
    denials: Mutex<Vec<(&'static str, u64)>>,
    /// The limits that refusals named, each once.
    limits: Mutex<Vec<&'static str>>,
    state_refusals: AtomicU64,
}

impl CallDiagnostics {
    /// Records that something was refused because a grant is missing.
    pub(crate) fn record_missing_grant(&self, missing: MissingGrant) {
        self.record_denial(missing.key());
        self.record_refusal(missing.to_string());
        let mut all = self.0.missing.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MAX_REFUSALS && !all.contains(&missing) {
            all.push(missing);
        }
    }

    /// Counts a request that was denied for want of a grant.
    pub(crate) fn record_denial(&self, grant: &'static str) {
        let mut denials = self.0.denials.lock().unwrap_or_else(PoisonError::into_inner);
        match denials.iter_mut().find(|(denied, _)| *denied == grant) {
            Some((_, count)) => *count += 1,
            None => denials.push((grant, 1)),
        }
    }

    /// Records that the call exceeded a limit.
    pub(crate) fn record_limit(&self, limit: &'static str) {
        let mut limits = self.0.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if !limits.contains(&limit) {
            limits.push(limit);
        }
    }

    /// Counts a write to `state` that was refused.
    pub(crate) fn record_state_refusal(&self) {
        self.0.state_refusals.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that something was refused for another reason than a missing grant, such as a limit that the guest may survive.
    pub(crate) fn record_refusal(&self, refusal: String) {
        if let Some(limit) = limit_named_in(&refusal) {
            self.record_limit(limit);
        }
        let mut refusals = self.0.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() < MAX_REFUSALS && !refusals.contains(&refusal) {
            refusals.push(refusal);
        }
    }

    /// Records that growth was refused. Only the first limit is kept: it is the one that the guest failed on.
    pub(crate) fn record_exhaustion(&self, limit: ExhaustedLimit) {
        self.0.exhausted.get_or_init(|| limit);
    }

    /// Records that an operation did not begin because the host holds more than `limit` bytes for the guest.
    pub(crate) fn record_host_memory(&self, limit: usize) {
        self.0.host_memory.get_or_init(|| limit);
    }

    /// The limit on the host's memory if the guest was past it. No operation after that succeeds, so it is the cause of
    /// whatever ended the call.
    pub(crate) fn host_memory(&self) -> Option<usize> {
        self.0.host_memory.get().copied()
    }

    pub(crate) fn refusals(&self) -> Vec<String> {
        self.0.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn missing_grants(&self) -> Vec<MissingGrant> {
        self.0.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The grants that were missing, and how often each was.
    pub(crate) fn denials(&self) -> Vec<(&'static str, u64)> {
        self.0.denials.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The limits that refused something during the call, each once.
    pub(crate) fn limits(&self) -> Vec<&'static str> {
        let mut limits = self.0.limits.lock().unwrap_or_else(PoisonError::into_inner).clone();
        limits.extend(self.exhausted().map(|exhausted| match exhausted {
            ExhaustedLimit::Memory => "memory",
            ExhaustedLimit::Table => "table_elements",
        }));
        limits
    }

    /// The writes to `state` that were refused.
    pub(crate) fn state_refusals(&self) -> u64 {
        self.0.state_refusals.load(Ordering::Relaxed)
    }

    pub(crate) fn exhausted(&self) -> Option<ExhaustedLimit> {
        self.0.exhausted.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_thousand_refusals_only_the_first_few_are_kept() {
        let diagnostics = CallDiagnostics::default();
        for number in 0..1000 {
            diagnostics.record_refusal(format!("refusal {number}"));
            diagnostics.record_refusal("the same again".to_owned());
        }
        let kept = diagnostics.refusals();
        assert_eq!(kept.len(), MAX_REFUSALS);
        assert_eq!(kept.iter().filter(|refusal| *refusal == "the same again").count(), 1);
    }
}
