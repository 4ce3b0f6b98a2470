//! A host that was paused does not know that its leases have expired. Whatever it writes from then on changes nothing, whether
//! or not another host has taken them.

use super::fixtures::*;

fn note(value: &str) -> StateWrite {
    let space =
        StateSpace { tenant: "default".into(), plugin: "window".into(), scope: StateScope::User(ada()) };
    let change = StateChange::Set { value: value.into(), if_version: None, ttl: None };
    StateWrite { key: StateKey { space, key: "note".into() }, change, quota: None }
}

async fn noted(store: &Arc<dyn Store>) -> Option<Vec<u8>> {
    store.state_get(&note("").key).await.unwrap().map(|found| found.value)
}

pub async fn a_turn_whose_lease_has_expired_is_not_ended_although_no_one_took_it(store: &Arc<dyn Store>) {
    let slow = start(store, admission(new_conversation(), "Slow")).await;
    expire(store, &slow).await;
    let late = Commit { jobs: vec![job("window")], ..reply(&slow, "Late") };
    assert_eq!(store.commit(late).await.unwrap(), Ending::LeaseLost);
    assert_eq!(store.interrupt(interruption(&slow, Some("L"))).await.unwrap(), Ending::LeaseLost);
    assert_eq!(store.fail(failure(&slow)).await.unwrap(), Ending::LeaseLost);

    let turn = store.turn(&ada(), slow.turn).await.unwrap().unwrap();
    assert_eq!((turn.status, turn.reply), (TurnStatus::Running, None));
    assert_eq!(contents(&transcript(store, slow.conversation).await), ["Slow"]);
    assert_eq!(store.counts().await.unwrap(), JobCounts::default());
    assert_eq!(store.recover(host()).await.unwrap(), 1);
    let next = start(store, admission(Target::Existing(slow.conversation), "Next")).await;
    assert_eq!(contents(&next.tail), ["Slow"]);
}

pub async fn a_turn_that_ended_before_its_lease_did_is_answered_again(store: &Arc<dyn Store>) {
    let started = start(store, Admission { lease: LONG, ..admission(new_conversation(), "Hello") }).await;
    let first = kept(store.commit(reply(&started, "Hi")).await);
    assert_eq!(store.heartbeat(host(), &[started.turn], OVER).await.unwrap().held, []);
    assert_eq!(kept(store.commit(reply(&started, "Hi")).await), first);
}

pub async fn a_turn_whose_lease_has_expired_writes_no_state(store: &Arc<dyn Store>) {
    let slow = start(store, admission(new_conversation(), "Slow")).await;
    expire(store, &slow).await;
    let fence = StateFence::Turn { turn: slow.turn, epoch: slow.epoch };
    let late = store.state_write(Some(fence), vec![note("late")]).await;
    assert_eq!(late.unwrap_err(), StoreError::FenceEnded);
    assert_eq!(noted(store).await, None);
}

pub async fn a_lease_that_has_expired_is_not_renewed(store: &Arc<dyn Store>) {
    let slow = start(store, admission(new_conversation(), "Slow")).await;
    expire(store, &slow).await;
    assert_eq!(store.heartbeat(host(), &[slow.turn], LONG).await.unwrap().held, []);
    start(store, admission(Target::Existing(slow.conversation), "Next")).await;

    let job = enqueue_job(store).await;
    take_job(store).await.unwrap();
    store.renew_jobs(host(), &[job], OVER).await.unwrap();
    store.renew_jobs(host(), &[job], LONG).await.unwrap();
    assert_eq!(take_job(store).await.map(|taken| taken.id), Some(job));
}

pub async fn a_job_whose_lease_has_expired_is_not_changed_although_no_one_took_it(store: &Arc<dyn Store>) {
    let job = enqueue_job(store).await;
    let slow = take_job(store).await.unwrap();
    store.renew_jobs(host(), &[job], OVER).await.unwrap();

    let late = JobCompletion::writing(vec![note("late")]);
    assert!(!store.complete(job, slow.epoch, late).await.unwrap());
    store.retry(job, slow.epoch, LONG, "late").await.unwrap();
    store.park(job, slow.epoch, "late").await.unwrap();
    store.release(job, slow.epoch).await.unwrap();
    let fence = StateFence::Job { job, epoch: slow.epoch };
    let written = store.state_write(Some(fence), vec![note("late")]).await;
    assert_eq!(written.unwrap_err(), StoreError::FenceEnded);

    assert_eq!(noted(store).await, None);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.running, counts.parked), (0, 1, 0));
    let again = take_job(store).await.unwrap();
    assert_eq!((again.id, again.attempt), (job, 2), "it was neither put off nor given back");
}
