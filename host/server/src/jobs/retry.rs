//! When a job that failed is tried again, and when it is given up.

use std::time::Duration;

/// After this many tries a job is parked.
const TRIES: u32 = 8;
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3600);
/// By this each wait is longer than the one before: eight tries span about an hour and a half, so that an upstream's
/// bad hour parks nothing.
const GROWTH: u32 = 3;

/// What becomes of a failed job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Retry { after: Duration, error: String },
    Park { error: String },
}

/// What becomes of a job that begins its attempt number `attempt`, if that is one too many: its last try ended with the
/// host, not with a failure that could have parked it.
pub(super) fn before(attempt: u32) -> Option<Verdict> {
    (attempt > TRIES)
        .then(|| Verdict::Park { error: format!("the host ended during the last of {TRIES} tries") })
}

/// `attempt` is the one that failed, from 1; `seed` is any number that differs between jobs.
pub(super) fn verdict(attempt: u32, seed: u64, error: String) -> Verdict {
    if attempt >= TRIES {
        Verdict::Park { error }
    } else {
        Verdict::Retry { after: wait(attempt, seed), error }
    }
}

/// Between three and five quarters of an exponential wait: jobs that failed together come back apart.
fn wait(attempt: u32, seed: u64) -> Duration {
    let growth = GROWTH.saturating_pow(attempt.saturating_sub(1));
    let wait = FIRST.saturating_mul(growth).min(LONGEST);
    // Mixed with the attempt, so that two jobs that meet once do not meet each time (splitmix64's finaliser).
    let mut mixed = seed.wrapping_add(u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^= mixed >> 27;
    let per_mille = u32::try_from(mixed % 501).unwrap_or_default() + 750;
    wait * per_mille / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_given_up_after_its_eighth_try_and_not_before() {
        assert!(matches!(verdict(7, 1, String::new()), Verdict::Retry { .. }));
        assert!(matches!(verdict(8, 1, String::new()), Verdict::Park { .. }));
    }

    #[test]
    fn a_job_that_ends_its_host_is_given_up_too() {
        assert_eq!(before(8), None);
        assert!(matches!(before(9), Some(Verdict::Park { .. })));
    }

    #[test]
    fn waits_grow_and_stay_within_a_quarter_of_their_middle() {
        for (attempt, middle) in [(1, 5), (2, 15), (3, 45), (4, 135), (7, 3600), (60, 3600)] {
            for seed in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
                let wait = wait(attempt, seed).as_millis();
                assert!((middle * 750..=middle * 1250).contains(&wait), "attempt {attempt}: {wait} ms");
            }
        }
    }

    #[test]
    fn jobs_that_failed_together_come_back_apart() {
        let waits: std::collections::BTreeSet<_> = (0..100).map(|seed| wait(3, seed)).collect();
        assert!(waits.len() > 50);
    }
}
