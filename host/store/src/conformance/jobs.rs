//! Background jobs run in order and at least once, and a job that fails too often is parked.

use super::fixtures::*;

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
    take_as(store, host(), LONG).await
}

/// Takes one job at most.
async fn take_as(store: &Arc<dyn Store>, host: Uuid, lease: Duration) -> Option<JobRecord> {
    let mut taken = store.take(host, lease, JobLimits::total(1), None).await.unwrap().jobs;
    assert!(taken.len() <= 1);
    taken.pop()
}

fn note(value: &str, if_version: Option<u64>) -> StateWrite {
    let space =
        StateSpace { tenant: "default".into(), plugin: "window".into(), scope: StateScope::User(ada()) };
    let change = StateChange::Set { value: value.into(), if_version, ttl: None };
    StateWrite { key: StateKey { space, key: "note".into() }, change, quota: None }
}

async fn noted(store: &Arc<dyn Store>) -> Option<Vec<u8>> {
    store.state_get(&note("", None).key).await.unwrap().map(|found| found.value)
}

pub async fn a_job_is_taken_with_all_that_was_said_of_it(store: &Arc<dyn Store>) {
    let new = NewJob { ability: Ability::Reflect, ..job("card") };
    let started = enqueue(store, ada(), std::slice::from_ref(&new)).await;
    let taken = take(store).await.unwrap();
    assert_eq!(
        (taken.id, taken.plugin, taken.ability, taken.payload),
        (new.id, new.plugin, new.ability, new.payload)
    );
    assert_eq!((taken.owner, taken.conversation, taken.turn), (ada(), started.conversation, started.turn));
    assert_eq!(taken.attempt, 1);
    assert_eq!(take(store).await, None, "it is leased");
}

pub async fn jobs_of_an_owner_and_plugin_run_one_after_the_other_in_order(store: &Arc<dyn Store>) {
    let jobs = [job("window"), job("window"), job("window")];
    enqueue(store, ada(), &jobs[..2]).await;
    enqueue(store, ada(), &jobs[2..]).await;
    for expected in &jobs {
        let taken = take(store).await.unwrap();
        assert_eq!(taken.id, expected.id);
        assert_eq!(take(store).await, None, "the next waits for this one");
        assert!(store.complete(taken.id, taken.epoch, JobCompletion::default()).await.unwrap());
    }
    assert_eq!(take(store).await, None);
}

pub async fn queues_of_other_owners_and_plugins_do_not_wait(store: &Arc<dyn Store>) {
    enqueue(store, ada(), &[job("window"), job("card")]).await;
    enqueue(store, owner("eve"), &[job("window")]).await;
    let mut taken = Vec::new();
    while let Some(job) = take(store).await {
        taken.push((job.owner.subject, job.plugin));
    }
    taken.sort();
    assert_eq!(
        taken,
        [("ada".into(), "card".into()), ("ada".into(), "window".into()), ("eve".into(), "window".into())]
    );
}

pub async fn a_job_to_be_retried_stays_first_and_counts_its_attempts(store: &Arc<dyn Store>) {
    enqueue(store, ada(), &[job("window"), job("window")]).await;
    let first = take(store).await.unwrap();
    store.retry(first.id, first.epoch, LONG, "away").await.unwrap();
    assert_eq!(take(store).await, None, "it is not due, and the next waits for it");
    let due = next_due(store).await.unwrap();
    assert!(due <= LONG && due > LONG / 2, "{due:?}");

    store.retry(first.id, first.epoch, OVER, "away").await.unwrap();
    assert_eq!(take(store).await, None, "a retry with a lease that is given back changes nothing");
}

pub async fn a_retried_job_comes_again_with_another_epoch(store: &Arc<dyn Store>) {
    enqueue(store, ada(), &[job("window"), job("window")]).await;
    let first = take(store).await.unwrap();
    store.retry(first.id, first.epoch, OVER, "away").await.unwrap();
    assert_eq!(next_due(store).await, Some(Duration::ZERO));
    let again = take(store).await.unwrap();
    assert_eq!((again.id, again.attempt), (first.id, 2));
    assert!(again.epoch > first.epoch);
    assert!(
        !store
            .complete(first.id, first.epoch, JobCompletion::writing(vec![note("stale", None)]))
            .await
            .unwrap()
    );
    assert_eq!(noted(store).await, None);
}

