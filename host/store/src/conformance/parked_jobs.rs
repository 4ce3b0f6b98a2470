//! Parked jobs are listed and can be put back into their queue.

use super::fixtures::*;

pub async fn a_parked_job_is_listed_and_comes_back_before_all_that_came_after_it(store: &Arc<dyn Store>) {
    assert_eq!(store.parked_jobs().await.unwrap(), []);
    let (first, second) = (enqueue_job(store).await, enqueue_job(store).await);
    let job = take_job(store).await.unwrap();
    store.park(job.id, job.epoch, "no such plugin").await.unwrap();

    let listed = store.parked_jobs().await.unwrap();
    assert_eq!((listed.len(), listed[0].id, listed[0].error.as_str()), (1, first, "no such plugin"));
    assert_eq!((listed[0].plugin.as_str(), listed[0].attempt, &listed[0].owner), ("window", 1, &ada()));
    assert!(!store.retry_parked(second).await.unwrap(), "only a parked one can be put back");
    assert!(store.retry_parked(first).await.unwrap());
    assert_eq!(store.parked_jobs().await.unwrap(), []);

    let again = take_job(store).await.unwrap();
    assert_eq!((again.id, again.attempt), (first, 1));
    assert_eq!(take_job(store).await, None, "one of a queue runs at a time");
    assert!(store.complete(again.id, again.epoch, JobCompletion::default()).await.unwrap());
    assert_eq!(take_job(store).await.map(|job| job.id), Some(second));
}

pub async fn a_job_that_is_put_back_waits_for_the_one_that_runs(store: &Arc<dyn Store>) {
    let (first, second) = (enqueue_job(store).await, enqueue_job(store).await);
    let job = take_job(store).await.unwrap();
    store.park(job.id, job.epoch, "broken").await.unwrap();
    let running = take_job(store).await.unwrap();
    assert_eq!(running.id, second);

    assert!(store.retry_parked(first).await.unwrap());
    assert_eq!(take_job(store).await, None);
    assert!(store.complete(running.id, running.epoch, JobCompletion::default()).await.unwrap());
    assert_eq!(take_job(store).await.map(|job| job.id), Some(first));
}

pub async fn a_parked_job_goes_with_its_conversation(store: &Arc<dyn Store>) {
    let first = enqueue_job(store).await;
    let job = take_job(store).await.unwrap();
    store.park(job.id, job.epoch, "broken").await.unwrap();
    assert!(store.delete(&ada(), job.conversation).await.unwrap());
    assert_eq!(store.parked_jobs().await.unwrap(), []);
    assert!(!store.retry_parked(first).await.unwrap());
    assert_eq!(store.counts().await.unwrap(), JobCounts::default());
}

pub async fn parked_jobs_are_removed_by_age_and_no_other_job_is(store: &Arc<dyn Store>) {
    let first = start(store, admission(new_conversation(), "Hello")).await;
    // Three plugins, so that all can be taken at once: one is parked, one runs, one waits to be tried again.
    let jobs: Vec<NewJob> = ["card", "diary", "window"].map(job).into();
    kept(store.commit(Commit { jobs, ..reply(&first, "Hi") }).await);
    let taken = store.take(host(), LONG, JobLimits::total(3), None).await.unwrap().jobs;
    assert_eq!(taken.len(), 3);
    store.park(taken[0].id, taken[0].epoch, "broken").await.unwrap();
    store.retry(taken[1].id, taken[1].epoch, LONG, "later").await.unwrap();

    assert_eq!(store.forget_parked(LONG).await.unwrap(), 0);
    assert_eq!(store.parked_jobs().await.unwrap().len(), 1);
    assert_eq!(store.forget_parked(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(store.forget_parked(Duration::ZERO).await.unwrap(), 0);
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.queued, counts.running, counts.parked), (1, 1, 0));
    assert!(!store.retry_parked(taken[0].id).await.unwrap(), "it is gone");
}

