//! Copying a SQLite data folder into a database.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use masque_store::conformance::fixtures::*;
use masque_store::transfer::{TABLES, Table, TableRow, TransferSource};
use masque_store_postgres::testing::TestServer;
use masque_store_postgres::{ImportError, PostgresOpenError, PostgresOptions, PostgresStore, import};
use masque_store_sqlite::{SqliteRows, SqliteStore};
use serde_json::json;

/// Fills a data folder with rows of every table. Returns the conversation of a turn that still ran.
async fn fill(folder: &Path) -> Started {
    let store: Arc<dyn Store> = SqliteStore::open(folder).await.unwrap();
    for number in 0..20 {
        let first = exchange(&store, new_conversation(), "Hello", "Hi, with ü and '\\\" quotes").await;
        exchange(&store, Target::Existing(first.conversation), "Again", "Yes").await;
        if number % 3 == 0 {
            store.delete(&ada(), first.conversation).await.unwrap();
        }
    }
    let started = start(&store, admission(new_conversation(), "With a job")).await;
    let jobs = vec![job("window"), job("diary"), job("window")];
    kept(store.commit(Commit { jobs, ..reply(&started, "Hi") }).await);
    let space = |scope| StateSpace { tenant: "default".into(), plugin: "window".into(), scope };
    for scope in [StateScope::User(ada()), StateScope::Shared] {
        for (key, value) in [("a", vec![0, 1, 255]), ("big", vec![7; 1 << 20]), ("Z", Vec::new())] {
            let change = StateChange::Set { value, if_version: None, ttl: Some(LONG) };
            let key = StateKey { space: space(scope.clone()), key: key.into() };
            store.state_write(None, vec![StateWrite { key, change, quota: None }]).await.unwrap().unwrap();
        }
    }
    for number in 1..=3 {
        store.create_key(new_key(number), entry("key.create")).await.unwrap();
    }
    let id = new_key(2).id;
    store.rotate_key(&id, KeyHash([9; 32]), LONG, entry("key.rotate")).await.unwrap().unwrap();
    store.revoke_key(&new_key(3).id, entry("key.revoke")).await.unwrap().unwrap();
    let report = |revision, used| report(revision, used, Vec::new());
    let day = SpendingDay(store.report_spending(report(0, Vec::new())).await.unwrap().now / 86_400_000);
    let used =
        UsedTokens { account: "user:ada".into(), day, debited_at: LATER, input_tokens: 11, output_tokens: 5 };
    store.report_spending(report(1, vec![used])).await.unwrap();
    let keyed = Admission { idempotency: key("k"), ..admission(new_conversation(), "Still running") };
    let running = start(&store, keyed).await;
    store.close().await;
    running
}

async fn rows(folder: &Path) -> Box<dyn TransferSource> {
    Box::new(SqliteRows::open(folder).await.unwrap())
}