pub async fn a_parked_job_does_not_block_its_queue_and_is_counted(store: &Arc<dyn Store>) {
    let jobs = [job("window"), job("window")];
    enqueue(store, ada(), &jobs).await;
    let first = take(store).await.unwrap();
    store.park(first.id, first.epoch, "it never works").await.unwrap();
    let second = take(store).await.unwrap();
    assert_eq!(second.id, jobs[1].id);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.running, counts.parked), (0, 1, 1));
    store.complete(second.id, second.epoch, JobCompletion::default()).await.unwrap();
    assert_eq!(next_due(store).await, None, "a parked job is never due");
    // A queue that holds only a parked job takes new jobs as an empty queue does.
    enqueue(store, ada(), &[job("window")]).await;
    assert!(take(store).await.is_some());
}

pub async fn completing_applies_the_jobs_state_with_it_or_not_at_all(store: &Arc<dyn Store>) {
    enqueue(store, ada(), &[job("window")]).await;
    let taken = take(store).await.unwrap();
    let misfit = vec![note("first", None), note("second", Some(99))];
    match store.complete(taken.id, taken.epoch, JobCompletion::writing(misfit)).await {
        Err(StoreError::Conflict(conflict)) => assert_eq!(conflict.index, 1),
        other => panic!("{other:?}"),
    }
    assert_eq!(noted(store).await, None);
    assert_eq!(store.counts().await.unwrap().running, 1, "the job is still leased");
    assert!(
        store
            .complete(taken.id, taken.epoch, JobCompletion::writing(vec![note("done", Some(0))]))
            .await
            .unwrap()
    );
    assert_eq!(noted(store).await.as_deref(), Some(b"done".as_slice()));
    assert!(
        !store
            .complete(taken.id, taken.epoch, JobCompletion::writing(vec![note("twice", None)]))
            .await
            .unwrap()
    );
    assert_eq!(noted(store).await.as_deref(), Some(b"done".as_slice()));
}

pub async fn a_lease_that_ran_out_goes_to_the_next_taker_and_the_first_changes_nothing(
    store: &Arc<dyn Store>,
) {
    enqueue(store, ada(), &[job("window")]).await;
    let slow = take_as(store, host(), OVER).await.unwrap();
    let next = take_as(store, Uuid::from_u128(2), LONG).await.unwrap();
    assert_eq!((next.id, next.attempt), (slow.id, 2));
    assert!(
        !store.complete(slow.id, slow.epoch, JobCompletion::writing(vec![note("late", None)])).await.unwrap()
    );
    store.park(slow.id, slow.epoch, "late").await.unwrap();
    store.retry(slow.id, slow.epoch, OVER, "late").await.unwrap();
    assert_eq!(noted(store).await, None);
    assert_eq!(take(store).await, None);
    assert!(store.complete(next.id, next.epoch, JobCompletion::default()).await.unwrap());
}

pub async fn renewing_extends_the_leases_of_the_named_jobs_of_one_host(store: &Arc<dyn Store>) {
    enqueue(store, ada(), &[job("window"), job("card"), job("diary")]).await;
    let [mine, other, forgotten] = [host(), other_host(), host()];
    let mine = take_as(store, mine, LONG / 10).await.unwrap();
    let other = take_as(store, other, LONG / 10).await.unwrap();
    let forgotten = take_as(store, forgotten, LONG / 10).await.unwrap();
    store.renew_jobs(host(), &[mine.id, other.id], LONG).await.unwrap();
    // With a lease that is over, what is renewed is due.
    for (renewed_by, job, is_due) in
        [(other_host(), &mine, false), (host(), &other, false), (host(), &forgotten, true)]
    {
        store.renew_jobs(renewed_by, &[job.id], OVER).await.unwrap();
        assert_eq!(take(store).await.map(|taken| taken.id), is_due.then_some(job.id));
    }
    let due = next_due(store).await.unwrap();
    assert!(due <= LONG / 10, "the other host's lease was not renewed: {due:?}");
    store.renew_jobs(other_host(), &[other.id], LONG).await.unwrap();
    let due = next_due(store).await.unwrap();
    assert!(due > LONG / 2, "that of this host was: {due:?}");
}

