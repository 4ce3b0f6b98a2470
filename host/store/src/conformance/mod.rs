//! The tests that every implementation of the traits has to pass, over `Arc<dyn Store>` alone.
//!
//! A crate with an implementation runs them all by [`conformance_tests!`](crate::conformance_tests) in a test target.
//! Each test gets an empty store. The suite of the shared memory is apart, in [`shared`].
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests: their names say what they hold, and they fail by panicking"
)]

pub mod budgets;
pub mod concurrency;
pub mod conversations;
pub mod deletion;
pub mod erased_spending;
pub mod expired_leases;
pub mod fences;
pub mod fixtures;
pub mod hosts;
pub mod idempotency;
pub mod identity;
pub mod jobs;
pub mod leases;
pub mod parked_jobs;
pub mod retention;
pub mod security_changes;
pub mod shared;
pub mod spending;
pub mod state;
pub mod state_quota;
pub mod texts;
pub mod tickets;
pub mod turn_records;
pub mod turns;
pub mod user_data;

/// What the function that opens a store returns: the store and a guard, or perhaps none.
pub trait Opened {
    /// What is kept until the test has ended.
    type Guard;

    fn opened(self) -> Option<(fixtures::Arc<dyn fixtures::Store>, Self::Guard)>;
}

impl<G> Opened for (fixtures::Arc<dyn fixtures::Store>, G) {
    type Guard = G;

    fn opened(self) -> Option<(fixtures::Arc<dyn fixtures::Store>, G)> {
        Some(self)
    }
}

impl<O: Opened> Opened for Option<O> {
    type Guard = O::Guard;

    fn opened(self) -> Option<(fixtures::Arc<dyn fixtures::Store>, O::Guard)> {
        self.and_then(O::opened)
    }
}

