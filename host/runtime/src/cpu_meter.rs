//! The CPU time of one call, and of the nested calls that are made on its behalf.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::time_slice::TimeSlice;

/// Counts CPU time up to a limit. Time also counts for the call on whose behalf this one is made, so that no nested call is
/// free.
#[derive(Debug)]
pub(crate) struct CpuMeter {
    nanoseconds: AtomicU64,
    limit: Duration,
    parent: Option<Arc<Self>>,
    /// What of it the call's own guest spent since it last waited. It is kept here because both have the same owners.
    slice: Mutex<TimeSlice>,
}

impl CpuMeter {
    pub(crate) fn new(limit: Duration, parent: Option<Arc<Self>>) -> Self {
        let slice = Mutex::new(TimeSlice::new(Instant::now()));
        Self { nanoseconds: AtomicU64::new(0), limit, parent, slice }
    }

    /// The time slice of the call's own guest.
    pub(crate) fn slice(&self) -> MutexGuard<'_, TimeSlice> {
        self.slice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds time that was spent, here and in every parent.
    pub(crate) fn add(&self, used: Duration) {
        let used = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        let mut next = Some(self);
        while let Some(meter) = next {
            // 64 bits of nanoseconds overflow after 584 years.
            meter.nanoseconds.fetch_add(used, Ordering::Relaxed);
            next = meter.parent.as_deref();
        }
    }

    /// The time that this call spent so far, nested calls included.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// The limit that ran out: this call's, or that of the call on whose behalf it is made.
    pub(crate) fn exceeded_limit(&self) -> Option<Duration> {
        if self.spent() > self.limit {
            return Some(self.limit);
        }
        self.parent.as_ref().and_then(|parent| parent.exceeded_limit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nested_call_spends_its_parents_budget_and_is_bounded_by_what_is_left_of_it() {
        let second = Duration::from_secs(1);
        let parent = Arc::new(CpuMeter::new(2 * second, None));
        parent.add(second);
        let nested = CpuMeter::new(10 * second, Some(parent.clone()));
        nested.add(second);
        assert_eq!((nested.spent(), parent.spent()), (second, 2 * second));
        assert_eq!((nested.exceeded_limit(), parent.exceeded_limit()), (None, None));
        nested.add(Duration::from_nanos(1));
        assert_eq!(nested.exceeded_limit(), Some(2 * second), "the parent's limit, though its own is far");
        let short = CpuMeter::new(second / 2, Some(Arc::new(CpuMeter::new(10 * second, None))));
        short.add(second);
        assert_eq!(short.exceeded_limit(), Some(second / 2));
    }
}
