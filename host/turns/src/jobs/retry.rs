//! When a failed job is tried again, and when it is parked for an operator. Pure.

use std::time::Duration;

/// A job that panics at this attempt or a later one is parked.
const MAX_PANICS: u32 = 2;
/// After this many attempts a job is parked.
const MAX_ATTEMPTS: u32 = 8;
const FIRST_WAIT: Duration = Duration::from_secs(5);
const MAX_WAIT: Duration = Duration::from_secs(3600);
/// The factor between one wait and the next. Eight attempts span about an hour and a half, so an upstream that is down
/// for an hour parks nothing.
const WAIT_GROWTH: u32 = 3;

/// What becomes of a failed job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// It is due again after a while.
    Retry { after: Duration, error: String },
    /// It waits for an operator.
    Park { error: String },
}

/// Parks a job that begins one attempt too many. Its last attempt ended with the host, so no failure could park it.
pub(super) fn before_attempt(attempt: u32) -> Option<RetryDecision> {
    (attempt > MAX_ATTEMPTS).then(|| RetryDecision::Park {
        error: format!("the host ended during the last of {MAX_ATTEMPTS} tries"),
    })
}

/// What becomes of a job after its attempt number `attempt` (from 1) failed. `seed` is any number that differs between
/// jobs.
pub(super) fn after_failure(attempt: u32, seed: u64, error: String) -> RetryDecision {
    if attempt >= MAX_ATTEMPTS {
        RetryDecision::Park { error }
    } else {
        RetryDecision::Retry { after: wait(attempt, seed), error }
    }
}

/// What becomes of a job after its attempt number `attempt` panicked in the host. The same input panics every time, so it
/// gets one more try and not all of them.
pub(super) fn after_panic(attempt: u32, seed: u64) -> RetryDecision {
    let error = "the host panicked while it ran this job".to_owned();
    if attempt >= MAX_PANICS { RetryDecision::Park { error } } else { after_failure(attempt, seed, error) }
}

/// An exponential wait, shortened or lengthened by up to a quarter, so that jobs that failed together come back at
/// different times.
fn wait(attempt: u32, seed: u64) -> Duration {
    let growth = WAIT_GROWTH.saturating_pow(attempt.saturating_sub(1));
    let wait = FIRST_WAIT.saturating_mul(growth).min(MAX_WAIT);
    // Mixed with the attempt (by the finalizer of splitmix64), so that two jobs with the same wait once do not have the
    // same wait every time.
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
    fn a_job_that_panics_is_tried_once_more_and_then_parked() {
        assert!(matches!(after_panic(1, 1), RetryDecision::Retry { .. }));
        assert!(matches!(after_panic(2, 1), RetryDecision::Park { .. }));
        assert!(matches!(after_panic(5, 1), RetryDecision::Park { .. }));
    }

    #[test]
    fn a_job_is_parked_after_its_eighth_attempt_and_not_earlier() {
        assert!(matches!(after_failure(7, 1, String::new()), RetryDecision::Retry { .. }));
        assert!(matches!(after_failure(8, 1, String::new()), RetryDecision::Park { .. }));
    }

    #[test]
    fn a_job_that_ends_its_host_is_parked_too() {
        assert_eq!(before_attempt(8), None);
        assert!(matches!(before_attempt(9), Some(RetryDecision::Park { .. })));
    }

    #[test]
    fn waits_grow_and_differ_by_a_quarter_at_most() {
        for (attempt, middle) in [(1, 5), (2, 15), (3, 45), (4, 135), (7, 3600), (60, 3600)] {
            for seed in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
                let wait = wait(attempt, seed).as_millis();
                assert!((middle * 750..=middle * 1250).contains(&wait), "attempt {attempt}: {wait} ms");
            }
        }
    }

    #[test]
    fn jobs_that_failed_together_come_back_at_different_times() {
        let waits: std::collections::BTreeSet<_> = (0..100).map(|seed| wait(3, seed)).collect();
        assert!(waits.len() > 50);
    }
}
