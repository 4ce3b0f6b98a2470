//! A dump from before an erasure is erased again by the list, and not while a host uses the database.

use masque_store::conformance::fixtures::*;
use masque_store_postgres::testing::TestServer;
use masque_store_postgres::{PostgresStore, ReplayError, replay_erasures};

async fn begin(store: &Arc<dyn Store>) -> Erasure {
    let installation = store.installation().await.unwrap();
    let request = ErasureRequest {
        receipt: Uuid::now_v7(),
        owner: ada(),
        name: installation.erased_name(&ada()),
        entry: entry("user.erase"),
    };
    store.begin_erasure(request).await.unwrap()
}

async fn erase(store: &Arc<dyn Store>, list: &ErasureList) -> Erasure {
    let installation = store.installation().await.unwrap();
    let erasure = begin(store).await;
    while store.erase_some(erasure.receipt).await.unwrap() {}
    list.append(&ErasureEntry::new(&erasure, installation.id)).unwrap();
    store.finish_erasure(erasure.receipt, entry("user.erased")).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_from_before_is_erased_again_by_the_list_and_not_beside_a_host() {
    let server = TestServer::shared();
    let folder = tempfile::tempdir().unwrap();
    let (file, list) = (folder.path().join("dump"), ErasureList::at(folder.path().join("erasures.jsonl")));
    let database = server.migrated_database().await;
    let store: Arc<dyn Store> = PostgresStore::open(&database.options()).await.unwrap();
    exchange(&store, new_conversation(), "marzipan", "Yes").await;
    server.dump(&database, &file);
    let done = erase(&store, &list).await;
    exchange(&store, new_conversation(), "I am back", "Yes").await;
    let replay = async |database: &masque_store_postgres::PostgresOptions| {
        replay_erasures(database, list.clone(), |_| entry("user.erased")).await
    };

    store.heartbeat(host(), &[], LONG).await.unwrap();
    let refused = replay(&database.options()).await;
    assert!(matches!(refused, Err(ReplayError::HostsRun)), "{refused:?}");
    store.heartbeat(host(), &[], OVER).await.unwrap();
    assert_eq!(replay(&database.options()).await.unwrap(), 0, "who came back stays");

    let restored = server.empty_database();
    server.restore(&restored, &file);
    assert_eq!(replay(&restored.options()).await.unwrap(), 1);
    assert_eq!(replay(&restored.options()).await.unwrap(), 0, "it can be repeated");
    assert_eq!(server.psql(&restored.name, "SELECT count(*) FROM messages"), "0");
    let store: Arc<dyn Store> = PostgresStore::open(&restored.options()).await.unwrap();
    assert_eq!(store.erasure(done.receipt).await.unwrap().map(|erasure| erasure.user), Some(done.user));
    let missing = ErasureList::at(folder.path().join("none"));
    let missing = replay_erasures(&restored.options(), missing, |_| entry("user.erased")).await;
    assert!(matches!(missing, Err(ReplayError::List(_))), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_that_ran_when_the_dump_was_made_is_completed_and_gets_on_the_list() {
    let server = TestServer::shared();
    let folder = tempfile::tempdir().unwrap();
    let (file, list) = (folder.path().join("dump"), ErasureList::at(folder.path().join("erasures.jsonl")));
    let database = server.migrated_database().await;
    let store: Arc<dyn Store> = PostgresStore::open(&database.options()).await.unwrap();
    exchange(&store, new_conversation(), "marzipan", "Yes").await;
    let erasure = begin(&store).await;
    let installation = store.installation().await.unwrap();
    server.dump(&database, &file);

    let restored = server.empty_database();
    server.restore(&restored, &file);
    std::fs::write(list.path(), "").unwrap();
    let replayed = replay_erasures(&restored.options(), list.clone(), |_| entry("user.erased")).await;
    assert_eq!(replayed.unwrap(), 1);
    assert_eq!(list.read().unwrap(), [ErasureEntry::new(&erasure, installation.id)]);
    assert_eq!(server.psql(&restored.name, "SELECT count(*) FROM messages"), "0");
    assert_eq!(server.psql(&restored.name, "SELECT count(*) FROM erasures WHERE account IS NOT NULL"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_names_an_account_of_spending_as_the_host_does() {
    let server = TestServer::shared();
    let database = server.migrated_database().await;
    let store: Arc<dyn Store> = PostgresStore::open(&database.options()).await.unwrap();
    let account = "user:default|6|masque|Zoë";
    let name = server.psql(&database.name, &format!("SELECT masque_spending_name_v1('{account}')"));
    assert_eq!(name, store.installation().await.unwrap().spending_name(account).as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_keeps_or_returns_the_block_of_an_erased_user_does_not_write_their_name_again() {
    let server = TestServer::shared();
    let folder = tempfile::tempdir().unwrap();
    let database = server.migrated_database().await;
    let store: Arc<dyn Store> = PostgresStore::open(&database.options()).await.unwrap();
    let account = user_account(&ada());
    let hold = |wanted| BlockRequest::Hold { account: account.clone(), budget: 100, wanted };
    let held = store.report_spending(report(0, Vec::new(), vec![hold(10)])).await.unwrap().blocks;
    assert!(held[0].tokens >= 10, "{held:?}");
    erase(&store, &ErasureList::at(folder.path().join("erasures.jsonl"))).await;

    let held = store.report_spending(report(0, Vec::new(), vec![hold(0)])).await.unwrap().blocks;
    assert_eq!((held[0].tokens, held[0].available), (0, 100), "the block is gone");
    let returned = BlockRequest::Return { account: account.clone() };
    store.report_spending(report(0, Vec::new(), vec![returned])).await.unwrap();
    let rows = "SELECT (SELECT count(*) FROM spending) + (SELECT count(*) FROM spending_blocks)";
    assert_eq!(server.psql(&database.name, rows), "0");
}