fn number_of_rows(name: &str) -> String {
    let counts: Vec<_> = TABLES
        .iter()
        .filter(|table| !["masque", "security"].contains(&table.name))
        .map(|table| format!("(SELECT count(*) FROM {})", table.name))
        .collect();
    TestServer::shared().psql(name, &format!("SELECT {}", counts.join(" + ")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_is_copied_whole_and_a_host_goes_on_with_it() {
    let (server, folder) = (TestServer::shared(), tempfile::tempdir().unwrap());
    let running = fill(folder.path()).await;
    let database = server.migrated_database().await;
    let options = database.options();
    let said = Mutex::new(Vec::new());
    let source = rows(folder.path()).await;
    let copied =
        import(&options, source, |table, rows| said.lock().unwrap().push((table.to_owned(), rows))).await;
    let copied = copied.unwrap();
    assert!(!copied.was_complete);
    assert_eq!(copied.tables.len(), TABLES.len());
    let of = |name: &str| copied.tables.iter().find(|(table, ..)| *table == name).unwrap().1;
    assert_eq!((of("api_keys"), of("jobs"), of("state"), of("users")), (3, 3, 6, 1));
    assert!(said.lock().unwrap().contains(&("messages".to_owned(), of("messages"))));

    // The answer to the last statement may have been lost: then the copy is made again and finds itself.
    let again = import(&options, rows(folder.path()).await, |_, _| {}).await.unwrap();
    assert!(again.was_complete);
    assert_eq!(again.tables, copied.tables);

    let store: Arc<dyn Store> = PostgresStore::open(&options).await.unwrap();
    leave(&store, host()).await;
    store.recover(Uuid::now_v7()).await.unwrap();
    let turn = store.turn(&ada(), running.turn).await.unwrap().unwrap();
    assert_eq!(turn.status, TurnStatus::Interrupted);
    let resent = Admission { idempotency: key("k"), ..admission(new_conversation(), "Still running") };
    assert_eq!(start(&store, resent).await.turn, running.turn, "its idempotency key is known");
    // New numbers follow those that were copied.
    store.create_key(new_key(7), entry("key.create")).await.unwrap();
    assert_eq!(store.keys(Page { limit: 1, after: None }).await.unwrap().items[0].name, "key 7");
    store.record(entry("later")).await.unwrap();
    assert_eq!(store.audit(Page { limit: 1, after: None }).await.unwrap().items[0].entry.action, "later");
    exchange(&store, new_conversation(), "Hello", "Hi").await;
    enqueue_job(&store).await;

    let refused = import(&options, rows(folder.path()).await, |_, _| {}).await.unwrap_err();
    assert!(matches!(refused, ImportError::HostsRun { .. } | ImportError::NotEmpty { .. }), "{refused}");
}

/// Ends in some way when it has handed out so many rows.
struct Cut<F> {
    source: Box<dyn TransferSource>,
    left: u64,
    end: F,
}

impl<F: FnMut() -> Result<(), StoreError> + Send> TransferSource for Cut<F> {
    fn read(
        &mut self,
        table: &'static Table,
        each: &mut dyn FnMut(TableRow) -> bool,
    ) -> Result<(), StoreError> {
        let (left, end) = (&mut self.left, &mut self.end);
        let mut ended = Ok(());
        self.source.read(table, &mut |row| {
            if *left == 0 {
                ended = end();
                if ended.is_err() {
                    return false;
                }
            }
            *left = left.wrapping_sub(1);
            each(row)
        })?;
        ended
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_interrupted_anywhere_leaves_nothing_and_is_repeated() {
    let (server, folder) = (TestServer::shared(), tempfile::tempdir().unwrap());
    fill(folder.path()).await;
    let database = server.migrated_database().await;
    let options = database.options();
    let name = database.name.clone();
    for left in [0, 1, 5, 40, 90, 130] {
        // The server's side of the connection ends, as when the server is killed.
        let victim = name.clone();
        let kill = move || {
            TestServer::shared().psql(
                "postgres",
                &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{victim}'"),
            );
            Ok(())
        };
        let source = Box::new(Cut { source: rows(folder.path()).await, left, end: kill });
        let cut = import(&options, source, |_, _| {}).await.unwrap_err();
        assert!(matches!(cut, ImportError::Interrupted(_)), "{left}: {cut}");
        assert_eq!(number_of_rows(&name), "0", "{left}");

        let fail = || Err(StoreError::Unavailable("the disk is gone".into()));
        let source = Box::new(Cut { source: rows(folder.path()).await, left, end: fail });
        let cut = import(&options, source, |_, _| {}).await.unwrap_err();
        assert!(matches!(cut, ImportError::Source(_)), "{left}: {cut}");
        assert_eq!(number_of_rows(&name), "0", "{left}");
    }
    // The command itself ends: dropping the future is what becomes of its connection then.
    for stop_at in 0..TABLES.len() as u64 {
        let source = rows(folder.path()).await;
        let (seen, options) = (AtomicU64::new(0), options.clone());
        let (sender, stopped) = tokio::sync::oneshot::channel::<()>();
        let sender = Mutex::new(Some(sender));
        let importing = async {
            let progress = |_: &str, _| {
                if seen.fetch_add(1, Ordering::SeqCst) == stop_at {
                    drop(sender.lock().unwrap().take());
                }
            };
            import(&options, source, progress).await
        };
        tokio::select! {
            biased;
            _ = stopped => {}
            ended = importing => panic!("{ended:?}"),
        }
        assert_eq!(number_of_rows(&name), "0", "{stop_at}");
    }
    let copied = import(&options, rows(folder.path()).await, |_, _| {}).await.unwrap();
    assert!(!copied.was_complete);
    PostgresStore::open(&options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_host_starts_on_a_database_into_which_rows_are_copied() {
    let (server, folder) = (TestServer::shared(), tempfile::tempdir().unwrap());
    fill(folder.path()).await;
    let database = server.migrated_database().await;
    let options = database.options();
    let (reached, mut reaches) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, waits) = std::sync::mpsc::channel::<()>();
    let end = move || {
        reached.send(()).unwrap();
        waits.recv().unwrap();
        Ok(())
    };
    let source = Box::new(Cut { source: rows(folder.path()).await, left: 30, end });
    let importing = tokio::spawn({
        let options = options.clone();
        async move { import(&options, source, |_, _| {}).await }
    });
    reaches.recv().await.unwrap();
    let refused = PostgresStore::open(&options).await.unwrap_err();
    assert!(matches!(refused, PostgresOpenError::ImportRuns { .. }), "{refused}");
    assert!(refused.is_transient(), "a host waits for its end");
    let second = Box::new(Nothing);
    let refused = import(&options, second, |_, _| {}).await.unwrap_err();
    assert!(matches!(refused, ImportError::Open(PostgresOpenError::ImportRuns { .. })), "{refused}");
    go_on.send(()).unwrap();
    importing.await.unwrap().unwrap();
    PostgresStore::open(&options).await.unwrap();
}

/// A database without rows.
struct Nothing;

impl TransferSource for Nothing {
    fn read(
        &mut self,
        _table: &'static Table,
        _each: &mut dyn FnMut(TableRow) -> bool,
    ) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_refused_while_a_host_runs_on_either_side_and_without_a_schema() {
    let (server, folder) = (TestServer::shared(), tempfile::tempdir().unwrap());
    fill(folder.path()).await;
    let database = server.migrated_database().await;
    let options = database.options();
    let store: Arc<dyn Store> = SqliteStore::open(folder.path()).await.unwrap();
    assert!(matches!(SqliteRows::open(folder.path()).await, Err(OpenError::Locked { .. })));
    store.close().await;
    let missing = folder.path().join("nowhere");
    assert!(matches!(SqliteRows::open(&missing).await, Err(OpenError::Io { .. })));
    assert!(!missing.exists());

    server.psql(
        &database.name,
        "INSERT INTO hosts (id, alive_until) VALUES (gen_random_uuid(), masque_now_v1() + 60000)",
    );
    let refused = import(&options, rows(folder.path()).await, |_, _| {}).await.unwrap_err();
    assert!(matches!(refused, ImportError::HostsRun { hosts: 1 }), "{refused}");
    server.psql(&database.name, "UPDATE hosts SET alive_until = 0");

    let held = rows(folder.path()).await;
    assert!(matches!(SqliteStore::open(folder.path()).await, Err(OpenError::Locked { .. })));
    import(&options, held, |_, _| {}).await.unwrap();

    let empty = server.empty_database();
    let options = PostgresOptions::from_url(&empty.url).unwrap();
    let refused = import(&options, rows(folder.path()).await, |_, _| {}).await.unwrap_err();
    assert!(matches!(refused, ImportError::Open(PostgresOpenError::NotMigrated { .. })), "{refused}");
}

/// A trigger that changes a value stands for any fault on the way.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_arrives_changed_is_found_and_undone() {
    let (server, folder) = (TestServer::shared(), tempfile::tempdir().unwrap());
    fill(folder.path()).await;
    let database = server.migrated_database().await;
    server.psql(
        &database.name,
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.sequence = 4 THEN NEW.text := rtrim(NEW.text, 's'); END IF;
             RETURN NEW; END $$;
         CREATE TRIGGER lose BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION lose()",
    );
    let refused = import(&database.options(), rows(folder.path()).await, |_, _| {}).await.unwrap_err();
    assert!(matches!(refused, ImportError::Differs { table: "messages" }), "{refused}");
    assert_eq!(number_of_rows(&database.name), "0");
}

#[tokio::test]
async fn every_column_of_the_schema_is_moved_or_named_as_left_out() {
    let database = TestServer::shared().migrated_database().await;
    let listed = TestServer::shared().psql(
        &database.name,
        "SELECT json_agg(json_build_array(table_name, column_name)) FROM information_schema.columns
          WHERE table_schema = 'public' AND is_generated = 'NEVER'
            AND table_name IN (SELECT relname FROM pg_class WHERE relkind = 'r')",
    );
    let found: Vec<(String, String)> = serde_json::from_str(&listed).unwrap();
    assert!(found.len() > 80, "{}", json!(found));
    assert_eq!(masque_store::transfer::list_differences(&found), Vec::<String>::new());
}
