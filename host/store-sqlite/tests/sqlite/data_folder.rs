//! The data folder: its lock, closing and opening again, databases that are refused, and file permissions.

use masque_store::conformance::{fixtures::*, turn_records};
use masque_store_sqlite::{SqliteStore, check_data_folder, open_key_ring, open_parked_jobs};

use super::raw_connection;

#[tokio::test]
async fn a_folder_in_use_is_refused_and_free_after_closing() {
    let folder = tempfile::tempdir().unwrap();
    let first = SqliteStore::open(folder.path()).await.unwrap();
    match SqliteStore::open(folder.path()).await {
        Err(error @ OpenError::Locked { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&std::process::id().to_string()), "{text}");
            assert!(text.contains(folder.path().to_str().unwrap()), "{text}");
        }
        other => panic!("{other:?}"),
    }
    first.close().await;
    SqliteStore::open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn closing_finishes_every_accepted_operation_and_refuses_later_ones() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let starts: Vec<_> = (0..200)
        .map(|_| {
            let admission = admission(new_conversation(), "Hello");
            let (turn, store) = (admission.turn, Arc::clone(&store));
            (turn, tokio::spawn(async move { store.admit(admission).await?.durable.wait().await }))
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await;
    store.close().await;
    assert!(matches!(
        store.admit(admission(new_conversation(), "Late")).await,
        Err(StoreError::Unavailable(_))
    ));
    assert!(matches!(store.turn(&ada(), starts[0].0).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.check().await, Err(StoreError::Unavailable(_))));

    let store = SqliteStore::open(folder.path()).await.unwrap();
    store.check().await.unwrap();
    let mut done = 0;
    for (turn, start) in starts {
        let acknowledged = start.await.unwrap();
        assert_eq!(
            store.turn(&ada(), turn).await.unwrap().is_some(),
            acknowledged.is_ok(),
            "{acknowledged:?}"
        );
        done += usize::from(acknowledged.is_ok());
    }
    assert!(done > 0, "no operation was accepted before closing");
}

#[tokio::test]
async fn a_turn_that_ran_when_the_store_was_closed_is_interrupted_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let shared: Arc<dyn Store> = store.clone();
    let done = start(&shared, admission(new_conversation(), "One")).await;
    let mut commit = reply(&done, "First");
    commit.jobs.push(job("window"));
    kept(store.commit(commit).await);
    assert_eq!(store.take(host(), LONG, JobLimits::total(1), None).await.unwrap().jobs.len(), 1);
    let running =
        start(&shared, Admission { idempotency: key("k"), ..admission(new_conversation(), "Two") }).await;
    store.close().await;

    let store = SqliteStore::open(folder.path()).await.unwrap();
    let turn = store.turn(&ada(), running.turn).await.unwrap().unwrap();
    assert_eq!(turn.status, TurnStatus::Interrupted);
    assert_eq!(store.commit(reply(&running, "Late")).await.unwrap(), Ending::LeaseLost);
    let again = Admission { idempotency: key("k"), ..admission(new_conversation(), "Two") };
    match store.admit(again).await.unwrap().outcome {
        AdmissionOutcome::Started(started) => assert_eq!((started.turn, started.attempt), (running.turn, 2)),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        store.take(host(), LONG, JobLimits::total(1), None).await.unwrap().jobs.pop().map(|job| job.attempt),
        Some(2),
        "the running job can be taken again"
    );
}

