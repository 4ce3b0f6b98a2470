//! Records of turns are in a file of their own: what is removed is gone from it, it stays within its bound, and no damage to it
//! keeps a host from starting.

use std::fs;
use std::path::Path;

use futures::FutureExt as _;
use masque_store::conformance::fixtures::*;
use masque_store::conformance::turn_records::{ALL, record};
use masque_store_sqlite::SqliteStore;

use super::raw_connection::number;

async fn open(folder: &Path) -> Arc<dyn Store> {
    SqliteStore::open(folder).await.unwrap()
}

/// Whether a file of the records has the text.
fn has_bytes(folder: &Path, text: &str) -> bool {
    ["records.db", "records.db-wal"].iter().any(|name| {
        let bytes = fs::read(folder.join(name)).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

fn count(folder: &Path) -> i64 {
    let file = rusqlite::Connection::open(folder.join("records.db")).unwrap();
    number(&file, "SELECT count(*) FROM turn_records")
}

/// An exchange of a user with a record that has a text of the user's.
async fn plant(store: &Arc<dyn Store>, who: &str, bytes: usize) -> Started {
    let admission = Admission { owner: owner(who), ..admission(new_conversation(), "Hello") };
    let started = start(store, admission).await;
    kept(store.commit(Commit { owner: owner(who), ..reply(&started, "Hi") }).await);
    let mut record = record(&started, 1, 1);
    record.owner = owner(who);
    record.record.steps[0].returned = format!("{who}-planted ").repeat(1 + bytes / 16).into();
    assert_eq!(store.store_turn_records(vec![record.encode().unwrap()]).await.unwrap(), 1);
    started
}

async fn erase(store: &Arc<dyn Store>, who: &str) {
    let name = store.installation().await.unwrap().erased_name(&owner(who));
    let request =
        ErasureRequest { receipt: Uuid::now_v7(), owner: owner(who), name, entry: entry("user.erase") };
    let erasure = store.begin_erasure(request).await.unwrap();
    while store.erase_some(erasure.receipt).await.unwrap() {}
    assert!(store.clear_traces().await.unwrap());
    store.finish_erasure(erasure.receipt, entry("user.erased")).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_bytes_of_an_erased_users_records_are_in_no_file_and_those_of_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for round in 0..30 {
        // Of every length that pages and overflow pages treat otherwise.
        plant(&store, "marzipan", (round % 7) * 3000).await;
        plant(&store, "nougat", (round % 5) * 3000).await;
    }
    assert!(has_bytes(folder.path(), "marzipan-planted"));
    erase(&store, "marzipan").await;
    assert!(!has_bytes(folder.path(), "marzipan-planted"));
    assert!(has_bytes(folder.path(), "nougat-planted"));
    store.close().await;
    assert_eq!(count(folder.path()), 30);
}

#[tokio::test]
async fn the_bytes_of_a_deleted_conversations_records_are_gone_once_the_traces_are_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let started = plant(&store, "marzipan", 20_000).await;
    plant(&store, "nougat", 20_000).await;
    assert!(store.delete(&owner("marzipan"), started.conversation).await.unwrap());
    assert!(store.clear_traces().await.unwrap());
    assert!(!has_bytes(folder.path(), "marzipan-planted") && has_bytes(folder.path(), "nougat-planted"));
}

#[tokio::test]
async fn a_deletion_whose_caller_went_away_removes_the_records_with_the_next_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let started = plant(&store, "marzipan", 100).await;
    // The comparison at the start finds nothing.
    assert_eq!(store.sweep_turn_records(ALL).await.unwrap(), 0);
    let marzipan = owner("marzipan");
    let mut delete = store.delete(&marzipan, started.conversation);
    assert!((&mut delete).now_or_never().is_none());
    drop(delete);
    while store.conversation(&owner("marzipan"), started.conversation).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(count(folder.path()), 1, "the test is of no use otherwise");
    store.sweep_turn_records(ALL).await.unwrap();
    assert_eq!(count(folder.path()), 0);
}

#[tokio::test]
async fn a_file_of_records_from_before_an_erasure_shows_nothing_and_loses_what_belongs_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (file, aside) = (folder.path().join("records.db"), folder.path().join("aside"));
    let store = open(folder.path()).await;
    let gone = plant(&store, "marzipan", 20_000).await;
    let deleted = plant(&store, "nougat", 20_000).await;
    let stays = plant(&store, "nougat", 20_000).await;
    store.close().await;
    fs::copy(&file, &aside).unwrap();
    let store = open(folder.path()).await;
    store.delete(&owner("nougat"), deleted.conversation).await.unwrap();
    erase(&store, "marzipan").await;
    store.close().await;
    fs::rename(&aside, &file).unwrap();

    let store = open(folder.path()).await;
    assert!(has_bytes(folder.path(), "marzipan-planted"), "the test is of no use otherwise");
    for turn in [gone.turn, deleted.turn] {
        assert_eq!(store.turn_record(turn).await.unwrap(), None);
    }
    assert_eq!(store.sweep_turn_records(ALL).await.unwrap(), 2);
    assert!(store.turn_record(stays.turn).await.unwrap().is_some());
    assert!(store.clear_traces().await.unwrap());
    assert!(!has_bytes(folder.path(), "marzipan-planted"));
}

