//! Backups beside a running host, and restoring them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use masque_store::conformance::fixtures::*;
use masque_store::conformance::turn_records::record;
use masque_store_sqlite::{BackupError, Restore, SqliteStore, backup};

use super::raw_connection;

/// A store with one exchange.
async fn used_store(folder: &Path) -> Arc<dyn Store> {
    let store: Arc<dyn Store> = SqliteStore::open(folder).await.unwrap();
    exchange(&store, new_conversation(), "Hello", "Hi").await;
    store
}

/// Backs the data folder up and restores the file there.
async fn restore(folder: &Path, file: &Path) -> Result<Option<std::path::PathBuf>, BackupError> {
    Restore::prepare(folder, file).await?.install(entry("restore")).await
}

async fn conversations(store: &Arc<dyn Store>) -> usize {
    store.conversations(&ada(), Page { limit: 100, after: None }).await.unwrap().items.len()
}

async fn audited(store: &Arc<dyn Store>) -> Vec<String> {
    let page = store.audit(Page { limit: 100, after: None }).await.unwrap();
    page.items.into_iter().map(|record| record.entry.action).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_goes_on_writing_while_a_backup_is_made() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, file) = (parent.path().join("data"), parent.path().join("backup.db"));
    let store = used_store(&folder).await;
    // A database that takes a while to copy.
    let raw = raw_connection::open(&folder);
    raw.execute_batch(
        "PRAGMA synchronous = OFF;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
         INSERT INTO audit (id, at, tenant, actor, action, outcome, detail)
         SELECT randomblob(16), 0, 'default', 'x', 'x', 'ok', hex(randomblob(100000)) FROM n",
    )
    .unwrap();
    drop(raw);

    let (is_done, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writing = tokio::spawn({
        let (store, is_done, turns) = (Arc::clone(&store), Arc::clone(&is_done), Arc::clone(&turns));
        async move {
            let mut longest = Duration::ZERO;
            while !is_done.load(Ordering::SeqCst) {
                let began = std::time::Instant::now();
                exchange(&store, new_conversation(), "Hello", "Hi").await;
                longest = longest.max(began.elapsed());
                turns.fetch_add(1, Ordering::SeqCst);
            }
            longest
        }
    });
    while turns.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let (before, began) = (turns.load(Ordering::SeqCst), std::time::Instant::now());
    let bytes = backup(&folder, &file, entry("backup")).await.unwrap();
    let (during, took) = (turns.load(Ordering::SeqCst) - before, began.elapsed());
    is_done.store(true, Ordering::SeqCst);
    let longest = writing.await.unwrap();
    assert!(during >= 5, "{during} turns were stored in the {took:?} of a backup");
    assert!(longest < took.max(Duration::from_secs(10)), "a turn took {longest:?} of {took:?}");
    assert_eq!(fs::metadata(&file).unwrap().len(), bytes);
    assert!(bytes > 80_000_000);
    store.close().await;
}

#[tokio::test]
async fn a_backup_is_one_private_file_that_is_not_overwritten() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, file) = (parent.path().join("data"), parent.path().join("backup.db"));
    let store = used_store(&folder).await;
    backup(&folder, &file, entry("backup")).await.unwrap();
    assert_eq!(audited(&store).await, ["backup"]);
    assert_eq!(names(parent.path()), ["backup.db", "data"]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let before = fs::read(&file).unwrap();
    let refused = backup(&folder, &file, entry("backup")).await.unwrap_err();
    assert!(matches!(refused, BackupError::Exists { .. }), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), before);

    // What a backup that was killed left does not stop the next one, and is not written to.
    let (other, linked) = (parent.path().join("other.db"), parent.path().join("linked"));
    fs::write(parent.path().join("other.db.part"), "half").unwrap();
    fs::hard_link(parent.path().join("other.db.part"), &linked).unwrap();
    backup(&folder, &other, entry("backup")).await.unwrap();
    assert_eq!(fs::read(&linked).unwrap(), b"half");
    assert_eq!(names(parent.path()), ["backup.db", "data", "linked", "other.db"]);
    store.close().await;
}