/// Makes a test of every test of the suite.
///
/// `$open` is an async function without arguments that returns an empty store as `Arc<dyn Store>`, and a guard that is
/// kept until the test has ended. It may return `None` where the database is not on this machine: the tests are skipped
/// then, and `$open` says so. The crate needs tokio with `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! conformance_tests {
    ($open:path) => {
        $crate::conformance_tests! { @modules $open;
            budgets {
                a_debit_counts_once_for_each_account_before_the_call_ends,
                a_spent_budget_refuses_the_debit_for_every_account,
                calls_that_begin_together_exceed_a_budget_by_one,
                hosts_that_share_an_account_exceed_its_budget_by_one_call_each,
                a_correction_makes_room_at_once_and_counts_on_the_day_of_its_debit,
                a_thousand_debits_of_one_account_take_few_reports,
                debits_that_wait_for_the_store_share_a_report,
                what_is_used_while_the_store_is_away_counts_once_it_is_back,
                a_debit_that_is_dropped_while_it_waits_holds_up_no_other,
                the_reporter_counts_what_is_used_and_a_closed_host_holds_no_block,
            }
            concurrency {
                sixty_four_turns_at_once_in_one_conversation_leave_no_gap_and_mix_no_exchange,
                sixty_four_turns_at_once_in_as_many_conversations_all_commit,
                of_many_requests_with_one_key_one_starts_and_the_rest_join_it,
                a_failed_operation_does_not_undo_others_in_its_batch,
                a_caller_that_goes_away_takes_nothing_back,
            }
            conversations {
                a_greeting_is_the_first_message_and_the_past_of_the_first_turn,
                a_conversation_without_a_title_takes_it_from_its_first_message_and_keeps_it,
                renaming_is_the_owners_alone,
                another_users_conversation_is_an_unknown_one,
                the_list_is_newest_first_and_its_cursor_stands_still_while_it_grows,
                a_list_of_some_companions_leaves_out_the_others_and_its_pages_are_full,
                messages_come_oldest_first_in_pages_that_meet,
                a_page_of_long_messages_ends_at_its_bytes_and_the_pages_meet,
                a_cursor_of_something_else_is_refused,
                history_ends_where_its_bytes_do_and_the_newest_message_always_fits,
                history_is_what_came_before_without_failed_turns,
                messages_are_found_by_their_ids_in_all_conversations_of_their_user_alone,
                deleting_takes_everything_and_a_running_turn_can_not_commit,
            }
            deletion {
                a_long_conversation_is_removed_in_batches_and_leaves_nothing,
                jobs_behind_those_of_a_deleted_conversation_are_taken,
                a_sweep_frees_the_queues_of_a_deleted_conversations_jobs,
            }
            expired_leases {
                a_turn_whose_lease_has_expired_is_not_ended_although_no_one_took_it,
                a_turn_that_ended_before_its_lease_did_is_answered_again,
                a_turn_whose_lease_has_expired_writes_no_state,
                a_lease_that_has_expired_is_not_renewed,
                a_job_whose_lease_has_expired_is_not_changed_although_no_one_took_it,
            }
            fences {
                a_running_turn_writes_until_it_ends_whichever_way,
                a_turn_whose_lease_was_taken_writes_nothing_and_the_next_one_does,
                an_epoch_that_is_not_the_turns_own_writes_nothing,
                a_turn_of_a_deleted_conversation_writes_nothing,
                a_job_writes_while_it_is_leased_and_the_lease_was_not_taken,
                a_write_that_can_never_be_valid_is_refused_also_after_its_turn_or_job_has_ended,
            }
            hosts {
                a_heartbeat_renews_the_leases_of_the_named_turns_of_one_host,
                a_host_hears_of_no_turn_and_no_other_host_where_there_is_none,
                a_turn_that_a_client_wants_to_end_is_named_to_its_host_until_it_has_ended,
                only_a_running_turn_of_ones_own_can_be_asked_to_end,
                a_wish_to_end_a_turn_is_not_one_to_end_the_next,
                a_host_leaves_the_jobs_of_plugins_that_it_does_not_have,
            }
            idempotency {
                a_completed_turn_is_replayed_and_not_run,
                a_key_tells_of_its_turn_without_an_admission,
                a_request_that_is_not_to_be_resumed_is_told_that_it_was_seen_and_changes_nothing,
                a_later_attempt_learns_which_reply_it_takes_the_place_of,
                a_conversation_whose_companion_is_gone_gets_no_turn,
                a_running_turn_is_joined,
                another_body_under_the_same_key_is_refused_however_the_turn_stands,
                an_earlier_turn_names_its_companion_also_to_a_request_that_may_not_talk_to_it,
                a_key_is_its_owners_and_its_routes,
                an_interrupted_turn_runs_again_under_its_id_and_its_reply_takes_the_fragments_place,
                a_failed_turn_runs_again_and_its_message_is_not_doubled,
                a_fragment_goes_out_of_the_tail_when_its_turn_fails_in_the_end,
                a_running_turn_whose_lease_ran_out_runs_again_and_its_first_runner_can_end_nothing,
                a_turn_that_would_run_again_waits_for_the_conversations_lease,
                a_key_past_its_time_is_a_new_one,
                only_a_turn_that_began_is_remembered,
                a_key_goes_with_its_conversation,
                a_sweep_removes_keys_past_their_time_and_no_others,
            }
            identity {
                a_key_is_kept_as_it_was_made,
                a_change_and_its_entry_happen_together_or_not_at_all,
                a_rotation_keeps_the_hash_before_for_a_while,
                a_revoked_key_stays_revoked_and_has_one_secret_at_most,
                keys_are_listed_the_newest_first_and_in_parts,
                every_change_raises_the_version_and_nothing_else_does,
                the_security_snapshot_holds_all_valid_keys_and_revocations,
                the_audit_is_read_in_parts_and_forgotten_by_age,
                no_record_prints_a_hash,
            }
            jobs {
                a_job_is_taken_with_all_that_was_said_of_it,
                jobs_of_an_owner_and_plugin_run_one_after_the_other_in_order,
                queues_of_other_owners_and_plugins_do_not_wait,
                a_job_to_be_retried_stays_first_and_counts_its_attempts,
                a_retried_job_comes_again_with_another_epoch,
                a_parked_job_does_not_block_its_queue_and_is_counted,
                completing_applies_the_jobs_state_with_it_or_not_at_all,
                a_lease_that_ran_out_goes_to_the_next_taker_and_the_first_changes_nothing,
                renewing_extends_the_leases_of_the_named_jobs_of_one_host,
                a_job_that_is_released_is_due_at_once_and_was_not_tried,
                recovery_gives_the_jobs_of_lost_hosts_back,
                deleting_a_conversation_frees_the_queues_of_its_jobs,
                nothing_is_due_where_there_are_no_jobs,
                several_jobs_are_taken_at_once_and_one_of_each_queue,
                neither_a_plugin_nor_a_user_takes_every_place,
                users_whose_jobs_failed_come_after_those_who_wait_for_the_same_plugin,
                many_due_jobs_of_one_plugin_do_not_hide_those_of_another,
                the_age_of_the_oldest_job_is_counted_until_it_is_done_or_parked,
            }
            leases {
                a_conversation_whose_lease_is_held_is_busy_for_as_long_as_the_lease_lasts,
                every_end_of_a_turn_frees_its_lease,
                a_turn_whose_lease_was_taken_is_interrupted_and_can_not_be_ended,
                an_epoch_that_is_not_the_turns_own_ends_nothing,
                recovery_interrupts_what_ran_out_and_what_a_lost_host_left_and_nothing_else,
            }
            parked_jobs {
                a_parked_job_is_listed_and_comes_back_before_all_that_came_after_it,
                a_job_that_is_put_back_waits_for_the_one_that_runs,
                a_parked_job_goes_with_its_conversation,
                parked_jobs_are_removed_by_age_and_no_other_job_is,
                a_job_that_was_put_back_is_not_removed_by_the_age_of_its_parking,
                a_job_that_ended_its_host_twice_is_parked_and_the_next_one_runs,
                a_job_that_ended_its_host_twice_is_parked_although_no_one_recovers,
                the_end_of_a_host_counts_once_whoever_finds_it,
                a_host_that_takes_its_own_job_again_has_not_ended,
            }
            retention {
                a_conversation_that_is_idle_for_long_goes_as_if_its_user_had_deleted_it,
                a_conversation_in_which_a_turn_runs_is_not_forgotten,
                conversations_are_forgotten_in_batches_the_ones_idle_for_longest_first,
                days_of_spending_are_forgotten_by_age_and_today_never_is,
            }
            security_changes {
                only_what_changed_since_a_version_is_read,
                a_rotation_a_revoked_key_and_a_repeated_revocation_are_changes,
                changes_after_a_snapshot_lead_to_the_next_snapshot,
            }
            spending {
                what_is_used_counts_by_account_and_day,
                a_report_that_is_sent_again_or_late_counts_once,
                a_block_is_a_share_of_what_is_left_and_the_last_one_is_all_of_it,
                what_is_used_comes_out_of_the_block_and_what_is_corrected_goes_back,
                a_block_that_is_returned_or_whose_lease_ended_is_held_by_nobody,
                no_claim_of_a_model_breaks_the_count,
            }
            state {
                a_value_is_found_again_with_its_version,
                no_two_spaces_share_a_key,
                versions_rise_with_every_write_and_go_on_after_a_delete_and_an_end,
                a_write_for_a_version_needs_that_version,
                deleting_what_is_absent_succeeds,
                a_value_past_its_time_is_absent_to_every_question,
                adding_keeps_a_time_to_live,
                a_sweep_removes_values_past_their_time_and_leaves_the_rest,
                only_decimal_integers_that_fit_are_added_to,
                several_writes_happen_together_or_not_at_all,
                a_hundred_additions_at_once_lose_none,
                keys_are_listed_in_byte_order_by_prefix_and_in_parts,
                a_conversations_state_goes_with_it_and_can_not_come_back,
                keys_and_values_past_their_size_are_refused,
                writes_for_several_users_without_any_data_are_each_users_own,
            }
            state_quota {
                a_write_past_the_quota_changes_nothing_and_one_up_to_it_succeeds,
                a_write_reports_what_is_stored_under_its_quota_afterwards,
                several_writes_past_the_quota_together_change_nothing,
                writes_at_the_same_time_share_one_quota,
                a_user_and_their_conversations_share_a_quota_and_nobody_else_does,
                what_is_removed_makes_room,
                a_plugin_over_a_lowered_quota_can_shrink_and_not_grow,
                a_job_whose_writes_are_past_the_quota_is_not_completed,
            }
            texts {
                a_conversation_with_the_character_zero_is_refused_and_changes_nothing,
                an_end_of_a_turn_with_the_character_zero_is_refused_and_the_turn_can_still_end,
                an_error_of_a_job_with_the_character_zero_is_refused,
                a_key_of_state_has_no_character_zero_and_a_value_may_have_any_bytes,
                keys_revocations_entries_and_accounts_have_no_character_zero,
                a_question_with_the_character_zero_finds_nothing,
            }
            tickets {
                turns_begin_in_the_order_of_their_tickets_over_two_hosts,
                every_end_of_a_turn_names_who_waits_first,
                no_more_turns_wait_than_may_and_each_counts_once,
                a_ticket_that_is_not_kept_is_passed_over_and_takes_no_place,
                a_repeated_admission_keeps_its_ticket_alive,
                a_turn_that_may_not_wait_is_refused_while_others_do,
                a_turn_that_begins_has_no_ticket_any_more,
                who_stops_waiting_gives_the_place_to_the_next,
                requests_that_are_joined_replayed_or_refused_for_another_reason_take_no_ticket,
                requests_to_run_one_turn_again_wait_and_the_rest_join_it,
                a_turn_waits_for_one_conversation,
                tickets_go_with_their_conversation,
                a_lease_that_expired_or_was_recovered_goes_to_the_oldest_ticket,
            }
            turn_records {
                a_record_is_found_by_its_turn_as_it_was_stored_with_its_owner,
                a_record_of_the_same_attempt_is_replaced_and_the_last_attempt_is_found,
                a_record_of_a_turn_that_is_not_the_owners_is_left_out,
                a_record_goes_with_its_conversation_and_comes_back_with_none,
                a_record_of_an_erased_user_is_gone_and_a_late_one_is_left_out,
                an_export_has_all_attempts_of_a_user_in_pages_and_none_of_others,
                a_record_of_a_later_format_is_in_an_export_as_such_and_does_not_end_it,
                records_past_their_age_are_removed_in_batches,
                of_more_bytes_than_may_be_kept_the_oldest_records_go,
            }
            turns {
                an_admission_stores_the_turn_and_the_users_message_as_running,
                a_commit_keeps_reply_usage_and_response_and_completes_both_messages,
                an_estimated_usage_is_kept_as_one,
                usage_past_what_a_column_holds_is_stored_as_the_largest_it_holds,
                a_second_commit_of_the_same_epoch_answers_as_the_first_and_stores_nothing,
                a_turn_that_ended_one_way_does_not_end_another,
                an_interruption_keeps_what_had_been_said,
                an_interruption_before_the_first_word_keeps_no_empty_message,
                an_interrupted_question_that_is_sent_again_is_in_the_tail_once,
                a_lost_question_that_is_sent_again_is_in_the_tail_once,
                a_failed_turn_stays_listed_and_out_of_every_later_tail,
                each_message_names_the_one_before_it_as_its_parent,
                the_tail_is_the_newest_whole_messages_within_both_limits,
                an_unknown_conversation_and_another_users_are_the_same,
                a_conversation_is_with_one_companion,
                an_admission_repeated_with_its_turn_id_starts_once,
                an_id_that_is_taken_is_refused_and_changes_nothing,
                every_character_and_all_metadata_come_back_in_the_tail_as_in_the_list,
            }
            erased_spending {
                a_day_without_tokens_is_in_no_export_and_no_receipt,
                what_hosts_report_late_of_an_erased_user_goes_too,
                what_a_host_reports_of_an_erased_user_after_all_is_removed_is_never_written,
            }
            user_data {
                an_export_has_everything_of_a_user_and_nothing_of_others,
                the_pages_of_an_export_meet,
                a_cursor_that_is_none_is_refused_in_every_section_for_anyone,
                an_erasure_leaves_nothing_and_takes_nothing_of_others,
                an_erasure_takes_the_tickets_of_its_conversations,
                nothing_is_written_under_an_erased_id,
                an_erased_person_comes_back_as_a_new_user,
                a_long_erasure_is_removed_in_batches_and_is_not_finished_before,
            }
        }
    };
    (@modules $open:path; $($module:ident { $($name:ident),* $(,)? })*) => {
        $(mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let Some((store, _guard)) = $crate::conformance::Opened::opened($open().await) else { return };
                    $crate::conformance::$module::$name(&store).await;
                }
            )*
        })*
    };
}

