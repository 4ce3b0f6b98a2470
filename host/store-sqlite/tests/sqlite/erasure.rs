//! The bytes of an erased user are gone from the files, and a copy of the database from before is erased again by the list.

use std::path::Path;

use masque_store::conformance::fixtures::*;
use masque_store_sqlite::{Folder, ReplayError, SqliteStore, replay_erasures};

/// Whether a file of the database has the text.
fn has_bytes(folder: &Path, text: &str) -> bool {
    ["masque.db", "masque.db-wal"].iter().any(|name| {
        let bytes = std::fs::read(folder.join(name)).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

async fn open(folder: &Path) -> Arc<dyn Store> {
    SqliteStore::open(folder).await.unwrap()
}

/// What a user says, of every length that pages and overflow pages treat otherwise.
async fn say(store: &Arc<dyn Store>, who: &str, rounds: usize) {
    for round in 0..rounds {
        let text = format!("{who}-planted ").repeat(1 + (round % 7) * 60);
        let admission = Admission { owner: owner(who), ..admission(new_conversation(), &text) };
        let started = start(store, admission).await;
        kept(store.commit(Commit { owner: owner(who), ..reply(&started, &text) }).await);
        let space = StateSpace {
            tenant: "default".into(),
            plugin: "window".into(),
            scope: StateScope::User(owner(who)),
        };
        let change = StateChange::Set { value: text.into_bytes(), if_version: None, ttl: None };
        let key = StateKey { space, key: format!("{round}") };
        store.state_write(None, vec![StateWrite { key, change, quota: None }]).await.unwrap().unwrap();
    }
}

async fn erase(store: &Arc<dyn Store>, list: &ErasureList, who: &str) -> Erasure {
    let installation = store.installation().await.unwrap();
    let name = installation.erased_name(&owner(who));
    let request =
        ErasureRequest { receipt: Uuid::now_v7(), owner: owner(who), name, entry: entry("user.erase") };
    let erasure = store.begin_erasure(request).await.unwrap();
    while store.erase_some(erasure.receipt).await.unwrap() {}
    assert!(store.clear_traces().await.unwrap());
    list.append(&ErasureEntry::new(&erasure, installation.id)).unwrap();
    store.finish_erasure(erasure.receipt, entry("user.erased")).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_bytes_of_an_erased_user_are_in_no_file_and_those_of_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for _ in 0..8 {
        // In turns, so that both have rows in the same pages.
        say(&store, "marzipan", 9).await;
        say(&store, "nougat", 5).await;
    }
    assert!(has_bytes(folder.path(), "marzipan"));
    let list = ErasureList::at(folder.path().join("erasures.jsonl"));
    let done = erase(&store, &list, "marzipan").await;
    assert_eq!((done.rows.conversations, done.rows.messages), (72, 144));
    assert!(!has_bytes(folder.path(), "marzipan"), "also in the name of the user");
    assert!(has_bytes(folder.path(), "nougat-planted"));
    let listed = std::fs::read_to_string(list.path()).unwrap();
    assert!(!listed.contains("marzipan") && listed.contains(&done.receipt.to_string()), "{listed}");
}

#[tokio::test]
async fn a_host_that_keeps_the_block_of_an_erased_user_does_not_write_their_name_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    say(&store, "marzipan", 1).await;
    let account = user_account(&owner("marzipan"));
    let hold = |wanted| BlockRequest::Hold { account: account.clone(), budget: 100, wanted };
    let held = store.report_spending(report(0, Vec::new(), vec![hold(10)])).await.unwrap().blocks;
    assert!(held[0].tokens >= 10, "{held:?}");
    erase(&store, &ErasureList::at(folder.path().join("erasures.jsonl")), "marzipan").await;
    assert!(!has_bytes(folder.path(), "marzipan"));

    let held = store.report_spending(report(0, Vec::new(), vec![hold(0)])).await.unwrap().blocks;
    assert_eq!((held[0].tokens, held[0].available), (0, 100), "the block is gone");
    let returned = BlockRequest::Return { account: account.clone() };
    store.report_spending(report(0, Vec::new(), vec![returned])).await.unwrap();
    store.close().await;
    assert!(!has_bytes(folder.path(), "marzipan"));
}

#[tokio::test]
async fn a_reader_that_stays_keeps_the_traces_and_clearing_them_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    say(&store, "marzipan", 3).await;
    let reader = super::raw_connection::open(folder.path());
    reader.execute_batch("BEGIN; SELECT count(*) FROM messages;").unwrap();
    say(&store, "nougat", 1).await;
    assert!(!store.clear_traces().await.unwrap());
    reader.execute_batch("COMMIT").unwrap();
    assert!(store.clear_traces().await.unwrap());
}

#[tokio::test]
async fn a_copy_from_before_is_erased_again_by_the_list_and_by_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    say(&store, "marzipan", 4).await;
    say(&store, "nougat", 4).await;
    let user = store.user_id(&owner("marzipan")).await.unwrap();
    store.close().await;
    let copy = tempfile::tempdir().unwrap();
    let database = Folder::database_in(copy.path());
    std::fs::copy(Folder::database_in(folder.path()), &database).unwrap();

    let store = open(folder.path()).await;
    let list = ErasureList::at(folder.path().join("erasures.jsonl"));
    let done = erase(&store, &list, "marzipan").await;
    assert_eq!(Some(done.user), user);
    say(&store, "marzipan", 1).await;
    store.close().await;

    let missing = replay_erasures(&database, &folder.path().join("none.jsonl"));
    assert!(matches!(missing, Err(ReplayError::List(_))), "{missing:?}");
    assert_eq!(replay_erasures(&database, list.path()).unwrap(), 1);
    assert_eq!(replay_erasures(&database, list.path()).unwrap(), 0, "it can be repeated");
    assert!(!has_bytes(copy.path(), "marzipan"));
    let restored = open(copy.path()).await;
    assert_eq!(restored.user_id(&owner("marzipan")).await.unwrap(), None);
    assert_eq!(restored.erasure(done.receipt).await.unwrap().map(|erasure| erasure.user), user);
    let nougats = restored.conversations(&owner("nougat"), Page { limit: 10, after: None }).await.unwrap();
    assert_eq!(nougats.items.len(), 4);
    restored.close().await;

    // The database of now has the person as a new user, who stays.
    assert_eq!(replay_erasures(&Folder::database_in(folder.path()), list.path()).unwrap(), 0);
    let other = tempfile::tempdir().unwrap();
    open(other.path()).await.close().await;
    let foreign = replay_erasures(&Folder::database_in(other.path()), list.path());
    assert!(matches!(foreign, Err(ReplayError::Database { .. })), "{foreign:?}");
}

#[tokio::test]
async fn an_erasure_that_ran_when_the_copy_was_made_is_completed_and_gets_on_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    say(&store, "marzipan", 2).await;
    let installation = store.installation().await.unwrap();
    let name = installation.erased_name(&owner("marzipan"));
    let request = ErasureRequest {
        receipt: Uuid::now_v7(),
        owner: owner("marzipan"),
        name,
        entry: entry("user.erase"),
    };
    let erasure = store.begin_erasure(request).await.unwrap();
    store.close().await;

    let list = ErasureList::at(folder.path().join("erasures.jsonl"));
    std::fs::write(list.path(), "").unwrap();
    let database = Folder::database_in(folder.path());
    assert_eq!(replay_erasures(&database, list.path()).unwrap(), 1);
    assert_eq!(list.read().unwrap(), [ErasureEntry::new(&erasure, installation.id)]);
    assert!(!has_bytes(folder.path(), "marzipan"), "also in the account of spending");
    assert_eq!(replay_erasures(&database, list.path()).unwrap(), 0);
    let store = open(folder.path()).await;
    assert!(store.erasure(erasure.receipt).await.unwrap().is_some_and(|erasure| erasure.done_at.is_some()));
}
