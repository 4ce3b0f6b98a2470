//! What the host noticed during one call, kept outside the store so that it outlives one that was dropped.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::limits::Exhausted;

/// A guest may try the same door a thousand times; the first few say all.
const MOST_DENIALS: usize = 8;

/// Shared by all that guards one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    denied: Mutex<Vec<String>>,
    exhausted: OnceLock<Exhausted>,
}

impl Notes {
    /// Something was refused for want of a grant.
    pub(crate) fn denied(&self, what: String) {
        let mut denied = self.0.denied.lock().unwrap_or_else(PoisonError::into_inner);
        if denied.len() < MOST_DENIALS && !denied.contains(&what) {
            denied.push(what);
        }
    }

    /// Growth was refused; the first refusal is what the guest broke on.
    pub(crate) fn exhausted(&self, limit: Exhausted) {
        self.0.exhausted.get_or_init(|| limit);
    }

    pub(crate) fn denials(&self) -> Vec<String> {
        self.0.denied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn exhaustion(&self) -> Option<Exhausted> {
        self.0.exhausted.get().copied()
    }
}