#[cfg(test)]
mod tests {
    /// The sources of the modules of the suite, and the list above.
    const SOURCES: [&str; 23] = [
        include_str!("budgets.rs"),
        include_str!("concurrency.rs"),
        include_str!("conversations.rs"),
        include_str!("deletion.rs"),
        include_str!("erased_spending.rs"),
        include_str!("expired_leases.rs"),
        include_str!("fences.rs"),
        include_str!("hosts.rs"),
        include_str!("idempotency.rs"),
        include_str!("identity.rs"),
        include_str!("jobs.rs"),
        include_str!("leases.rs"),
        include_str!("parked_jobs.rs"),
        include_str!("retention.rs"),
        include_str!("security_changes.rs"),
        include_str!("spending.rs"),
        include_str!("state.rs"),
        include_str!("state_quota.rs"),
        include_str!("texts.rs"),
        include_str!("tickets.rs"),
        include_str!("turn_records.rs"),
        include_str!("turns.rs"),
        include_str!("user_data.rs"),
    ];

    #[test]
    fn every_test_of_the_suite_is_listed() {
        let list = include_str!("mod.rs");
        for line in SOURCES.iter().flat_map(|source| source.lines()) {
            if let Some(name) = line.strip_prefix("pub async fn ").and_then(|rest| rest.split('(').next()) {
                assert!(
                    list.contains(&format!("                {name},\n")),
                    "{name} is not listed in `mod.rs`"
                );
            }
        }
    }
}