pub async fn a_job_that_is_released_is_due_at_once_and_was_not_tried(store: &Arc<dyn Store>) {
    enqueue(store, ada(), &[job("window")]).await;
    let taken = take(store).await.unwrap();
    store.release(taken.id, taken.epoch - 1).await.unwrap();
    assert_eq!(take(store).await, None, "by whoever has its lease alone");
    store.release(taken.id, taken.epoch).await.unwrap();
    let again = take(store).await.unwrap();
    assert_eq!((again.id, again.attempt), (taken.id, 1));
    assert!(!store.complete(taken.id, taken.epoch, JobCompletion::default()).await.unwrap());
}

pub async fn recovery_gives_the_jobs_of_lost_hosts_back(store: &Arc<dyn Store>) {
    enqueue(store, ada(), &[job("window"), job("card")]).await;
    let mine = take(store).await.unwrap();
    let lost = take_as(store, Uuid::from_u128(2), LONG).await.unwrap();
    leave(store, Uuid::from_u128(2)).await;
    store.recover(host()).await.unwrap();
    let again = take(store).await.unwrap();
    assert_eq!((again.id, again.attempt), (lost.id, 2));
    assert!(store.complete(mine.id, mine.epoch, JobCompletion::default()).await.unwrap());
}

pub async fn deleting_a_conversation_frees_the_queues_of_its_jobs(store: &Arc<dyn Store>) {
    let first = enqueue(store, ada(), &[job("window")]).await;
    let second = job("window");
    enqueue(store, ada(), std::slice::from_ref(&second)).await;
    let running = take(store).await.unwrap();
    assert!(store.delete(&ada(), first.conversation).await.unwrap());
    assert!(
        !store
            .complete(running.id, running.epoch, JobCompletion::writing(vec![note("late", None)]))
            .await
            .unwrap()
    );
    assert_eq!(noted(store).await, None);
    assert_eq!(take(store).await.map(|job| job.id), Some(second.id));
}

pub async fn nothing_is_due_where_there_are_no_jobs(store: &Arc<dyn Store>) {
    assert_eq!(next_due(store).await, None);
    exchange(store, Target::Existing(empty(store).await), "Hello", "Hi").await;
    assert_eq!(next_due(store).await, None);
}

pub async fn several_jobs_are_taken_at_once_and_one_of_each_queue(store: &Arc<dyn Store>) {
    let jobs = [job("window"), job("window"), job("card")];
    enqueue(store, ada(), &jobs).await;
    let eve = job("window");
    enqueue(store, owner("eve"), std::slice::from_ref(&eve)).await;
    assert_eq!(store.take(host(), LONG, JobLimits::total(0), None).await.unwrap().jobs, []);

    let taken = store.take(host(), LONG, JobLimits::total(2), None).await.unwrap().jobs;
    let ids = |taken: &[JobRecord]| taken.iter().map(|job| job.id).collect::<Vec<_>>();
    assert_eq!(ids(&taken), [jobs[0].id, jobs[2].id], "those that waited longest come first");
    assert_eq!(ids(&store.take(host(), LONG, JobLimits::total(8), None).await.unwrap().jobs), [eve.id]);
    assert_eq!(store.take(host(), LONG, JobLimits::total(8), None).await.unwrap().jobs, []);

    assert!(store.complete(taken[0].id, taken[0].epoch, JobCompletion::default()).await.unwrap());
    assert_eq!(ids(&store.take(host(), LONG, JobLimits::total(8), None).await.unwrap().jobs), [jobs[1].id]);
}