/// Asserts that store, key ring, parked jobs and the check refuse the folder with the same error and leave the database's
/// bytes as they are. Returns the error.
async fn assert_refused(folder: &std::path::Path, is_expected: fn(&OpenError) -> bool) -> String {
    let path = folder.join("masque.db");
    let before = std::fs::read(&path).unwrap();
    let mut texts = Vec::new();
    for error in [
        SqliteStore::open(folder).await.err(),
        open_key_ring(folder).await.err(),
        open_parked_jobs(folder).await.err(),
        check_data_folder(folder).await.err(),
    ] {
        match error {
            Some(error) if is_expected(&error) => texts.push(error.to_string()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(texts.iter().all(|text| *text == texts[0]));
    texts.remove(0)
}

fn is_other_schema(error: &OpenError) -> bool {
    matches!(error, OpenError::OtherSchema { .. })
}

#[tokio::test]
async fn a_database_of_another_version_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    SqliteStore::open(folder.path()).await.unwrap().close().await;
    let database = raw_connection::open(folder.path());
    database.execute("UPDATE schema_digest SET digest = 'later'", []).unwrap();
    database.close().unwrap();
    let text = assert_refused(folder.path(), is_other_schema).await;
    assert!(text.contains("newer version") && text.contains("name another data folder"), "{text}");
    assert!(text.contains(folder.path().to_str().unwrap()), "{text}");
}

#[tokio::test]
async fn a_data_folder_from_before_this_schema_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let database = raw_connection::open(folder.path());
    let old = "PRAGMA journal_mode = WAL;
        CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, success BOOLEAN NOT NULL);
        INSERT INTO _sqlx_migrations VALUES (1, 'first conversation', TRUE);
        CREATE TABLE conversations (id BLOB PRIMARY KEY, lease_turn BLOB);";
    database.execute_batch(old).unwrap();
    database.close().unwrap();
    let text = assert_refused(folder.path(), is_other_schema).await;
    assert!(text.contains("older") && text.contains("name another data folder"), "{text}");
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let database = raw_connection::open(folder.path());
    database.execute_batch("CREATE TABLE recipes (name TEXT);").unwrap();
    database.close().unwrap();
    let is_foreign = |error: &OpenError| matches!(error, OpenError::ForeignDatabase { .. });
    let text = assert_refused(folder.path(), is_foreign).await;
    assert!(text.contains("not written by Masque") && text.contains("name another data folder"), "{text}");
    assert!(!text.contains("version"), "{text}");
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("masque.db"), "this is a diary, ".repeat(500)).unwrap();
    match SqliteStore::open(folder.path()).await {
        Err(OpenError::Database { source: StoreError::Corrupt(_), .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_folder_that_can_not_be_created_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(SqliteStore::open(&file.join("data")).await, Err(OpenError::Io { .. })));
}

#[cfg(unix)]
#[tokio::test]
async fn neither_the_database_nor_its_log_can_be_read_by_others() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let store = SqliteStore::open(&folder).await.unwrap();
    store.conversations(&ada(), Page { limit: 1, after: None }).await.unwrap();
    let started = start(&(store.clone() as _), admission(new_conversation(), "A secret")).await;
    store.store_turn_records(vec![turn_records::record(&started, 1, 10).encode().unwrap()]).await.unwrap();
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 7, "the lock and two databases with their logs: {files:?}");
    files.push(folder);
    for file in files {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", file.display());
    }
}

/// Runs this test again as another user, for whom the files belong to somebody else.
#[tokio::test]
async fn a_database_of_another_owner_that_the_group_may_write_is_opened() {
    use std::os::unix::fs::{PermissionsExt, chown};
    const FOLDER: &str = "MASQUE_TEST_FOREIGN_FOLDER";
    const GROUP: u32 = 64_000;
    if let Some(folder) = std::env::var_os(FOLDER) {
        let store = SqliteStore::open(folder.as_ref()).await.unwrap();
        start(&(store.clone() as _), admission(new_conversation(), "Written by another user")).await;
        store.close().await;
        return;
    }
    // The folder of this test must be reachable for another user.
    let parent = tempfile::tempdir().unwrap();
    std::fs::set_permissions(parent.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let folder = parent.path().join("data");
    SqliteStore::open(&folder).await.unwrap().close().await;
    for (path, mode) in [("", 0o770), ("masque.db", 0o660), ("masque.lock", 0o660), ("records.db", 0o660)] {
        let path = folder.join(path);
        if chown(&path, None, Some(GROUP)).is_err() {
            println!("skipped: only root can give files to another group");
            return;
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    // The test's own program may be out of that user's reach.
    let program = parent.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let ids = [format!("--reuid={GROUP}"), format!("--regid={GROUP}")];
    let run = std::process::Command::new("setpriv")
        .args(&ids)
        .arg("--clear-groups")
        .arg(&program)
        .args(["--exact", "data_folder::a_database_of_another_owner_that_the_group_may_write_is_opened"])
        .env(FOLDER, &folder)
        .current_dir("/")
        .output();
    let Ok(run) = run else {
        println!("skipped: `setpriv` is missing");
        return;
    };
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn a_named_pipe_in_place_of_the_database_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("masque.db")).status().unwrap();
    assert!(made.success());
    match SqliteStore::open(folder.path()).await {
        Err(OpenError::Io { source, .. }) => {
            let text = source.to_string();
            assert!(text.contains("masque.db") && text.contains("a named pipe"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}
