//! The CPU time of one call, and of the calls that are made on its behalf.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts up to a limit. What is counted here counts for whoever asked for the call as well, so that a question on the
/// side can't be answered at nobody's expense.
#[derive(Debug)]
pub(crate) struct Meter {
    nanoseconds: AtomicU64,
    limit: Duration,
    asker: Option<Arc<Self>>,
}

impl Meter {
    pub(crate) fn new(limit: Duration, asker: Option<Arc<Self>>) -> Self {
        Self { nanoseconds: AtomicU64::new(0), limit, asker }
    }

    /// Time that was spent.
    pub(crate) fn add(&self, used: Duration) {
        let used = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        let mut next = Some(self);
        while let Some(meter) = next {
            // Centuries would have to pass before it wrapped around.
            meter.nanoseconds.fetch_add(used, Ordering::Relaxed);
            next = meter.asker.as_deref();
        }
    }

    /// Time spent so far, without the asker's own.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// The limit that ran out: this call's, or that of the call on whose behalf it is made.
    pub(crate) fn overrun(&self) -> Option<Duration> {
        if self.spent() > self.limit {
            return Some(self.limit);
        }
        self.asker.as_ref().and_then(|asker| asker.overrun())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_paid_for_by_the_asker_and_bounded_by_what_it_has_left() {
        let second = Duration::from_secs(1);
        let asker = Arc::new(Meter::new(2 * second, None));
        asker.add(second);
        let answering = Meter::new(10 * second, Some(asker.clone()));
        answering.add(second);
        assert_eq!((answering.spent(), asker.spent()), (second, 2 * second));
        assert_eq!((answering.overrun(), asker.overrun()), (None, None));
        answering.add(Duration::from_nanos(1));
        assert_eq!(answering.overrun(), Some(2 * second), "the asker's limit, though its own is far");
        let short = Meter::new(second / 2, Some(Arc::new(Meter::new(10 * second, None))));
        short.add(second);
        assert_eq!(short.overrun(), Some(second / 2));
    }
}
