//! How much a plugin may store for one user.

use super::fixtures::*;

const ROW: u64 = STATE_ROW_BYTES;

fn space(scope: StateScope) -> StateSpace {
    StateSpace { tenant: "default".into(), plugin: "window".into(), scope }
}

fn mine() -> StateSpace {
    space(StateScope::User(ada()))
}

fn set(space: &StateSpace, key: &str, bytes: usize, quota: u64) -> StateWrite {
    let change = StateChange::Set { value: vec![b'x'; bytes], if_version: None, ttl: None };
    StateWrite { key: StateKey { space: space.clone(), key: key.into() }, change, quota: Some(quota) }
}

fn change(space: &StateSpace, key: &str, change: StateChange, quota: u64) -> StateWrite {
    StateWrite { key: StateKey { space: space.clone(), key: key.into() }, change, quota: Some(quota) }
}

async fn write(store: &Arc<dyn Store>, write: StateWrite) -> Result<StateResult, ConflictReason> {
    let written = store.state_write(None, vec![write]).await.unwrap();
    written.map(|written| written[0].result.clone()).map_err(|conflict| conflict.reason)
}

async fn bytes(store: &Arc<dyn Store>, space: &StateSpace) -> u64 {
    store.state_bytes(space).await.unwrap()
}

pub async fn a_write_past_the_quota_changes_nothing_and_one_up_to_it_succeeds(store: &Arc<dyn Store>) {
    let quota = 2 * (ROW + 1) + 30;
    write(store, set(&mine(), "a", 10, quota)).await.unwrap();
    let expected = ConflictReason::QuotaExceeded { bytes: quota + 1, quota };
    assert_eq!(write(store, set(&mine(), "b", 21, quota)).await, Err(expected));
    assert_eq!(bytes(store, &mine()).await, ROW + 11);
    assert_eq!(store.state_list(&mine(), "", None, 10).await.unwrap(), ["a"]);
    write(store, set(&mine(), "b", 20, quota)).await.unwrap();
    assert_eq!(bytes(store, &mine()).await, quota);
    let add = StateChange::Add { amount: 1 };
    assert!(write(store, change(&mine(), "c", add, quota)).await.is_err());
    write(store, set(&mine(), "a", 10, quota)).await.unwrap();
}

pub async fn a_write_reports_what_is_stored_under_its_quota_afterwards(store: &Arc<dyn Store>) {
    let conversation = space(StateScope::Conversation(empty(store).await));
    let delete = StateChange::Delete { if_version: None };
    let writes = vec![
        set(&mine(), "a", 10, 1000),
        set(&conversation, "b", 20, 2000),
        set(&space(StateScope::Shared), "c", 30, 1000),
        StateWrite { quota: None, ..change(&mine(), "d", StateChange::Add { amount: 10 }, 0) },
        set(&mine(), "a", 5, 1000),
        change(&mine(), "a", delete, 1000),
    ];
    let written = store.state_write(None, writes).await.unwrap().unwrap();
    let stored: Vec<_> = written.into_iter().map(|written| written.stored_bytes).collect();
    let row = ROW + 1;
    let expected = [
        Some(row + 10),
        // The user and the user's conversations share a quota.
        Some(2 * row + 30),
        Some(row + 30),
        None,
        Some(3 * row + 27),
        Some(3 * row + 22),
    ];
    assert_eq!(stored, expected);
    assert_eq!(bytes(store, &mine()).await, 3 * row + 22);
}

pub async fn several_writes_past_the_quota_together_change_nothing(store: &Arc<dyn Store>) {
    let quota = 3 * ROW;
    let writes = ["a", "b", "c"].map(|key| set(&mine(), key, 10, quota));
    let conflict = store.state_write(None, writes.to_vec()).await.unwrap().unwrap_err();
    assert_eq!((conflict.index, conflict.key.as_str()), (2, "c"));
    assert_eq!(bytes(store, &mine()).await, 0);
}