pub async fn neither_a_plugin_nor_a_user_takes_every_place(store: &Arc<dyn Store>) {
    for user in ["ada", "ben", "cleo"] {
        enqueue(store, owner(user), &[job("slow")]).await;
    }
    enqueue(store, owner("ada"), &[job("card")]).await;
    enqueue(store, owner("dora"), &[job("card")]).await;
    let limits = JobLimits { total: 8, per_user: 1, per_plugin: 2 };
    let taken = store.take(host(), LONG, limits, None).await.unwrap();
    let named = |jobs: &[JobRecord]| {
        jobs.iter().map(|job| (job.owner.subject.clone(), job.plugin.clone())).collect::<Vec<_>>()
    };
    let expected = [("ada", "slow"), ("dora", "card"), ("ben", "slow")].map(|(a, b)| (a.into(), b.into()));
    assert_eq!(named(&taken.jobs), expected, "plugins take turns, and each is within its limits");
    let next_due = taken.next_due.unwrap();
    assert!(next_due > LONG / 2, "what is left waits for one of these to end: {next_due:?}");

    // What runs counts in later calls.
    assert_eq!(store.take(host(), LONG, limits, None).await.unwrap().jobs, []);
    let other_host =
        store.take(Uuid::from_u128(2), LONG, JobLimits { total: 1, ..limits }, None).await.unwrap();
    assert_eq!(other_host.jobs.len(), 1, "each host has places of its own");
    assert_eq!(other_host.next_due, Some(Duration::ZERO), "one more is due and was not asked for");
    store.retry(other_host.jobs[0].id, other_host.jobs[0].epoch, OVER, "away").await.unwrap();

    let first = &taken.jobs[0];
    assert!(store.complete(first.id, first.epoch, JobCompletion::default()).await.unwrap());
    let freed = store.take(host(), LONG, limits, None).await.unwrap();
    let mut freed = named(&freed.jobs);
    freed.sort();
    assert_eq!(freed, [("ada".into(), "card".into()), ("cleo".into(), "slow".into())]);
}

pub async fn users_whose_jobs_failed_come_after_those_who_wait_for_the_same_plugin(store: &Arc<dyn Store>) {
    for user in ["ada", "ben", "cleo", "dora"] {
        enqueue(store, owner(user), &[job("slow")]).await;
    }
    let limits = JobLimits { total: 2, per_user: 1, per_plugin: 2 };
    let first = store.take(host(), LONG, limits, None).await.unwrap().jobs;
    for job in &first {
        store.retry(job.id, job.epoch, Duration::from_millis(1), "the model does not answer").await.unwrap();
    }
    let second = store.take(host(), LONG, limits, None).await.unwrap().jobs;
    let users = |jobs: &[JobRecord]| jobs.iter().map(|job| job.owner.subject.clone()).collect::<Vec<_>>();
    assert_eq!(users(&first), ["ada", "ben"]);
    assert_eq!(users(&second), ["cleo", "dora"]);
}

pub async fn many_due_jobs_of_one_plugin_do_not_hide_those_of_another(store: &Arc<dyn Store>) {
    for user in 0..20 {
        enqueue(store, owner(&user.to_string()), &[job("slow")]).await;
    }
    enqueue(store, ada(), &[job("card")]).await;
    let limits = JobLimits { total: 4, per_user: 2, per_plugin: 2 };
    let plugins: Vec<_> = store
        .take(host(), LONG, limits, None)
        .await
        .unwrap()
        .jobs
        .into_iter()
        .map(|job| job.plugin)
        .collect();
    assert_eq!(plugins, ["slow", "card", "slow"]);
}

pub async fn the_age_of_the_oldest_job_is_counted_until_it_is_done_or_parked(store: &Arc<dyn Store>) {
    assert_eq!(store.counts().await.unwrap().oldest, None);
    enqueue(store, ada(), &[job("window"), job("card")]).await;
    assert!(store.counts().await.unwrap().oldest.is_some());
    for _ in 0..2 {
        let taken = take(store).await.unwrap();
        assert!(store.counts().await.unwrap().oldest.is_some(), "one that runs is not done");
        match taken.plugin.as_str() {
            "card" => store.park(taken.id, taken.epoch, "it never works").await.unwrap(),
            _ => assert!(store.complete(taken.id, taken.epoch, JobCompletion::default()).await.unwrap()),
        }
    }
    assert_eq!(store.counts().await.unwrap().oldest, None);
}
