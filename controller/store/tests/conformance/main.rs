//! The contract of [`cellblock_store::Store`] as tests that both backends pass: the embedded store, and etcd by a real
//! server for each test. What only one backend can do wrong (TLS, damaged files, crashes) is tested beside this suite.
//!
//! Each module holds one part of the contract as plain functions over a store; `conformance!` at the end runs every
//! one of them for every backend.

mod history;
mod keys;
mod leases;
mod paging;
mod support;
mod transactions;
mod watches;

macro_rules! conformance {
    ($($part:ident: $($test:ident)*;)*) => {
        mod embedded {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let fixture = cellblock_store::testing::EphemeralStore::embedded().await;
                    let fixture = fixture.expect("an embedded store opens in a temporary folder");
                    super::$part::$test(fixture.store()).await;
                }
            )*)*
        }

        mod etcd {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let fixture = cellblock_store::testing::EphemeralStore::etcd().await;
                    let fixture = fixture.unwrap_or_else(|error| panic!("{error}"));
                    super::$part::$test(fixture.store()).await;
                }
            )*)*
        }
    };
}

conformance! {
    keys:
        a_created_key_can_be_read
        a_key_is_created_only_once
        of_many_creators_one_wins
        a_read_at_an_older_revision_sees_the_past
        an_update_needs_the_current_revision
        an_update_with_equal_bytes_writes_nothing
        a_replacement_notices_that_its_base_is_stale
        a_deletion_expects_what_it_is_told_to
        a_key_created_again_is_a_new_one
        every_increment_of_many_writers_counts
        a_guaranteed_update_can_create_keep_delete_and_refuse
        large_values_fit_and_larger_ones_are_refused
        keys_are_any_bytes
        health_and_location_say_which_store_this_is;
    transactions:
        keys_of_one_transaction_share_a_revision
        a_failed_compare_writes_nothing_and_is_named
        every_kind_of_compare_holds_and_fails
        a_transaction_without_effect_takes_no_revision
        a_transaction_of_the_largest_size_is_taken
        sums_stay_constant_under_concurrent_transfers
        revisions_grow_with_every_acknowledged_write;
    paging:
        pages_fit_together_while_writes_go_on
        a_list_shows_what_has_been_deleted_since
        the_last_page_has_no_next
        pages_of_large_values_are_cut
        prefixes_end_where_they_should
        a_token_survives_its_text_form;
    watches:
        every_change_is_delivered_in_order
        a_transaction_is_one_notice
        a_watch_resumes_from_an_old_revision
        only_the_prefix_is_delivered
        previous_items_come_when_asked_for
        a_quiet_watch_reports_progress
        a_slow_reader_loses_nothing
        large_transactions_are_delivered_whole
        a_watch_beyond_the_present_is_refused;
    history:
        compaction_removes_the_past_and_nothing_else
        a_watch_from_before_compaction_is_told
        a_watch_from_the_compacted_revision_misses_nothing
        a_list_across_compaction_is_told
        compaction_goes_forward_only
        revision_zero_and_the_future_cannot_be_read;
    leases:
        keys_vanish_with_their_lease_and_not_before
        a_lease_kept_alive_outlives_one_that_is_not
        revoking_removes_all_keys_in_one_transaction
        a_lease_that_is_gone_is_told
        a_plain_put_leaves_the_lease
        an_update_keeps_the_lease
        a_campaign_passes_leadership_on
        a_held_lease_notices_its_loss;
}
