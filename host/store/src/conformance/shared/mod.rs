//! The tests that every implementation of the [shared memory](crate::Shared) has to pass.
//!
//! A crate with an implementation runs them all by [`shared_conformance_tests!`](crate::shared_conformance_tests) in a
//! test target.

pub mod events;
pub mod inbox;
pub mod rates;
pub mod slots;

pub use std::sync::Arc;
pub use std::time::{Duration, Instant};

use async_trait::async_trait;
pub use uuid::Uuid;

use crate::{Owner, Shared};

/// An empty shared memory, and the hosts that use it.
#[async_trait]
pub trait SharedFixture: Send + Sync {
    /// The shared memory as a host sees it. An implementation within one process gives each host the same one, apart from
    /// the inbox.
    async fn host(&self, id: Uuid) -> Shared;

    /// Makes the places and the logs of turns this much older.
    async fn pass_time(&self, time: Duration);
}

/// A host by number.
pub fn host_id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub fn user(subject: &str) -> Owner {
    Owner { tenant: "default".into(), issuer: "local".into(), subject: subject.into() }
}

/// Makes a test of every test of the suite of shared memory.
///
/// `$open` is an async function without arguments that returns a [`SharedFixture`] as
/// `Option<Arc<dyn SharedFixture>>`, `None` if there is nothing to test. The crate needs tokio with `macros` and
/// `rt-multi-thread`.
///
/// [`SharedFixture`]: crate::conformance::shared::SharedFixture
#[macro_export]
macro_rules! shared_conformance_tests {
    ($open:path) => {
        $crate::shared_conformance_tests! { @modules $open;
            events {
                events_are_read_back_in_order_from_any_place_of_the_log,
                an_append_that_would_leave_a_gap_writes_nothing,
                an_append_that_comes_again_writes_nothing_twice,
                a_later_attempt_replaces_the_log_and_an_earlier_one_writes_nothing,
                a_log_that_has_ended_takes_no_more_events,
                a_long_log_is_read_in_pages,
                an_event_larger_than_a_page_is_a_page,
                a_log_is_gone_some_time_after_its_last_event,
                the_log_of_a_turn_that_is_silent_for_long_stays_until_its_end,
                an_append_keeps_the_log,
                a_turn_without_a_log_has_nothing_to_read,
            }
            inbox {
                messages_arrive_in_order,
                a_message_to_one_host_reaches_no_other,
                a_message_to_all_reaches_every_host_once,
                a_receiver_that_goes_away_loses_no_message,
            }
            rates {
                a_bucket_gives_its_burst_and_then_says_when_to_come_again,
                buckets_are_taken_in_order_up_to_the_first_that_is_empty,
                hosts_share_a_bucket,
                a_bucket_fills_again,
                a_bucket_with_another_quota_begins_full,
                names_are_not_confused,
                a_crowd_on_several_hosts_gets_no_more_than_burst_and_rate_allow,
            }
            slots {
                a_user_has_as_many_places_as_the_limit,
                a_holder_that_asks_again_has_its_place,
                users_do_not_share_places,
                a_place_that_is_given_back_is_free,
                giving_back_what_is_not_held_does_nothing,
                a_place_is_free_after_its_lifetime,
                a_place_that_is_renewed_is_kept,
                a_late_renewal_takes_no_place_that_was_given_back,
                a_crowd_on_several_hosts_gets_no_more_places_than_the_limit,
            }
        }
    };
    (@modules $open:path; $($module:ident { $($name:ident),* $(,)? })*) => {
        $(mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let Some(fixture) = $open().await else { return };
                    $crate::conformance::shared::$module::$name(fixture.as_ref()).await;
                }
            )*
        })*
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_test_of_the_suite_is_listed() {
        let list = include_str!("mod.rs");
        let sources = [
            include_str!("events.rs"),
            include_str!("inbox.rs"),
            include_str!("rates.rs"),
            include_str!("slots.rs"),
        ];
        for line in sources.iter().flat_map(|source| source.lines()) {
            if let Some(name) = line.strip_prefix("pub async fn ").and_then(|rest| rest.split('(').next()) {
                assert!(
                    list.contains(&format!("                {name},\n")),
                    "{name} is not listed in `mod.rs`"
                );
            }
        }
    }
}
