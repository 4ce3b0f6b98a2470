//! How long a call waited for upstreams: the time in which at least one of its requests waited for bytes.
//!
//! A request waits from when it is sent until the head of its answer is there, and whenever the guest reads a body whose next
//! bytes have not arrived. The time in which the guest does not read is its own. The accepted consequence: the moment from the
//! arrival of bytes until the host looks at them counts as waiting.

use std::time::{Duration, Instant};

/// Adds up the time, over requests that may wait at the same time.
#[derive(Debug, Default)]
pub(super) struct UpstreamWait {
    requests: u32,
    /// Since when at least one waits.
    since: Option<Instant>,
    total: Duration,
}

impl UpstreamWait {
    /// One more request waits.
    pub(super) fn begin(&mut self, now: Instant) {
        self.requests += 1;
        self.since.get_or_insert(now);
    }

    /// A request no longer waits.
    pub(super) fn end(&mut self, now: Instant) {
        self.requests = self.requests.saturating_sub(1);
        if self.requests == 0
            && let Some(since) = self.since.take()
        {
            self.total += now.saturating_duration_since(since);
        }
    }

    /// The time until now.
    pub(super) fn total(&self, now: Instant) -> Duration {
        self.total + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_several_requests_wait_counts_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut wait = UpstreamWait::default();
        for (second, begins, total) in [
            (1, Some(true), 0),
            (2, Some(true), 1),
            (4, Some(false), 3),
            (5, None, 4),
            (6, Some(false), 5),
            (9, None, 5),
            (10, Some(true), 5),
            (12, Some(false), 7),
        ] {
            match begins {
                Some(true) => wait.begin(at(second)),
                Some(false) => wait.end(at(second)),
                None => {}
            }
            assert_eq!(wait.total(at(second)).as_secs(), total, "at second {second}");
        }
    }
}
