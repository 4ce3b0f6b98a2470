//! How long to wait before Redis is tried again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
/// Messages between hosts may be this late when Redis is back.
const LONGEST: Duration = Duration::from_secs(3);
/// A connection that lasted this long was a good one.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);

/// The waits between tries: each twice as long as the one before.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    /// From 0 to 50 percent, so that hosts that lost Redis together do not try it together.
    spread_percent: u32,
}

impl Backoff {
    /// The number decides how much longer this host waits than others.
    pub(crate) fn new(number: u128) -> Self {
        Self { failures: 0, spread_percent: u32::try_from(number % 51).unwrap_or_default() }
    }

    /// A connection ended that had lasted this long. One that ends soon counts as a failure: where some operations succeed
    /// and others do not, the tries become rare too.
    pub(crate) fn lost(&mut self, lasted: Duration) {
        if lasted >= GOOD_CONNECTION {
            self.failures = 0;
        }
    }

    /// How long to wait before the next try.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        wait + wait * self.spread_percent / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_begin_anew_after_a_good_connection() {
        let mut backoff = Backoff::new(0);
        let waits: Vec<u128> = (0..8).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3000, 3000]);
        backoff.lost(Duration::from_secs(1));
        assert_eq!(backoff.next(), LONGEST);
        backoff.lost(GOOD_CONNECTION);
        assert_eq!(backoff.next(), FIRST);
    }

    #[test]
    fn hosts_do_not_wait_equally_long() {
        assert_eq!(Backoff::new(50).next(), FIRST * 3 / 2);
        assert_eq!(Backoff::new(51).next(), FIRST);
    }
}
