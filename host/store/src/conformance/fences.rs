//! State is written for a turn or job only while it holds its lease.

use super::fixtures::*;

fn note(value: &str) -> StateWrite {
    let space =
        StateSpace { tenant: "default".into(), plugin: "window".into(), scope: StateScope::User(ada()) };
    let change = StateChange::Set { value: value.into(), if_version: None, ttl: None };
    StateWrite { key: StateKey { space, key: "note".into() }, change, quota: None }
}

async fn write(store: &Arc<dyn Store>, fence: StateFence, value: &str) -> Result<(), StoreError> {
    store.state_write(Some(fence), vec![note(value)]).await.map(|written| drop(written.unwrap()))
}

async fn noted(store: &Arc<dyn Store>) -> Option<String> {
    let found = store.state_get(&note("").key).await.unwrap();
    found.map(|found| String::from_utf8(found.value).unwrap())
}

fn of(started: &Started) -> StateFence {
    StateFence::Turn { turn: started.turn, epoch: started.epoch }
}

pub async fn a_running_turn_writes_until_it_ends_whichever_way(store: &Arc<dyn Store>) {
    for end in 0..3 {
        let started = start(store, admission(new_conversation(), "Hello")).await;
        let value = format!("{end}");
        write(store, of(&started), &value).await.unwrap();
        assert_eq!(noted(store).await, Some(value.clone()));
        kept(match end {
            0 => store.commit(reply(&started, "Hi")).await,
            1 => store.interrupt(interruption(&started, Some("H"))).await,
            _ => store.fail(failure(&started)).await,
        });
        assert_eq!(write(store, of(&started), "late").await, Err(StoreError::FenceEnded));
        assert_eq!(noted(store).await, Some(value));
    }
}

pub async fn a_turn_whose_lease_was_taken_writes_nothing_and_the_next_one_does(store: &Arc<dyn Store>) {
    let slow = start(store, admission(new_conversation(), "Slow")).await;
    write(store, of(&slow), "before").await.unwrap();
    expire(store, &slow).await;
    let next = start(store, admission(Target::Existing(slow.conversation), "Next")).await;
    assert_eq!(write(store, of(&slow), "late").await, Err(StoreError::FenceEnded));
    write(store, of(&next), "next").await.unwrap();
    assert_eq!(noted(store).await.as_deref(), Some("next"));
}

pub async fn an_epoch_that_is_not_the_turns_own_writes_nothing(store: &Arc<dyn Store>) {
    let keyed = || Admission { idempotency: key("k"), ..admission(new_conversation(), "Hello") };
    let first = start(store, keyed()).await;
    kept(store.fail(failure(&first)).await);
    let second = start(store, keyed()).await;
    assert_eq!(second.turn, first.turn);
    assert_eq!(write(store, of(&first), "stale").await, Err(StoreError::FenceEnded));
    write(store, of(&second), "second").await.unwrap();
    let unknown = StateFence::Turn { turn: TurnId::new(), epoch: 1 };
    assert_eq!(write(store, unknown, "unknown").await, Err(StoreError::FenceEnded));
    assert_eq!(noted(store).await.as_deref(), Some("second"));
}

pub async fn a_turn_of_a_deleted_conversation_writes_nothing(store: &Arc<dyn Store>) {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    assert!(store.delete(&ada(), started.conversation).await.unwrap());
    assert_eq!(write(store, of(&started), "late").await, Err(StoreError::FenceEnded));
    assert_eq!(noted(store).await, None);
}

pub async fn a_job_writes_while_it_is_leased_and_the_lease_was_not_taken(store: &Arc<dyn Store>) {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    kept(store.commit(Commit { jobs: vec![job("window")], ..reply(&started, "Hi") }).await);
    let fence = |job: &JobRecord| StateFence::Job { job: job.id, epoch: job.epoch };
    let slow = store.take(host(), LONG, JobLimits::total(1), None).await.unwrap().jobs.remove(0);
    write(store, fence(&slow), "slow").await.unwrap();
    store.renew_jobs(host(), &[slow.id], OVER).await.unwrap();
    let next = store.take(Uuid::from_u128(2), LONG, JobLimits::total(1), None).await.unwrap().jobs.remove(0);
    assert_eq!(write(store, fence(&slow), "late").await, Err(StoreError::FenceEnded));
    write(store, fence(&next), "next").await.unwrap();
    assert!(store.complete(next.id, next.epoch, JobCompletion::default()).await.unwrap());
    assert_eq!(write(store, fence(&next), "after").await, Err(StoreError::FenceEnded));
    assert_eq!(noted(store).await.as_deref(), Some("next"));
}

pub async fn a_write_that_can_never_be_valid_is_refused_also_after_its_turn_or_job_has_ended(
    store: &Arc<dyn Store>,
) {
    let mut foreign = note("x");
    foreign.key.space.tenant = "other".into();
    let mut zero = note("x");
    zero.key.key = "a\0".into();
    let ended = StateFence::Turn { turn: TurnId::new(), epoch: 1 };
    for write in [foreign, zero] {
        let written = store.state_write(Some(ended), vec![write.clone()]).await;
        assert!(matches!(written, Err(StoreError::Refused(_))), "{written:?}");
        let completed = store.complete(JobId::new(), 1, JobCompletion::writing(vec![note("y"), write])).await;
        assert!(matches!(completed, Err(StoreError::Refused(_))), "{completed:?}");
    }
}
