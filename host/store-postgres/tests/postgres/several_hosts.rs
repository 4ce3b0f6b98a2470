//! Several hosts on one database, each with a pool of its own.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use masque_store::conformance::fixtures::{
    LONG, OVER, admission, admit, empty, exchange, job, kept, new_conversation, reply, said, start,
    transcript,
};
use masque_store::{
    Admission, AdmissionOutcome, Commit, ConversationId, JobCompletion, JobId, JobLimits, NewConversation,
    Owner, StateChange, StateFence, StateKey, StateScope, StateSpace, StateWrite, Store, StoreError, Target,
    TurnStatus,
};
use masque_store_postgres::PostgresStore;
use masque_store_postgres::testing::{TestDatabase, TestServer};
use uuid::Uuid;

/// Two hosts on one database.
async fn two() -> ([Arc<dyn Store>; 2], TestDatabase) {
    let database = TestServer::shared().migrated_database().await;
    let mut options = database.options();
    options.max_connections = 6;
    let first: Arc<dyn Store> = PostgresStore::open(&options).await.unwrap();
    let second: Arc<dyn Store> = PostgresStore::open(&options).await.unwrap();
    ([first, second], database)
}

fn host(number: usize) -> Uuid {
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
                let taken = store.take(host(number), LONG, JobLimits::total(4)).await.unwrap().jobs;
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
async fn a_host_that_renews_keeps_its_turns_and_one_that_stopped_loses_them() {
    let ([first, second], _database) = two().await;
    second.renew(host(1), &[], LONG).await.unwrap();
    let started = start(&second, Admission { host: host(1), ..admission(new_conversation(), "Hello") }).await;
    assert_eq!(first.recover(host(0)).await.unwrap(), 0, "the other host lives");
    second.renew(host(1), &[started.turn], OVER).await.unwrap();
    assert_eq!(first.recover(host(0)).await.unwrap(), 1);
    let ada = masque_store::conformance::fixtures::ada();
    let turn = first.turn(&ada, started.turn).await.unwrap().unwrap();
    assert_eq!(turn.status, TurnStatus::Interrupted);
}

fn noted(scope: StateScope, fence: &Admission) -> StateWrite {
    let space = StateSpace { tenant: "default".into(), plugin: "window".into(), scope };
    let key = StateKey { space, key: fence.turn.to_string() };
    StateWrite {
        key,
        change: StateChange::Set { value: vec![1; 100], if_version: None, ttl: Some(OVER) },
        quota: Some(1 << 20),
    }
}

/// One of everything that a host does with one of a few conversations, in an order that differs between hosts.
async fn everything(
    store: Arc<dyn Store>,
    owner: Owner,
    id: ConversationId,
    number: usize,
) -> Result<(), StoreError> {
    let admission = Admission {
        owner: owner.clone(),
        host: host(number % 2),
        idempotency: (number % 3 == 0)
            .then(|| masque_store::conformance::fixtures::key(&format!("k{}", number % 5)))
            .flatten(),
        ..admission(Target::Existing(id), "Hello")
    };
    if let AdmissionOutcome::Started(started) = store.admit(admission.clone()).await?.outcome {
        let fence = StateFence::Turn { turn: started.turn, epoch: started.epoch };
        let mut writes = vec![
            noted(StateScope::Conversation(started.conversation), &admission),
            noted(StateScope::User(owner.clone()), &admission),
            noted(StateScope::Shared, &admission),
        ];
        if number % 2 == 0 {
            writes.reverse();
        }
        match store.state_write(Some(fence), writes).await {
            Ok(_) | Err(StoreError::FenceEnded) => {}
            Err(error) => return Err(error),
        }
        let mut jobs = vec![job("window"), job("card"), job("memory")];
        if number % 2 == 0 {
            jobs.reverse();
        }
        store.commit(Commit { owner: owner.clone(), jobs, ..reply(&started, "Hi") }).await?;
    }
    for taken in store.take(host(number % 2), LONG, JobLimits::total(3)).await?.jobs {
        match number % 4 {
            0 => store.park(taken.id, taken.epoch, "broken").await?,
            1 => store.retry(taken.id, taken.epoch, OVER, "again").await?,
            _ => {
                let space = StateSpace {
                    tenant: "default".into(),
                    plugin: "window".into(),
                    scope: StateScope::Conversation(taken.conversation),
                };
                let write = StateWrite {
                    key: StateKey { space, key: "job".into() },
                    change: StateChange::Add { amount: 1 },
                    quota: None,
                };
                match store.complete(taken.id, taken.epoch, JobCompletion::writing(vec![write])).await {
                    Ok(_) | Err(StoreError::Conflict(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    match number % 7 {
        0 => drop(store.delete(&owner, id).await?),
        1 => drop(store.sweep().await?),
        2 => drop(store.recover(host(number % 2)).await?),
        3 => {
            for parked in store.parked_jobs().await? {
                store.retry_parked(parked.id).await?;
            }
        }
        4 => drop(store.renew(host(number % 2), &[admission.turn], LONG).await?),
        5 => drop(store.rename(&owner, id, "Another".into()).await?),
        _ => {
            let new = NewConversation {
                id,
                companion: "elara".into(),
                title: None,
                greeting: Some(said("Welcome")),
            };
            match store.create(&owner, new).await {
                Ok(_) | Err(StoreError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_of_two_hosts_never_wait_for_each_other_in_a_circle() {
    let (stores, database) = two().await;
    let mut ids = Vec::new();
    let owners = ["ada", "ben"].map(masque_store::conformance::fixtures::owner);
    for owner in owners.iter().cycle().take(4) {
        let new = NewConversation {
            id: ConversationId::new(),
            companion: "elara".into(),
            title: None,
            greeting: None,
        };
        ids.push((owner.clone(), stores[0].create(owner, new).await.unwrap().id));
    }
    let tasks = (0..12).map(|task: usize| {
        let (stores, ids) = (stores.clone(), ids.clone());
        tokio::spawn(async move {
            for round in 0..40 {
                let number = task * 31 + round * 7 + round / 3;
                let (owner, id) = ids[(number + round) % ids.len()].clone();
                everything(Arc::clone(&stores[task % 2]), owner, id, number).await.unwrap();
            }
        })
    });
    tokio::time::timeout(Duration::from_secs(120), async {
        for task in join_all(tasks).await {
            task.unwrap();
        }
    })
    .await
    .expect("the hosts wait for each other");

    // What is left is in order: one head in each queue that has a job, and totals that are those of the rows.
    let server = TestServer::shared();
    let without_head = server.psql(
        &database.name,
        "SELECT count(DISTINCT queue) FROM jobs j WHERE status <> 'parked'
            AND NOT EXISTS (SELECT 1 FROM jobs h WHERE h.queue = j.queue AND h.due_at IS NOT NULL)",
    );
    assert_eq!(without_head, "0");
    let wrong_totals = server.psql(
        &database.name,
        "SELECT count(*) FROM (SELECT account, tenant, plugin, sum(bytes) AS bytes FROM state GROUP BY 1, 2, 3) s
           FULL JOIN state_totals t USING (account, tenant, plugin) WHERE s.bytes IS DISTINCT FROM t.bytes",
    );
    assert_eq!(wrong_totals, "0");
    let gaps = server.psql(
        &database.name,
        "SELECT count(*) FROM leases l WHERE last_sequence <> (SELECT count(*) FROM messages m WHERE m.conversation = l.conversation)",
    );
    assert_eq!(gaps, "0");
    let deadlocks = server.psql(
        &database.name,
        &format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{}'", database.name),
    );
    assert_eq!(deadlocks, "0");
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
