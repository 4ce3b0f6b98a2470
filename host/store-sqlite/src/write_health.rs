//! Whether writes succeed at present. Only writes tell: a disk that is full still answers every read.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use masque_store::StoreError;

/// The state of the last write. Shared by the writing thread, which sets it, and whoever asks.
#[derive(Debug, Default)]
pub(crate) struct WriteHealth(Mutex<Option<FailingWrites>>);

/// Writes that have failed one after the other.
#[derive(Debug)]
struct FailingWrites {
    since: Instant,
    /// The last error.
    error: StoreError,
}

impl WriteHealth {
    /// Something was written.
    pub(crate) fn succeeded(&self) {
        *self.lock() = None;
    }

    /// Something could not be written.
    pub(crate) fn failed(&self, error: &StoreError) {
        let mut failing = self.lock();
        let since = failing.as_ref().map_or_else(Instant::now, |failing| failing.since);
        *failing = Some(FailingWrites { since, error: error.clone() });
    }

    /// Fails if the last write did. Costs no access to the disk.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match &*self.lock() {
            None => Ok(()),
            Some(FailingWrites { since, error }) => Err(StoreError::Unavailable(format!(
                "writes have failed for {} seconds: {error}",
                since.elapsed().as_secs()
            ))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<FailingWrites>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