#[tokio::test]
async fn a_damaged_record_is_in_an_export_as_such_and_does_not_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let damaged = plant(&store, "marzipan", 10).await;
    plant(&store, "marzipan", 10).await;
    store.close().await;
    let file = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
    let change = "UPDATE turn_records SET body = x'7b22' WHERE turn = ?1";
    assert_eq!(file.execute(change, [damaged.turn.as_uuid()]).unwrap(), 1);
    drop(file);
    let store = open(folder.path()).await;
    let page = store.export(&owner("marzipan"), ExportSection::TurnRecords, None).await.unwrap();
    let [ExportItem::UnreadableTurnRecord(stub), ExportItem::TurnRecord(_)] = page.items.as_slice() else {
        panic!("{:?}", page.items)
    };
    assert_eq!((stub.turn, stub.attempt, stub.newer_format), (damaged.turn, 1, None));
    let read = store.turn_record(damaged.turn).await;
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
}

#[tokio::test]
async fn the_file_is_within_its_bound_after_a_sweep_and_gives_its_pages_back() {
    const BOUND: u64 = 2 << 20;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let bytes = || fs::metadata(folder.path().join("records.db")).unwrap().len();
    let mut last = None;
    for _ in 0..80 {
        last = Some(plant(&store, "marzipan", 100_000).await);
    }
    let bounds = RecordBounds { max_total_bytes: BOUND, ..ALL };
    while store.sweep_turn_records(bounds).await.unwrap() > 0 {}
    assert!(store.clear_traces().await.unwrap());
    assert!(bytes() <= BOUND && bytes() > BOUND / 2, "{} bytes", bytes());
    assert!(store.turn_record(last.unwrap().turn).await.unwrap().is_some());
    erase(&store, "marzipan").await;
    assert_eq!(store.sweep_turn_records(ALL).await.unwrap(), 0);
    assert!(store.clear_traces().await.unwrap());
    assert!(bytes() < 100_000, "{} bytes", bytes());
}

#[tokio::test]
async fn a_file_that_is_damaged_or_of_another_version_is_replaced_and_the_host_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.db");
    let store = open(folder.path()).await;
    let started = plant(&store, "marzipan", 10).await;
    store.close().await;
    let other_version = |file: &Path| {
        let connection = rusqlite::Connection::open(file).unwrap();
        connection.execute_batch("PRAGMA user_version = 99").unwrap();
    };
    let damages: [&dyn Fn(&Path); 3] =
        [&|file| fs::write(file, "no database at all, ".repeat(500)).unwrap(), &other_version, &|file| {
            fs::remove_file(file).unwrap()
        }];
    for damage in damages {
        damage(&file);
        let store = open(folder.path()).await;
        assert_eq!(store.turn_record(started.turn).await.unwrap(), None);
        let of_marzipan = OwnedTurnRecord { owner: owner("marzipan"), ..record(&started, 1, 10) };
        assert_eq!(store.store_turn_records(vec![of_marzipan.encode().unwrap()]).await.unwrap(), 1);
        assert!(store.turn_record(started.turn).await.unwrap().is_some());
        store.close().await;
        let closed = store.store_turn_records(vec![record(&started, 1, 10).encode().unwrap()]).await;
        assert!(matches!(closed, Err(StoreError::Unavailable(_))), "{closed:?}");
    }
}

#[tokio::test]
async fn the_file_can_give_pages_back_and_turns_keep_none_of_its_tables() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    plant(&store, "marzipan", 10).await;
    store.close().await;
    let file = rusqlite::Connection::open(folder.path().join("records.db")).unwrap();
    assert_eq!(number(&file, "PRAGMA auto_vacuum"), 2);
    let database = super::raw_connection::open(folder.path());
    assert_eq!(number(&database, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%record%'"), 0);
}

#[tokio::test]
async fn an_erasure_by_the_command_line_removes_records_beside_a_host_and_needs_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let started = plant(&store, "marzipan", 10_000).await;
    let beside = masque_store_sqlite::open_user_records(folder.path()).await.unwrap();
    let name = store.installation().await.unwrap().erased_name(&owner("marzipan"));
    let request = ErasureRequest {
        receipt: Uuid::now_v7(),
        owner: owner("marzipan"),
        name,
        entry: entry("user.erase"),
    };
    let erasure = beside.begin_erasure(request).await.unwrap();
    let late = OwnedTurnRecord { owner: owner("marzipan"), ..record(&started, 2, 10) };
    assert_eq!(
        store.store_turn_records(vec![late.encode().unwrap()]).await.unwrap(),
        0,
        "the host refuses it at once"
    );
    while beside.erase_some(erasure.receipt).await.unwrap() {}
    assert_eq!(count(folder.path()), 0);
    beside.finish_erasure(erasure.receipt, entry("user.erased")).await.unwrap().unwrap();
    beside.close().await;
    store.close().await;

    fs::remove_file(folder.path().join("records.db")).unwrap();
    let alone = masque_store_sqlite::open_user_records(folder.path()).await.unwrap();
    assert!(!alone.erase_some(erasure.receipt).await.unwrap());
    assert!(!folder.path().join("records.db").exists());
    alone.close().await;
}
