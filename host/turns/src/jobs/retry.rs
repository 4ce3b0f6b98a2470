//! When a failed job is tried again, and when it is parked for an operator. Pure.
//!
//! Threat: the jobs of a few users stall (each holds its place until the time limit), come again after a short wait, and
//! so hold all places of their plugin; other users of the plugin wait. Policy: a job waits at least twice as long as its
//! attempt took, and the store prefers what has been due for longer. Accepted consequence: users whose jobs stall have
//! about a third of a place each, so six of them can still hold the two places of a plugin.

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
/// How many times as long as its attempt took a job waits at least. A queue that stalls every time then holds a place for
/// about a third of the time, as long as the wait is below [`MAX_WAIT`].
const WAIT_PER_TIME_TAKEN: u32 = 2;

/// An attempt of a job that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct FailedAttempt {
    /// Its number, from 1.
    pub(super) number: u32,
    /// How long it held a place.
    pub(super) took: Duration,
    /// Any number that differs between jobs.
    pub(super) seed: u64,
}

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

/// What becomes of a job after this attempt failed.
pub(super) fn after_failure(attempt: FailedAttempt, error: String) -> RetryDecision {
    if attempt.number >= MAX_ATTEMPTS {
        RetryDecision::Park { error }
    } else {
        RetryDecision::Retry { after: wait(attempt), error }
    }
}

/// What becomes of a job after this attempt panicked in the host. The same input panics every time, so it gets one more
/// try and not all of them.
pub(super) fn after_panic(attempt: FailedAttempt) -> RetryDecision {
    let error = "the host panicked while it ran this job".to_owned();
    if attempt.number >= MAX_PANICS { RetryDecision::Park { error } } else { after_failure(attempt, error) }
}

/// An exponential wait, or a longer one after an attempt that took long. Shortened or lengthened by up to a quarter, so that
/// jobs that failed together come back at different times.
fn wait(FailedAttempt { number: attempt, took, seed }: FailedAttempt) -> Duration {
    let growth = WAIT_GROWTH.saturating_pow(attempt.saturating_sub(1));
    let after_stall = took.saturating_mul(WAIT_PER_TIME_TAKEN);
    let wait = FIRST_WAIT.saturating_mul(growth).max(after_stall).min(MAX_WAIT);
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

    const SEEDS: [u64; 4] = [0, 1, u64::MAX, 0x1234_5678_9abc_def0];

    /// An attempt that failed at once.
    fn attempt(number: u32, seed: u64) -> FailedAttempt {
        FailedAttempt { number, took: Duration::ZERO, seed }
    }

    #[test]
    fn a_job_that_panics_is_tried_once_more_and_then_parked() {
        assert!(matches!(after_panic(attempt(1, 1)), RetryDecision::Retry { .. }));
        assert!(matches!(after_panic(attempt(2, 1)), RetryDecision::Park { .. }));
        assert!(matches!(after_panic(attempt(5, 1)), RetryDecision::Park { .. }));
    }

    #[test]
    fn a_job_is_parked_after_its_eighth_attempt_and_not_earlier() {
        assert!(matches!(after_failure(attempt(7, 1), String::new()), RetryDecision::Retry { .. }));
        assert!(matches!(after_failure(attempt(8, 1), String::new()), RetryDecision::Park { .. }));
    }

    #[test]
    fn a_job_that_ends_its_host_is_parked_too() {
        assert_eq!(before_attempt(8), None);
        assert!(matches!(before_attempt(9), Some(RetryDecision::Park { .. })));
    }

    #[test]
    fn waits_grow_and_differ_by_a_quarter_at_most() {
        for (number, middle) in [(1, 5), (2, 15), (3, 45), (4, 135), (7, 3600), (60, 3600)] {
            for seed in SEEDS {
                let wait = wait(attempt(number, seed)).as_millis();
                assert!((middle * 750..=middle * 1250).contains(&wait), "attempt {number}: {wait} ms");
            }
        }
    }

    #[test]
    fn a_job_that_stalled_waits_about_twice_as_long_as_it_held_its_place() {
        for (number, took, middle) in
            [(1, 0, 5), (1, 2, 5), (1, 60, 120), (3, 60, 120), (4, 60, 135), (7, 60, 3600), (1, 3600, 3600)]
        {
            for seed in SEEDS {
                let stalled = FailedAttempt { took: Duration::from_secs(took), ..attempt(number, seed) };
                let wait = wait(stalled).as_millis();
                assert!((middle * 750..=middle * 1250).contains(&wait), "{stalled:?}: {wait} ms");
            }
        }
    }

    #[test]
    fn jobs_that_failed_together_come_back_at_different_times() {
        let waits: std::collections::BTreeSet<_> = (0..100).map(|seed| wait(attempt(3, seed))).collect();
        assert!(waits.len() > 50);
    }
}