pub async fn a_job_that_was_put_back_is_not_removed_by_the_age_of_its_parking(store: &Arc<dyn Store>) {
    let id = enqueue_job(store).await;
    let job = take_job(store).await.unwrap();
    store.park(job.id, job.epoch, "broken").await.unwrap();
    assert!(store.retry_parked(id).await.unwrap());
    assert_eq!(store.forget_parked(Duration::ZERO).await.unwrap(), 0);
    assert_eq!(take_job(store).await.map(|job| job.id), Some(id));
}

pub async fn a_job_that_ended_its_host_twice_is_parked_and_the_next_one_runs(store: &Arc<dyn Store>) {
    let (first, second) = (enqueue_job(store).await, enqueue_job(store).await);
    // Each host ends while it runs the job, and the next one recovers.
    let lose_host = async |number| {
        let taken = store.take(Uuid::from_u128(number), LONG, JobLimits::total(1), None).await.unwrap().jobs;
        leave(store, Uuid::from_u128(number)).await;
        store.recover(Uuid::from_u128(number + 1)).await.unwrap();
        taken[0].id
    };
    assert_eq!(lose_host(10).await, first);
    assert_eq!(store.parked_jobs().await.unwrap(), [], "a host may end for other reasons");
    assert_eq!(lose_host(11).await, first);
    let parked = store.parked_jobs().await.unwrap();
    assert_eq!((parked.len(), parked[0].id), (1, first));
    assert!(parked[0].error.contains("ended 2 times"), "{}", parked[0].error);
    let next = take_job(store).await.unwrap();
    assert_eq!(next.id, second);
    assert!(store.complete(next.id, next.epoch, JobCompletion::default()).await.unwrap());

    // Who puts it back gives it both chances again.
    assert!(store.retry_parked(first).await.unwrap());
    assert_eq!(lose_host(12).await, first);
    assert_eq!(take_job(store).await.map(|job| job.id), Some(first));
}

pub async fn a_job_that_ended_its_host_twice_is_parked_although_no_one_recovers(store: &Arc<dyn Store>) {
    let (first, second) = (enqueue_job(store).await, enqueue_job(store).await);
    // The lease of each host ends, and the next one takes the job before it looks for hosts that are gone.
    let take_as = async |number| {
        let taken = store.take(Uuid::from_u128(number), OVER, JobLimits::total(1), None).await.unwrap().jobs;
        taken.first().map(|job| job.id)
    };
    assert_eq!(take_as(10).await, Some(first));
    assert_eq!(take_as(11).await, Some(first), "a host may end for other reasons");
    assert_eq!(store.parked_jobs().await.unwrap(), []);
    assert_eq!(take_as(12).await, Some(second), "the job behind it runs");
    let parked = store.parked_jobs().await.unwrap();
    assert_eq!((parked.len(), parked[0].id, parked[0].attempt), (1, first, 2));
    assert!(parked[0].error.contains("ended 2 times"), "{}", parked[0].error);
}

pub async fn the_end_of_a_host_counts_once_whoever_finds_it(store: &Arc<dyn Store>) {
    let job = enqueue_job(store).await;
    let take_as = async |number| {
        let taken = store.take(Uuid::from_u128(number), OVER, JobLimits::total(1), None).await.unwrap().jobs;
        taken.first().map(|job| job.id)
    };
    assert_eq!(take_as(10).await, Some(job));
    store.recover(Uuid::from_u128(11)).await.unwrap();
    assert_eq!(take_as(11).await, Some(job), "counted by the recovery");
    assert_eq!(store.parked_jobs().await.unwrap(), []);
    store.recover(Uuid::from_u128(12)).await.unwrap();
    assert_eq!(take_as(12).await, None);
    assert_eq!(store.parked_jobs().await.unwrap().len(), 1);
}

pub async fn a_host_that_takes_its_own_job_again_has_not_ended(store: &Arc<dyn Store>) {
    let job = enqueue_job(store).await;
    for attempt in 1..=5 {
        let taken = store.take(host(), OVER, JobLimits::total(1), None).await.unwrap().jobs.remove(0);
        assert_eq!((taken.id, taken.attempt), (job, attempt));
    }
    assert_eq!(store.parked_jobs().await.unwrap(), []);
}
