//! What the host noticed during one call, kept outside the store so that it outlives one that was dropped.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::limits::Exhausted;

/// A guest may try the same door a thousand times; the first few say all.
const MOST_REFUSALS: usize = 8;

/// Shared by all that guards one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    refused: Mutex<Vec<String>>,
    exhausted: OnceLock<Exhausted>,
}

impl Notes {
    /// Something was refused for want of a grant, or for a limit that the guest may live with.
    pub(crate) fn refused(&self, what: String) {
        let mut refused = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < MOST_REFUSALS && !refused.contains(&what) {
            refused.push(what);
        }
    }

    /// Growth was refused; the first refusal is what the guest broke on.
    pub(crate) fn exhausted(&self, limit: Exhausted) {
        self.0.exhausted.get_or_init(|| limit);
    }

    pub(crate) fn refusals(&self) -> Vec<String> {
        self.0.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn exhaustion(&self) -> Option<Exhausted> {
        self.0.exhausted.get().copied()
    }
}
