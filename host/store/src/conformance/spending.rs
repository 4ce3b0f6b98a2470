//! The tokens of a turn are counted once, together with its end.

use super::fixtures::*;

async fn spent(store: &Arc<dyn Store>, account: &str) -> (u64, u64) {
    let spent = store.spent(account).await.unwrap();
    assert!(spent.day_ends_in <= Duration::from_secs(24 * 3600) && !spent.day_ends_in.is_zero());
    (spent.input_tokens, spent.output_tokens)
}

fn accounts() -> Vec<String> {
    vec!["key:1".into(), "user:ada".into()]
}

/// As much as a reply reports in these tests.
fn charge(accounts: Vec<String>) -> Charge {
    Charge {
        accounts,
        usage: UsageRecord { input_tokens: 11, output_tokens: 5, cached_tokens: 3, estimated: false },
    }
}

pub async fn a_repeated_commit_is_charged_once_to_each_account(store: &Arc<dyn Store>) {
    assert_eq!(spent(store, "key:1").await, (0, 0));
    let started = start(store, admission(new_conversation(), "Hello")).await;
    let twice = [accounts(), accounts()].concat();
    let commit = Commit { charge: charge(twice), ..reply(&started, "Hi") };
    for _ in 0..2 {
        kept(store.commit(commit.clone()).await);
    }
    assert_eq!(spent(store, "key:1").await, (11, 5));
    assert_eq!(spent(store, "user:ada").await, (11, 5));
    assert_eq!(spent(store, "user:ben").await, (0, 0));

    let next = start(store, admission(Target::Existing(started.conversation), "More")).await;
    kept(store.commit(Commit { charge: charge(vec!["key:1".into()]), ..reply(&next, "Well") }).await);
    assert_eq!(spent(store, "key:1").await, (22, 10));
    assert_eq!(spent(store, "user:ada").await, (11, 5));
}

pub async fn what_an_interrupted_turn_used_is_charged_and_what_a_failed_one_did_is_not(
    store: &Arc<dyn Store>,
) {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    let usage = UsageRecord { input_tokens: 7, output_tokens: 2, cached_tokens: 0, estimated: false };
    let charge = Charge { accounts: accounts(), usage };
    let cut = Interruption { charge, ..interruption(&started, Some("We")) };
    kept(store.interrupt(cut).await);
    assert_eq!(spent(store, "key:1").await, (7, 2));
    let next = start(store, admission(Target::Existing(started.conversation), "More")).await;
    kept(store.fail(failure(&next)).await);
    assert_eq!(spent(store, "key:1").await, (7, 2));
}

pub async fn a_turn_that_lost_its_lease_is_not_charged(store: &Arc<dyn Store>) {
    let slow = start(store, Admission { lease: OVER, ..admission(new_conversation(), "Slow") }).await;
    start(store, admission(Target::Existing(slow.conversation), "Next")).await;
    let late = Commit { charge: charge(accounts()), ..reply(&slow, "Late") };
    assert_eq!(store.commit(late).await.unwrap(), Ending::LeaseLost);
    assert_eq!(spent(store, "key:1").await, (0, 0));
}

pub async fn no_claim_of_a_model_breaks_the_count(store: &Arc<dyn Store>) {
    let usage =
        UsageRecord { input_tokens: u64::MAX, output_tokens: u64::MAX, cached_tokens: 0, estimated: false };
    let conversation = empty(store).await;
    for _ in 0..3 {
        let started = start(store, admission(Target::Existing(conversation), "Hello")).await;
        kept(
            store
                .commit(Commit { charge: Charge { accounts: accounts(), usage }, ..reply(&started, "Hi") })
                .await,
        );
    }
    let (input, output) = spent(store, "key:1").await;
    assert!(input >= 3_000_000_000 && output == input, "{input} {output}");
}