pub async fn writes_at_the_same_time_share_one_quota(store: &Arc<dyn Store>) {
    let quota = 10 * (ROW + 12);
    let keys: Vec<_> = (10..60).map(|key| key.to_string()).collect();
    let writes = keys.iter().map(|key| write(store, set(&mine(), key, 10, quota)));
    let written = futures::future::join_all(writes).await;
    assert_eq!(written.iter().filter(|written| written.is_ok()).count(), 10);
    assert_eq!(bytes(store, &mine()).await, quota);
}

pub async fn a_user_and_their_conversations_share_a_quota_and_nobody_else_does(store: &Arc<dyn Store>) {
    let (first, second) = (empty(store).await, empty(store).await);
    let conversation = |id| space(StateScope::Conversation(id));
    let quota = 3 * (ROW + 11);
    for space in [mine(), conversation(first), conversation(second)] {
        write(store, set(&space, "k", 10, quota)).await.unwrap();
    }
    for space in [mine(), conversation(first), conversation(second)] {
        assert_eq!(bytes(store, &space).await, quota);
        assert!(write(store, set(&space, "more", 0, quota)).await.is_err());
    }
    let others = [
        space(StateScope::User(owner("eve"))),
        space(StateScope::Shared),
        StateSpace { plugin: "card".into(), ..mine() },
    ];
    for space in others {
        write(store, set(&space, "k", 10, quota)).await.unwrap();
        assert_eq!(bytes(store, &space).await, ROW + 11);
    }
}

pub async fn what_is_removed_makes_room(store: &Arc<dyn Store>) {
    let id = empty(store).await;
    let conversation = space(StateScope::Conversation(id));
    write(store, set(&conversation, "k", 100, 1000)).await.unwrap();
    write(store, set(&mine(), "k", 100, 1000)).await.unwrap();
    write(store, set(&mine(), "k", 10, 1000)).await.unwrap();
    assert_eq!(bytes(store, &mine()).await, 2 * (ROW + 1) + 110);
    let delete = StateChange::Delete { if_version: None };
    write(store, change(&mine(), "k", delete, 1000)).await.unwrap();
    // The key keeps its version for a while, and counts without its value.
    assert_eq!(bytes(store, &mine()).await, 2 * (ROW + 1) + 100);
    store.delete(&ada(), id).await.unwrap();
    while store.sweep().await.unwrap() > 0 {}
    assert_eq!(bytes(store, &mine()).await, ROW + 1);

    let brief = StateChange::Set { value: vec![b'x'; 50], if_version: None, ttl: Some(OVER) };
    write(store, change(&mine(), "k", brief, 1000)).await.unwrap();
    store.sweep().await.unwrap();
    assert_eq!(bytes(store, &mine()).await, ROW + 1);
}

pub async fn a_plugin_over_a_lowered_quota_can_shrink_and_not_grow(store: &Arc<dyn Store>) {
    write(store, set(&mine(), "a", 500, 1000)).await.unwrap();
    assert!(write(store, set(&mine(), "a", 501, 100)).await.is_err());
    assert!(write(store, set(&mine(), "b", 0, 100)).await.is_err());
    write(store, set(&mine(), "a", 400, 100)).await.unwrap();
    let delete = StateChange::Delete { if_version: None };
    write(store, change(&mine(), "a", delete, 100)).await.unwrap();
    assert_eq!(bytes(store, &mine()).await, ROW + 1);
}

pub async fn a_job_whose_writes_are_past_the_quota_is_not_completed(store: &Arc<dyn Store>) {
    let commit = |started: &Started| Commit { jobs: vec![job("window")], ..reply(started, "Hi") };
    let started = start(store, admission(new_conversation(), "Hello")).await;
    kept(store.commit(commit(&started)).await);
    let job = store.take(host(), LONG, JobLimits::total(1), None).await.unwrap().jobs.remove(0);
    let writes = vec![set(&mine(), "a", 10, 1000), set(&mine(), "b", 1000, 1000)];
    let refused = store.complete(job.id, job.epoch, JobCompletion::writing(writes)).await;
    let Err(StoreError::Conflict(conflict)) = refused else { panic!("{refused:?}") };
    assert!(matches!(conflict.reason, ConflictReason::QuotaExceeded { quota: 1000, .. }), "{conflict}");
    assert_eq!(bytes(store, &mine()).await, 0);
}
