//! Parked jobs, listed and put back by the command line while the store is open.

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::{SqliteStore, open_parked_jobs};

use super::raw_connection;

#[tokio::test]
async fn a_parked_job_is_listed_and_runs_before_later_jobs_when_it_is_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let parked = open_parked_jobs(folder.path()).await.unwrap();
    assert_eq!(parked.parked_jobs().await.unwrap(), []);
    let (first, second) = (enqueue_job(&store).await, enqueue_job(&store).await);
    let job = take_job(&store).await.unwrap();
    store.park(job.id, job.epoch, "no such plugin").await.unwrap();

    let listed = parked.parked_jobs().await.unwrap();
    assert_eq!((listed.len(), listed[0].id, listed[0].error.as_str()), (1, first, "no such plugin"));
    assert_eq!((listed[0].plugin.as_str(), listed[0].attempt, &listed[0].owner), ("window", 1, &ada()));
    assert!(!parked.retry_parked(second).await.unwrap(), "only a parked job can be put back");
    assert!(parked.retry_parked(first).await.unwrap());
    assert_eq!(parked.parked_jobs().await.unwrap(), []);

    let again = take_job(&store).await.unwrap();
    assert_eq!((again.id, again.attempt), (first, 1));
    assert_eq!(take_job(&store).await, None, "one job of a queue runs at a time");
    assert!(store.complete(again.id, again.epoch, JobCompletion::default()).await.unwrap());
    assert_eq!(take_job(&store).await.map(|job| job.id), Some(second));
}

#[tokio::test]
async fn a_job_that_is_put_back_waits_for_the_running_job_of_its_queue() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    let parked = open_parked_jobs(folder.path()).await.unwrap();
    let (first, second) = (enqueue_job(&store).await, enqueue_job(&store).await);
    let job = take_job(&store).await.unwrap();
    store.park(job.id, job.epoch, "broken").await.unwrap();
    let running = take_job(&store).await.unwrap();
    assert_eq!(running.id, second);

    assert!(parked.retry_parked(first).await.unwrap());
    assert_eq!(take_job(&store).await, None);
    assert!(store.complete(running.id, running.epoch, JobCompletion::default()).await.unwrap());
    assert_eq!(take_job(&store).await.map(|job| job.id), Some(first));
}

#[tokio::test]
async fn a_folder_without_a_database_is_refused_and_none_is_created() {
    let folder = tempfile::tempdir().unwrap();
    let error = open_parked_jobs(folder.path()).await.err().unwrap();
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "a file was created");
}

#[tokio::test]
async fn a_job_that_can_not_be_read_is_parked_with_its_error_and_blocks_no_job() {
    let changes = [
        ("UPDATE jobs SET kind = 'dream' WHERE id = ?1", "`dream`", "dream"),
        ("UPDATE jobs SET conversation = NULL WHERE id = ?1", "can't read", "observe"),
        ("UPDATE jobs SET turn = NULL WHERE id = ?1", "can't read", "observe"),
    ];
    for (change, reason, kind) in changes {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
        let (unreadable, behind) = (enqueue_job(&store).await, enqueue_job(&store).await);
        let started = start(&store, admission(new_conversation(), "Hello")).await;
        let other = job("card");
        kept(store.commit(Commit { jobs: vec![other.clone()], ..reply(&started, "Hi") }).await);
        let database = raw_connection::open(folder.path());
        assert_eq!(database.execute(change, [unreadable.as_uuid()]).unwrap(), 1);

        let taken = store.take(host(), LONG, JobLimits::total(8), None).await.unwrap().jobs;
        let mut ids: Vec<JobId> = taken.iter().map(|job| job.id).collect();
        ids.sort();
        assert_eq!(ids, [behind, other.id], "{change}");
        assert!(taken.iter().all(|job| job.attempt == 1));

        let parked = open_parked_jobs(folder.path()).await.unwrap().parked_jobs().await.unwrap();
        assert_eq!((parked.len(), parked[0].id, parked[0].kind.as_str()), (1, unreadable, kind));
        assert!(parked[0].error.contains(reason), "{}", parked[0].error);
    }
}
