//! Several hosts on one database, each with a pool of its own.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use masque_store::conformance::fixtures::{
    LONG, OVER, admission, admit, empty, enqueue_job, exchange, job, kept, leave, new_conversation, reply,
    start, transcript,
};
use masque_store::{
    Admission, AdmissionOutcome, Commit, ConversationId, JobCompletion, JobId, JobLimits, Store, Target,
    TurnStatus, Waiting,
};
use masque_store_postgres::PostgresStore;
use masque_store_postgres::testing::{TestDatabase, TestServer};
use uuid::Uuid;

/// Two hosts on one database.
pub(crate) async fn two() -> ([Arc<dyn Store>; 2], TestDatabase) {
    let database = TestServer::shared().migrated_database().await;
    let mut options = database.options();
    options.max_connections = 6;
    let first: Arc<dyn Store> = PostgresStore::open(&options).await.unwrap();
    let second: Arc<dyn Store> = PostgresStore::open(&options).await.unwrap();
    ([first, second], database)
}

pub(crate) fn host(number: usize) -> Uuid {
    Uuid::from_u128(100 + number as u128)
}

/// Takes turns in a conversation until one starts, and commits it with a job.
async fn exchange_when_free(store: Arc<dyn Store>, number: usize, id: ConversationId, job_id: JobId) {
    loop {
        let admission =
            Admission { host: host(number % 2), ..admission(Target::Existing(id), &format!("q{number}")) };
        match admit(&store, admission).await {
            AdmissionOutcome::Started(started) => {
                let mut new = job("window");
                new.id = job_id;
                kept(
                    store.commit(Commit { jobs: vec![new], ..reply(&started, &format!("a{number}")) }).await,
                );
                return;
            }
            AdmissionOutcome::Busy { .. } => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_of_a_conversation_are_serialized_over_all_hosts() {
    let (stores, _database) = two().await;
    let id = empty(&stores[0]).await;
    let turns = (0..40).map(|number| {
        tokio::spawn(exchange_when_free(Arc::clone(&stores[number % 2]), number, id, JobId::new()))
    });
    for turn in join_all(turns).await {
        turn.unwrap();
    }
    let messages = transcript(&stores[0], id).await;
    let sequences: Vec<i64> = messages.iter().map(|message| message.sequence).collect();
    assert_eq!(sequences, (1..=80).collect::<Vec<_>>());
    for pair in messages.chunks(2) {
        assert_eq!((pair[0].turn, &pair[0].content[1..]), (pair[1].turn, &pair[1].content[1..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_that_find_a_queue_empty_at_the_same_time_make_one_head_and_lose_no_job() {
    let (stores, database) = two().await;
    let ids: Vec<JobId> = (0..48).map(|_| JobId::new()).collect();
    let enqueue = join_all(ids.iter().enumerate().map(|(number, id)| {
        let (store, id) = (Arc::clone(&stores[number % 2]), *id);
        tokio::spawn(async move {
            let started = start(&store, admission(new_conversation(), "Hello")).await;
            let mut new = job("window");
            new.id = id;
            kept(store.commit(Commit { jobs: vec![new], ..reply(&started, "Hi") }).await);
        })
    }));
    // Both hosts empty the queue meanwhile, so that it has no head again and again.
    let drain = join_all((0..2).map(|number| {
        let store = Arc::clone(&stores[number]);
        tokio::spawn(async move {
            let mut done = Vec::new();
            let mut idle = 0;
            while idle < 200 {
                let taken = store.take(host(number), LONG, JobLimits::total(4), None).await.unwrap().jobs;
                idle = if taken.is_empty() { idle + 1 } else { 0 };
                assert!(taken.len() <= 1, "one job of a queue runs at a time");
                for job in taken {
                    assert!(store.complete(job.id, job.epoch, JobCompletion::default()).await.unwrap());
                    done.push(job.id);
                }
            }
            done
        })
    }));
    let (enqueued, done) = tokio::join!(enqueue, drain);
    enqueued.into_iter().for_each(|ended| ended.unwrap());
    let mut done: Vec<JobId> = done.into_iter().flat_map(|done| done.unwrap()).collect();
    done.sort_unstable();
    assert_eq!(done, ids, "each job was done once");
    let left = TestServer::shared().psql(&database.name, "SELECT count(*) FROM jobs");
    assert_eq!(left, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_with_one_key_to_two_hosts_start_one_turn() {
    let (stores, _database) = two().await;
    // Otherwise the first request makes the user, and the others wait for that alone.
    empty(&stores[0]).await;
    let requests = (0..24).map(|number| {
        let store = Arc::clone(&stores[number % 2]);
        tokio::spawn(async move {
            let keyed = Admission {
                host: host(number % 2),
                idempotency: masque_store::conformance::fixtures::key("k"),
                ..admission(new_conversation(), "Hello")
            };
            admit(&store, keyed).await
        })
    });
    let outcomes: Vec<_> = join_all(requests).await.into_iter().map(Result::unwrap).collect();
    let started = outcomes.iter().filter(|outcome| matches!(outcome, AdmissionOutcome::Started(_))).count();
    let joined =
        outcomes.iter().filter(|outcome| matches!(outcome, AdmissionOutcome::Running { .. })).count();
    assert_eq!((started, joined), (1, 23));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_lives_keeps_its_turns_and_one_that_stopped_loses_them() {
    let ([first, second], _database) = two().await;
    second.heartbeat(host(1), &[], LONG).await.unwrap();
    let started = start(&second, Admission { host: host(1), ..admission(new_conversation(), "Hello") }).await;
    assert_eq!(first.recover(host(0)).await.unwrap(), 0, "the other host lives");
    second.heartbeat(host(1), &[started.turn], OVER).await.unwrap();
    assert_eq!(first.recover(host(0)).await.unwrap(), 1);
    let ada = masque_store::conformance::fixtures::ada();
    let turn = first.turn(&ada, started.turn).await.unwrap().unwrap();
    assert_eq!(turn.status, TurnStatus::Interrupted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_was_not_heard_of_keeps_what_it_has_a_lease_for() {
    let ([first, second], database) = two().await;
    let of_second = |content| Admission { host: host(1), ..admission(new_conversation(), content) };
    enqueue_job(&second).await;
    let job = second.take(host(1), LONG, JobLimits::total(1), None).await.unwrap().jobs.remove(0);
    let started = start(&second, of_second("Hello")).await;
    assert_eq!(first.recover(host(0)).await.unwrap(), 0, "its first heartbeat is late");
    second.heartbeat(host(1), &[started.turn], LONG).await.unwrap();
    TestServer::shared().psql(&database.name, "UPDATE hosts SET alive_until = 1");
    for _ in 0..2 {
        assert_eq!(first.recover(host(0)).await.unwrap(), 0, "the database was away for a while");
    }
    kept(second.commit(reply(&started, "Hi")).await);
    assert!(second.complete(job.id, job.epoch, JobCompletion::default()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_a_living_host_took_during_a_recovery_goes_on() {
    let ([first, second], database) = two().await;
    let server = TestServer::shared();
    let job = enqueue_job(&first).await;
    first.take(host(2), LONG, JobLimits::total(1), None).await.unwrap();
    leave(&first, host(2)).await;
    second.heartbeat(host(1), &[], LONG).await.unwrap();
    let locks = "FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                 WHERE l.locktype = 'advisory' AND d.datname = current_database()";
    // Another host recovers the job, and the living one takes it, while the recovery of the first waits for the queue.
    let sql = format!(
        "BEGIN;
         SELECT masque_lock_v1(2, (SELECT array_agg(queue) FROM jobs));
         DO $$ BEGIN
             FOR tick IN 1..1000 LOOP
                 EXIT WHEN EXISTS (SELECT 1 {locks} AND NOT l.granted);
                 PERFORM pg_sleep(0.01);
             END LOOP;
         END $$;
         UPDATE jobs SET host = '{}', epoch = epoch + 1, due_at = masque_now_v1() + 3600000;
         COMMIT",
        host(1)
    );
    let name = database.name.clone();
    let taken = tokio::task::spawn_blocking(move || server.psql(&name, &sql));
    while server.psql(&database.name, &format!("SELECT count(*) {locks} AND l.granted")) == "0" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    first.recover(host(0)).await.unwrap();
    taken.await.unwrap();
    let crashes = server.psql(&database.name, "SELECT crashes || status FROM jobs");
    assert_eq!(crashes, "0running");
    assert!(second.complete(job, 2, JobCompletion::default()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_counts_the_hosts_that_live() {
    let ([first, second], _database) = two().await;
    let live = async |store: &Arc<dyn Store>, number, lease| {
        store.heartbeat(host(number), &[], lease).await.unwrap().live_hosts
    };
    assert_eq!(live(&first, 0, LONG).await, 1);
    assert_eq!(live(&second, 1, LONG).await, 2);
    assert_eq!(live(&first, 0, LONG).await, 2);
    assert_eq!(live(&second, 1, OVER).await, 2, "a host that leaves is counted by itself alone");
    assert_eq!(live(&first, 0, LONG).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_cancelled_through_another_host() {
    let ([first, second], _database) = two().await;
    let ada = masque_store::conformance::fixtures::ada();
    let started = start(&second, Admission { host: host(1), ..admission(new_conversation(), "Hello") }).await;
    assert_eq!(first.request_cancel(&ada, started.turn).await.unwrap(), Some(host(1)));
    assert_eq!(second.heartbeat(host(1), &[started.turn], LONG).await.unwrap().cancel, [started.turn]);
}

/// Waits in a conversation until its turn begins, and commits it at once.
async fn exchange_in_order(store: Arc<dyn Store>, waits: Admission) {
    loop {
        match admit(&store, waits.clone()).await {
            AdmissionOutcome::Started(started) => {
                kept(store.commit(reply(&started, &waits.message.content)).await);
                return;
            }
            AdmissionOutcome::Busy { is_waiting: true, .. } => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_that_wait_on_two_hosts_run_in_the_order_of_their_tickets() {
    let (stores, _database) = two().await;
    let first = start(&stores[0], admission(new_conversation(), "first")).await;
    let queue: Vec<Admission> = (0..12)
        .map(|number: usize| Admission {
            host: host(number % 2),
            waiting: Some(Waiting { max: 12, ttl: LONG }),
            ..admission(Target::Existing(first.conversation), &format!("{number:02}"))
        })
        .collect();
    for (number, waits) in queue.iter().enumerate() {
        let outcome = admit(&stores[number % 2], waits.clone()).await;
        assert!(matches!(outcome, AdmissionOutcome::Busy { is_waiting: true, .. }), "{outcome:?}");
    }
    // Those that came last ask first.
    let turns = queue.iter().enumerate().rev().map(|(number, waits)| {
        tokio::spawn(exchange_in_order(Arc::clone(&stores[number % 2]), waits.clone()))
    });
    let turns: Vec<_> = turns.collect();
    kept(stores[1].commit(reply(&first, "first")).await);
    for turn in turns {
        turn.await.unwrap();
    }
    let messages = transcript(&stores[0], first.conversation).await;
    let asked: Vec<&str> = messages.chunks(2).map(|pair| pair[0].content.as_str()).collect();
    let expected: Vec<&str> =
        std::iter::once("first").chain(queue.iter().map(|waits| &*waits.message.content)).collect();
    assert_eq!(asked, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_that_nobody_keeps_are_swept_and_others_are_not() {
    let ([store, _], database) = two().await;
    let running = start(&store, admission(new_conversation(), "Hello")).await;
    let waits = |ttl| Admission {
        waiting: Some(Waiting { max: 4, ttl }),
        ..admission(Target::Existing(running.conversation), "Next")
    };
    admit(&store, waits(LONG)).await;
    admit(&store, waits(OVER)).await;
    assert_eq!(store.sweep().await.unwrap(), 0, "it ended a moment ago");
    let server = TestServer::shared();
    server.psql(&database.name, "UPDATE tickets SET ends_at = ends_at - 70000");
    assert_eq!(store.sweep().await.unwrap(), 1);
    assert_eq!(server.psql(&database.name, "SELECT count(*) FROM tickets"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn sweeps_of_two_hosts_remove_everything_once() {
    let (stores, database) = two().await;
    for _ in 0..6 {
        let first = exchange(&stores[0], new_conversation(), "q", "a").await;
        for _ in 0..20 {
            exchange(&stores[0], Target::Existing(first.conversation), "q", "a").await;
        }
        let ada = masque_store::conformance::fixtures::ada();
        assert!(stores[1].delete(&ada, first.conversation).await.unwrap());
    }
    let sweeps = join_all(stores.iter().map(|store| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let mut removed = 0;
            loop {
                match store.sweep().await.unwrap() {
                    0 => return removed,
                    rows => removed += rows,
                }
            }
        })
    }));
    let removed: u64 = sweeps.await.into_iter().map(Result::unwrap).sum();
    let left = TestServer::shared().psql(
        &database.name,
        "SELECT (SELECT count(*) FROM conversations) + (SELECT count(*) FROM messages) + (SELECT count(*) FROM turns)",
    );
    assert_eq!(left, "0");
    assert_eq!(removed, 6 * (42 + 1), "each message and each conversation was counted once");
}
