//! What is kept by age alone is removed once it is older, in batches, and nothing that is in use.

use super::fixtures::*;

/// Forgets until nothing is left to forget; how many went in each batch.
async fn forget_idle(store: &Arc<dyn Store>, idle_for: Duration) -> Vec<u64> {
    let mut forgotten = Vec::new();
    loop {
        match store.forget_conversations(idle_for).await.unwrap() {
            0 => return forgotten,
            conversations => forgotten.push(conversations),
        }
    }
}

async fn sweep_all(store: &Arc<dyn Store>) {
    while store.sweep().await.unwrap() > 0 {}
}

pub async fn a_conversation_that_is_idle_for_long_goes_as_if_its_user_had_deleted_it(store: &Arc<dyn Store>) {
    let keyed = Admission { idempotency: key("once"), ..admission(new_conversation(), "Hello") };
    let started = start(store, keyed).await;
    let jobs = vec![job("window"), job("window")];
    kept(store.commit(Commit { jobs, ..reply(&started, "Hi") }).await);
    let id = started.conversation;
    let space =
        StateSpace { tenant: "default".into(), plugin: "window".into(), scope: StateScope::Conversation(id) };
    let kept_key = StateKey { space, key: "summary".into() };
    let change = StateChange::Set { value: b"kept".to_vec(), if_version: None, ttl: None };
    let write = StateWrite { key: kept_key.clone(), change, quota: None };
    store.state_write(None, vec![write]).await.unwrap().unwrap();
    let bens = Admission { owner: owner("ben"), ..admission(new_conversation(), "I am Ben") };
    let ben = start(store, bens).await;
    kept(store.commit(Commit { owner: owner("ben"), ..reply(&ben, "Hi") }).await);

    assert_eq!(forget_idle(store, LONG).await, [] as [u64; 0]);
    assert!(store.conversation(&ada(), id).await.unwrap().is_some());
    assert_eq!(forget_idle(store, OVER).await, [2], "those of all users");
    assert_eq!(store.conversation(&ada(), id).await.unwrap(), None);
    let listed = store.conversations(&owner("ben"), Page { limit: 10, after: None }).await.unwrap();
    assert_eq!(listed.items, []);
    assert_eq!(store.turn(&ada(), started.turn).await.unwrap(), None);
    assert_eq!(store.state_get(&kept_key).await.unwrap(), None);
    assert!(take_job(store).await.is_none());
    let existing = admission(Target::Existing(id), "Still there?");
    assert_eq!(admit(store, existing).await, AdmissionOutcome::UnknownConversation);

    sweep_all(store).await;
    assert_eq!(store.counts().await.unwrap(), JobCounts::default());
    let again = NewConversation { id, companion: "elara".into(), title: None, greeting: None };
    store.create(&ada(), again).await.unwrap();
    assert_eq!(contents(&transcript(store, id).await), [] as [&str; 0]);
}

pub async fn a_conversation_in_which_a_turn_runs_is_not_forgotten(store: &Arc<dyn Store>) {
    let running = start(store, admission(new_conversation(), "Hello")).await;
    let lost = start(store, admission(new_conversation(), "Anyone?")).await;
    expire(store, &lost).await;
    assert_eq!(forget_idle(store, OVER).await, [] as [u64; 0]);
    kept(store.commit(reply(&running, "Hi")).await);
    assert_eq!(transcript(store, running.conversation).await.len(), 2);
    assert_eq!(store.recover(host()).await.unwrap(), 1);
    assert_eq!(forget_idle(store, OVER).await, [2]);
}

pub async fn conversations_are_forgotten_in_batches_the_ones_idle_for_longest_first(store: &Arc<dyn Store>) {
    let mut ids = Vec::new();
    for _ in 0..150 {
        ids.push(empty(store).await);
    }
    // What was made first is used last.
    let first = ids.remove(0);
    exchange(store, Target::Existing(first), "Hello", "Hi").await;
    let batch = store.forget_conversations(OVER).await.unwrap();
    assert!(batch > 0 && batch < 150, "{batch}");
    assert_eq!(store.conversation(&ada(), ids[0]).await.unwrap(), None);
    for id in [first, ids[148]] {
        assert!(store.conversation(&ada(), id).await.unwrap().is_some());
    }
    assert_eq!(batch + forget_idle(store, OVER).await.iter().sum::<u64>(), 150);
}

pub async fn days_of_spending_are_forgotten_by_age_and_today_never_is(store: &Arc<dyn Store>) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let now = store.report_spending(report(0, Vec::new(), Vec::new())).await.unwrap().now;
    let today = now / 86_400_000;
    let used = [0, 1, 2, 5].map(|ago| UsedTokens {
        account: user_account(&ada()),
        day: SpendingDay(today - ago),
        debited_at: LATER,
        input_tokens: 1,
        output_tokens: 1,
    });
    store.report_spending(report(1, used.to_vec(), Vec::new())).await.unwrap();
    assert_eq!(store.forget_spending(5 * DAY).await.unwrap(), 0, "the day had not ended then");
    assert_eq!(store.forget_spending(4 * DAY).await.unwrap(), 1);
    assert_eq!(store.forget_spending(DAY).await.unwrap(), 1);
    assert_eq!(store.forget_spending(OVER).await.unwrap(), 1);
    assert_eq!(store.forget_spending(OVER).await.unwrap(), 0);
    assert_eq!(store.spent(&user_account(&ada())).await.unwrap().input_tokens, 1);
}
