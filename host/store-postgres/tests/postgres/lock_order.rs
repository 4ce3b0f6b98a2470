//! Everything that hosts do at the same time, on few rows, so that their locks meet in every order.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use masque_store::conformance::fixtures::{LONG, OVER, admission, job, reply, said};
use masque_store::conformance::turn_records;
use masque_store::{
    Admission, AdmissionOutcome, Commit, ConversationId, JobCompletion, JobLimits, NewConversation,
    OwnedTurnRecord, Owner, RecordBounds, StateChange, StateFence, StateKey, StateScope, StateSpace,
    StateWrite, Store, StoreError, Target, Waiting,
};
use masque_store_postgres::testing::TestServer;

use crate::several_hosts::{host, two};

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
        idempotency: number
            .is_multiple_of(3)
            .then(|| masque_store::conformance::fixtures::key(&format!("k{}", number % 5)))
            .flatten(),
        waiting: (number % 4 != 1).then_some(Waiting { max: 2, ttl: Duration::from_millis(5) }),
        ..admission(Target::Existing(id), "Hello")
    };
    let outcome = store.admit(admission.clone()).await?.outcome;
    if matches!(outcome, AdmissionOutcome::Busy { is_waiting: true, .. }) && number.is_multiple_of(2) {
        store.stop_waiting(id, admission.turn).await?;
    }
    if let AdmissionOutcome::Started(started) = outcome {
        store.request_cancel(&owner, started.turn).await?;
        let fence = StateFence::Turn { turn: started.turn, epoch: started.epoch };
        let mut writes = vec![
            noted(StateScope::Conversation(started.conversation), &admission),
            noted(StateScope::User(owner.clone()), &admission),
            noted(StateScope::Shared, &admission),
        ];
        if number.is_multiple_of(2) {
            writes.reverse();
        }
        match store.state_write(Some(fence), writes).await {
            Ok(_) | Err(StoreError::FenceEnded) => {}
            Err(error) => return Err(error),
        }
        let mut jobs = vec![job("window"), job("card"), job("memory")];
        if number.is_multiple_of(2) {
            jobs.reverse();
        }
        store.commit(Commit { owner: owner.clone(), jobs, ..reply(&started, "Hi") }).await?;
        let records = (1..=2).map(|attempt| {
            let record = turn_records::record(&started, attempt, 3000);
            OwnedTurnRecord { owner: owner.clone(), ..record }.encode()
        });
        store.store_turn_records(records.collect::<Result<_, _>>()?).await?;
        let bounds = RecordBounds { max_age_ms: u64::MAX, max_total_bytes: 30_000 };
        store.sweep_turn_records(bounds).await?;
    }
    for taken in store.take(host(number % 2), LONG, JobLimits::total(3), None).await?.jobs {
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
    match number % 8 {
        0 => drop(store.delete(&owner, id).await?),
        1 => drop(store.sweep().await?),
        2 => drop(store.recover(host(number % 2)).await?),
        3 => {
            for parked in store.parked_jobs().await? {
                store.retry_parked(parked.id).await?;
            }
        }
        4 => drop(store.heartbeat(host(number % 2), &[admission.turn], LONG).await?),
        5 => drop(store.rename(&owner, id, "Another".into()).await?),
        6 => drop(store.forget_conversations(OVER).await?),
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
    tokio::time::timeout(Duration::from_secs(600), async {
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
    assert_eq!(server.end_connections_and_count_deadlocks(&database.name), 0);
}