#[tokio::test]
async fn a_backup_of_a_damaged_database_is_refused_and_leaves_no_file() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, file) = (parent.path().join("data"), parent.path().join("backup.db"));
    used_store(&folder).await.close().await;
    let mut bytes = fs::read(folder.join("masque.db")).unwrap();
    let raw = raw_connection::open(&folder);
    let page =
        raw_connection::number(&raw, "SELECT rootpage FROM sqlite_schema WHERE name = 'spending'") as usize;
    drop(raw);
    bytes[(page - 1) * 4096..page * 4096].fill(0x55);
    fs::write(folder.join("masque.db"), bytes).unwrap();
    let refused = backup(&folder, &file, entry("backup")).await.unwrap_err();
    assert!(matches!(refused, BackupError::Copy { .. }), "{refused}");
    assert_eq!(names(parent.path()), ["data"]);
}

#[tokio::test]
async fn a_backup_is_restored_with_what_it_held_and_the_present_database_is_kept() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, file) = (parent.path().join("data"), parent.path().join("backup.db"));
    let store = used_store(&folder).await;
    backup(&folder, &file, entry("backup")).await.unwrap();
    let later = exchange(&store, new_conversation(), "Later", "Yes").await;
    assert_eq!(store.store_turn_records(vec![record(&later, 1, 10).encode().unwrap()]).await.unwrap(), 1);

    let refused = restore(&folder, &file).await.unwrap_err();
    assert!(matches!(refused, BackupError::Open(OpenError::Locked { .. })), "{refused}");
    store.close().await;
    for number in 1..=2 {
        let kept = restore(&folder, &file).await.unwrap().unwrap();
        assert_eq!(kept, folder.join(format!("masque.db.before-restore-{number}")));
        let store: Arc<dyn Store> = SqliteStore::open(&folder).await.unwrap();
        assert_eq!(conversations(&store).await, 1);
        let records = rusqlite::Connection::open(folder.join("records.db")).unwrap();
        let records = raw_connection::number(&records, "SELECT count(*) FROM turn_records");
        assert_eq!(records, 0, "records are of turns of the database from before");
        assert_eq!(audited(&store).await, ["restore"]);
        exchange(&store, new_conversation(), "After it", "Yes").await;
        store.close().await;
    }
    assert_eq!(fs::metadata(folder.join("masque.db")).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = rusqlite::Connection::open(folder.join("masque.db.before-restore-1")).unwrap();
    assert_eq!(raw_connection::number(&kept, "SELECT count(*) FROM conversations"), 2);
    assert!(file.exists());
}

#[tokio::test]
async fn the_log_of_a_killed_host_is_kept_with_its_database_and_not_read_with_the_restored_one() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, file) = (parent.path().join("data"), parent.path().join("backup.db"));
    let store = used_store(&folder).await;
    backup(&folder, &file, entry("backup")).await.unwrap();
    exchange(&store, new_conversation(), "Only in the log", "Yes").await;
    // The files as a killed host leaves them.
    let killed = parent.path().join("killed");
    fs::create_dir(&killed).unwrap();
    for name in ["masque.db", "masque.db-wal", "masque.db-shm"] {
        fs::copy(folder.join(name), killed.join(name)).unwrap();
    }
    store.close().await;
    assert!(fs::metadata(killed.join("masque.db-wal")).unwrap().len() > 0);

    let kept = restore(&killed, &file).await.unwrap().unwrap();
    let connection = rusqlite::Connection::open(kept).unwrap();
    assert_eq!(raw_connection::number(&connection, "SELECT count(*) FROM conversations"), 2);
    let store: Arc<dyn Store> = SqliteStore::open(&killed).await.unwrap();
    assert_eq!(conversations(&store).await, 1);
    store.close().await;
}

