//! What is kept by age alone is removed by several hosts at the same time, and nothing that is in use.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use masque_store::conformance::fixtures::{
    OVER, admission, admit, empty, exchange, job, kept, new_conversation, reply, start,
};
use masque_store::{Admission, AdmissionOutcome, Commit, Store, Target};
use masque_store_postgres::testing::TestServer;

use crate::several_hosts::{host, two};

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

async fn forget_all(store: Arc<dyn Store>, idle_for: Duration) -> u64 {
    let mut forgotten = 0;
    loop {
        match store.forget_conversations(idle_for).await.unwrap() {
            0 => return forgotten,
            conversations => forgotten += conversations,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_conversations_that_are_idle_for_longer_than_asked_are_forgotten() {
    let ([store, _], database) = two().await;
    let ada = masque_store::conformance::fixtures::ada();
    let old = exchange(&store, new_conversation(), "Hello", "Hi").await.conversation;
    let young = exchange(&store, new_conversation(), "Hello", "Hi").await.conversation;
    let running = start(&store, admission(new_conversation(), "Hello")).await;
    for (days, id) in [(31, old), (29, young), (31, running.conversation)] {
        let moved = format!(
            "UPDATE leases SET updated_at = updated_at - {days} * 86400000::bigint WHERE conversation = '{}'",
            id.as_uuid()
        );
        TestServer::shared().psql(&database.name, &moved);
    }
    assert_eq!(forget_all(Arc::clone(&store), MONTH).await, 1);
    assert_eq!(store.conversation(&ada, old).await.unwrap(), None);
    assert!(store.conversation(&ada, young).await.unwrap().is_some());
    kept(store.commit(reply(&running, "Hi")).await);
    assert_eq!(forget_all(store, MONTH).await, 0, "the turn ended just now");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_forget_at_the_same_time_delete_each_conversation_once() {
    let (stores, database) = two().await;
    for number in 0..200 {
        match number % 20 {
            0 => {
                let started = start(&stores[0], admission(new_conversation(), "Hello")).await;
                let jobs = vec![job("window"), job("card")];
                kept(stores[0].commit(Commit { jobs, ..reply(&started, "Hi") }).await);
            }
            _ => drop(empty(&stores[0]).await),
        }
    }
    let hosts = stores.iter().map(|store| tokio::spawn(forget_all(Arc::clone(store), OVER)));
    let forgotten: u64 = join_all(hosts).await.into_iter().map(Result::unwrap).sum();
    let left =
        "SELECT (SELECT count(*) FROM conversations WHERE deleted_at IS NULL) + (SELECT count(*) FROM leases)
                       + (SELECT count(*) FROM tickets)";
    assert_eq!((forgotten, &*TestServer::shared().psql(&database.name, left)), (200, "0"));
}

/// Turns begin and commit in a few conversations while one of the hosts forgets them. Whoever gets a turn keeps the conversation.
#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_begins_while_conversations_are_forgotten_is_committed() {
    let (stores, _database) = two().await;
    let talk = (0..8).map(|number: usize| {
        let store = Arc::clone(&stores[number % 2]);
        tokio::spawn(async move {
            let mut begun = 0;
            for _ in 0..20 {
                let id = empty(&store).await;
                let existing =
                    Admission { host: host(number % 2), ..admission(Target::Existing(id), "Hello") };
                match admit(&store, existing).await {
                    AdmissionOutcome::Started(started) => {
                        kept(store.commit(reply(&started, "Hi")).await);
                        begun += 1;
                    }
                    AdmissionOutcome::UnknownConversation => {}
                    other => panic!("{other:?}"),
                }
            }
            begun
        })
    });
    let talk: Vec<_> = talk.collect();
    for _ in 0..200 {
        stores[0].forget_conversations(OVER).await.unwrap();
    }
    let begun: u32 = join_all(talk).await.into_iter().map(Result::unwrap).sum();
    assert!(begun > 0);
}
