//! Background work: in order, at least once, given up in the end.

use super::*;

/// Enqueues jobs with an exchange in a conversation of its own.
async fn enqueue(store: &Arc<dyn Store>, owner: Owner, jobs: &[NewJob]) -> Started {
    let started =
        start(store, Admission { owner: owner.clone(), ..admission(new_conversation(), "Hello") }).await;
    let mut commit = reply(&started, "Hi");
    commit.owner = owner;
    commit.jobs = jobs.to_vec();
    kept(store.commit(commit).await);
    started
}

async fn take(store: &Arc<dyn Store>) -> Option<JobRecord> {
    store.take(host(), LONG).await.unwrap()
}

fn note(value: &str, if_version: Option<u64>) -> StateWrite {
    let space =
        StateSpace { tenant: "default".into(), plugin: "window".into(), scope: StateScope::User(ada()) };
    let change = StateChange::Set { value: value.into(), if_version, ttl: None };
    StateWrite { key: StateKey { space, key: "note".into() }, change }
}

async fn noted(store: &Arc<dyn Store>) -> Option<Vec<u8>> {
    store.state_get(&note("", None).key).await.unwrap().map(|found| found.value)
}

#[tokio::test]
async fn a_job_is_taken_with_all_that_was_said_of_it() {
    let room = crate::open().await;
    let new = NewJob { ability: Ability::Reflect, ..job("card") };
    let started = enqueue(&room.store, ada(), std::slice::from_ref(&new)).await;
    let taken = take(&room.store).await.unwrap();
    assert_eq!(
        (taken.id, taken.plugin, taken.ability, taken.payload),
        (new.id, new.plugin, new.ability, new.payload)
    );
    assert_eq!((taken.owner, taken.conversation, taken.turn), (ada(), started.conversation, started.turn));
    assert_eq!(taken.attempt, 1);
    assert_eq!(take(&room.store).await, None, "it is leased");
}

#[tokio::test]
async fn jobs_of_an_owner_and_plugin_run_one_after_the_other_in_order() {
    let room = crate::open().await;
    let jobs = [job("window"), job("window"), job("window")];
    enqueue(&room.store, ada(), &jobs[..2]).await;
    enqueue(&room.store, ada(), &jobs[2..]).await;
    for expected in &jobs {
        let taken = take(&room.store).await.unwrap();
        assert_eq!(taken.id, expected.id);
        assert_eq!(take(&room.store).await, None, "the next waits for this one");
        assert!(room.store.complete(taken.id, taken.epoch, Vec::new()).await.unwrap());
    }
    assert_eq!(take(&room.store).await, None);
}

#[tokio::test]
async fn lines_of_other_owners_and_plugins_do_not_wait() {
    let room = crate::open().await;
    enqueue(&room.store, ada(), &[job("window"), job("card")]).await;
    enqueue(&room.store, owner("eve"), &[job("window")]).await;
    let mut taken = Vec::new();
    while let Some(job) = take(&room.store).await {
        taken.push((job.owner.subject, job.plugin));
    }
    taken.sort();
    assert_eq!(
        taken,
        [("ada".into(), "card".into()), ("ada".into(), "window".into()), ("eve".into(), "window".into())]
    );
}

#[tokio::test]
async fn a_job_to_be_retried_stays_first_and_counts_its_attempts() {
    let room = crate::open().await;
    enqueue(&room.store, ada(), &[job("window"), job("window")]).await;
    let first = take(&room.store).await.unwrap();
    room.store.retry(first.id, first.epoch, LONG, "away").await.unwrap();
    assert_eq!(take(&room.store).await, None, "it is not due, and the next waits for it");
    let due = room.store.next_due().await.unwrap().unwrap();
    assert!(due <= LONG && due > LONG / 2, "{due:?}");

    room.store.retry(first.id, first.epoch, OVER, "away").await.unwrap();
    assert_eq!(take(&room.store).await, None, "a retry with a lease that is given back changes nothing");
}

#[tokio::test]
async fn a_retried_job_comes_again_with_another_epoch() {
    let room = crate::open().await;
    enqueue(&room.store, ada(), &[job("window"), job("window")]).await;
    let first = take(&room.store).await.unwrap();
    room.store.retry(first.id, first.epoch, OVER, "away").await.unwrap();
    assert_eq!(room.store.next_due().await.unwrap(), Some(Duration::ZERO));
    let again = take(&room.store).await.unwrap();
    assert_eq!((again.id, again.attempt), (first.id, 2));
    assert!(again.epoch > first.epoch);
    assert!(!room.store.complete(first.id, first.epoch, vec![note("stale", None)]).await.unwrap());
    assert_eq!(noted(&room.store).await, None);
}

#[tokio::test]
async fn a_parked_job_holds_up_no_one_and_is_counted() {
    let room = crate::open().await;
    let jobs = [job("window"), job("window")];
    enqueue(&room.store, ada(), &jobs).await;
    let first = take(&room.store).await.unwrap();
    room.store.park(first.id, first.epoch, "it never works").await.unwrap();
    let second = take(&room.store).await.unwrap();
    assert_eq!(second.id, jobs[1].id);
    let counts = room.store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.running, counts.parked), (0, 1, 1));
    room.store.complete(second.id, second.epoch, Vec::new()).await.unwrap();
    assert_eq!(room.store.next_due().await.unwrap(), None, "a parked job is never due");
    // A line with a parked job takes new ones as an empty line does.
    enqueue(&room.store, ada(), &[job("window")]).await;
    assert!(take(&room.store).await.is_some());
}