#[tokio::test]
async fn a_damaged_database_is_kept_and_replaced() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, file) = (parent.path().join("data"), parent.path().join("backup.db"));
    let store = used_store(&folder).await;
    backup(&folder, &file, entry("backup")).await.unwrap();
    store.close().await;
    fs::write(folder.join("masque.db"), "no database any more").unwrap();
    fs::write(folder.join("masque.db-wal"), "and no log").unwrap();
    let kept = restore(&folder, &file).await.unwrap().unwrap();
    assert_eq!(fs::read(&kept).unwrap(), b"no database any more");
    let store: Arc<dyn Store> = SqliteStore::open(&folder).await.unwrap();
    assert_eq!(conversations(&store).await, 1);
    store.close().await;
}

#[tokio::test]
async fn a_restore_that_is_dropped_leaves_the_database_and_what_is_prepared_can_be_changed() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, file) = (parent.path().join("data"), parent.path().join("backup.db"));
    let store = used_store(&folder).await;
    backup(&folder, &file, entry("backup")).await.unwrap();
    store.close().await;
    let before = names(&folder);
    drop(Restore::prepare(&folder, &file).await.unwrap());
    assert_eq!(names(&folder), before);
    // What a restore that was killed left is in nobody's way.
    fs::write(folder.join("masque.db.restoring"), "half").unwrap();
    fs::write(folder.join("masque.db.restoring-wal"), "half").unwrap();

    let prepared = Restore::prepare(&folder, &file).await.unwrap();
    assert!(matches!(SqliteStore::open(&folder).await, Err(OpenError::Locked { .. })));
    let connection = rusqlite::Connection::open(prepared.database()).unwrap();
    connection.execute("UPDATE messages SET text = 'erased'", []).unwrap();
    drop(connection);
    prepared.install(entry("restore")).await.unwrap();
    let connection = raw_connection::open(&folder);
    assert_eq!(raw_connection::number(&connection, "SELECT count(*) FROM messages WHERE text = 'erased'"), 2);
}

#[tokio::test]
async fn what_is_no_backup_is_refused_and_the_database_stays() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let store = used_store(&folder).await;
    let backup_file = parent.path().join("backup.db");
    backup(&folder, &backup_file, entry("backup")).await.unwrap();
    store.close().await;
    let database = fs::read(folder.join("masque.db")).unwrap();

    let at = |name: &str| parent.path().join(name);
    fs::write(at("text"), "this is a diary, ".repeat(500)).unwrap();
    fs::write(at("empty"), "").unwrap();
    rusqlite::Connection::open(at("foreign"))
        .unwrap()
        .execute_batch("CREATE TABLE recipes (name TEXT)")
        .unwrap();
    fs::copy(&backup_file, at("other")).unwrap();
    rusqlite::Connection::open(at("other"))
        .unwrap()
        .execute_batch("UPDATE schema_digest SET digest = 'x'")
        .unwrap();
    let mut damaged = fs::read(&backup_file).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle..].fill(0x55);
    fs::write(at("damaged"), damaged).unwrap();
    fs::copy(&backup_file, at("with_log")).unwrap();
    fs::write(at("with_log-wal"), "frames").unwrap();
    for (name, words) in [
        ("text", "not a database"),
        ("empty", "empty"),
        ("foreign", "another program"),
        ("other", "another version"),
        ("damaged", "can't be restored"),
        ("with_log", "write-ahead log"),
    ] {
        let refused = restore(&folder, &at(name)).await.unwrap_err();
        assert!(matches!(refused, BackupError::NoBackup { .. }), "{name}: {refused:?}");
        assert!(refused.to_string().contains(words), "{name}: {refused}");
        assert_eq!(names(&folder), ["masque.db", "masque.lock", "records.db"], "{name}");
    }
    let missing = restore(&folder, &at("missing")).await.unwrap_err();
    assert!(matches!(missing, BackupError::File { .. }), "{missing:?}");
    assert_eq!(fs::read(folder.join("masque.db")).unwrap(), database);
}