#[tokio::test]
async fn completing_applies_the_jobs_state_with_it_or_not_at_all() {
    let room = crate::open().await;
    enqueue(&room.store, ada(), &[job("window")]).await;
    let taken = take(&room.store).await.unwrap();
    let misfit = vec![note("first", None), note("second", Some(99))];
    match room.store.complete(taken.id, taken.epoch, misfit).await {
        Err(StoreError::Conflict(conflict)) => assert_eq!(conflict.index, 1),
        other => panic!("{other:?}"),
    }
    assert_eq!(noted(&room.store).await, None);
    assert_eq!(room.store.counts().await.unwrap().running, 1, "the job is still leased");
    assert!(room.store.complete(taken.id, taken.epoch, vec![note("done", Some(0))]).await.unwrap());
    assert_eq!(noted(&room.store).await.as_deref(), Some(b"done".as_slice()));
    assert!(!room.store.complete(taken.id, taken.epoch, vec![note("twice", None)]).await.unwrap());
    assert_eq!(noted(&room.store).await.as_deref(), Some(b"done".as_slice()));
}

#[tokio::test]
async fn a_lease_that_ran_out_goes_to_the_next_taker_and_the_first_changes_nothing() {
    let room = crate::open().await;
    enqueue(&room.store, ada(), &[job("window")]).await;
    let slow = room.store.take(host(), OVER).await.unwrap().unwrap();
    let next = room.store.take(Uuid::from_u128(2), LONG).await.unwrap().unwrap();
    assert_eq!((next.id, next.attempt), (slow.id, 2));
    assert!(!room.store.complete(slow.id, slow.epoch, vec![note("late", None)]).await.unwrap());
    room.store.park(slow.id, slow.epoch, "late").await.unwrap();
    room.store.retry(slow.id, slow.epoch, OVER, "late").await.unwrap();
    assert_eq!(noted(&room.store).await, None);
    assert_eq!(take(&room.store).await, None);
    assert!(room.store.complete(next.id, next.epoch, Vec::new()).await.unwrap());
}

#[tokio::test]
async fn renewing_extends_the_leases_of_the_named_jobs_of_one_host() {
    let room = crate::open().await;
    enqueue(&room.store, ada(), &[job("window"), job("card")]).await;
    let mine = room.store.take(host(), OVER).await.unwrap().unwrap();
    room.store.renew_jobs(host(), &[mine.id], LONG).await.unwrap();
    let other = room.store.take(Uuid::from_u128(2), OVER).await.unwrap().unwrap();
    room.store.renew_jobs(host(), &[mine.id, other.id], LONG).await.unwrap();
    let again = room.store.take(host(), OVER).await.unwrap().unwrap();
    assert_eq!(again.id, other.id, "the other host's is not renewed");
    room.store.renew_jobs(host(), &[mine.id], LONG).await.unwrap();
    assert_eq!(take(&room.store).await.map(|job| job.id), Some(other.id), "nor is one that is not named");
}

#[tokio::test]
async fn a_job_that_is_released_is_due_at_once_and_was_not_tried() {
    let room = crate::open().await;
    enqueue(&room.store, ada(), &[job("window")]).await;
    let taken = take(&room.store).await.unwrap();
    room.store.release(taken.id, taken.epoch - 1).await.unwrap();
    assert_eq!(take(&room.store).await, None, "by whoever has its lease alone");
    room.store.release(taken.id, taken.epoch).await.unwrap();
    let again = take(&room.store).await.unwrap();
    assert_eq!((again.id, again.attempt), (taken.id, 1));
    assert!(!room.store.complete(taken.id, taken.epoch, Vec::new()).await.unwrap());
}

#[tokio::test]
async fn recovery_gives_the_jobs_of_lost_hosts_back() {
    let room = crate::open().await;
    enqueue(&room.store, ada(), &[job("window"), job("card")]).await;
    let mine = take(&room.store).await.unwrap();
    let lost = room.store.take(Uuid::from_u128(2), LONG).await.unwrap().unwrap();
    room.store.recover(host()).await.unwrap();
    let again = take(&room.store).await.unwrap();
    assert_eq!((again.id, again.attempt), (lost.id, 2));
    assert!(room.store.complete(mine.id, mine.epoch, Vec::new()).await.unwrap());
}

#[tokio::test]
async fn deleting_a_conversation_frees_the_lines_its_jobs_stood_in() {
    let room = crate::open().await;
    let first = enqueue(&room.store, ada(), &[job("window")]).await;
    let second = job("window");
    enqueue(&room.store, ada(), std::slice::from_ref(&second)).await;
    let running = take(&room.store).await.unwrap();
    assert!(room.store.delete(&ada(), first.conversation).await.unwrap());
    assert!(!room.store.complete(running.id, running.epoch, vec![note("late", None)]).await.unwrap());
    assert_eq!(noted(&room.store).await, None);
    assert_eq!(take(&room.store).await.map(|job| job.id), Some(second.id));
}

#[tokio::test]
async fn nothing_is_due_where_there_are_no_jobs() {
    let room = crate::open().await;
    assert_eq!(room.store.next_due().await.unwrap(), None);
    exchange(&room.store, Target::Existing(empty(&room.store).await), "Hello", "Hi").await;
    assert_eq!(room.store.next_due().await.unwrap(), None);
}
