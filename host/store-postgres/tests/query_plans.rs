//! The statements of every hot operation, those within functions too, find their rows by an index however large the tables
//! are.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this crate is a test"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use masque_store::conformance::fixtures::{
    LATER, LONG, admission, admit, entry, host, job, kept, key, new_conversation, other_host, reply, start,
};
use masque_store::conformance::turn_records;
use masque_store::{
    Admission, AdmissionOutcome, BlockRequest, Commit, ErasureRequest, ExportSection, JobCompletion,
    JobLimits, OwnedTurnRecord, Owner, Page, RecordBounds, SpendingDay, SpendingReport, Started, StateChange,
    StateFence, StateKey, StateScope, StateSpace, StateWrite, Store, TailLimit, Target, UsedTokens, Waiting,
};
use masque_store_postgres::PostgresStore;
use masque_store_postgres::testing::{TestServer, fill_sql};
use uuid::Uuid;

/// Tables that grow with use. The others have a row for each host, or for each key of an operator.
const GROWING: [&str; 14] = [
    "messages",
    "turns",
    "leases",
    "jobs",
    "state",
    "state_totals",
    "conversations",
    "users",
    "idempotency_keys",
    "tickets",
    "spending",
    "spending_blocks",
    "erasures",
    "turn_records",
];

/// Tickets of other conversations, days and blocks of other accounts, records of other turns, erasures that are complete, jobs that
/// wait behind others, and conversations that are idle for longer than all others.
const FILL_MORE: &str = "
    INSERT INTO tickets (turn, conversation, number, host, ends_at)
        SELECT gen_random_uuid(), gen_random_uuid(), 1, gen_random_uuid(), 4102444800000
          FROM generate_series(1, 20000);
    INSERT INTO spending (account, day, input_tokens, output_tokens)
        SELECT 'key:' || n, masque_now_v1() / 86400000 - d, 1, 1
          FROM generate_series(1, 5000) n CROSS JOIN generate_series(0, 3) d;
    INSERT INTO spending_blocks (account, day, host, tokens, ends_at)
        SELECT 'key:' || n, masque_now_v1() / 86400000, gen_random_uuid(), 1, 4102444800000
          FROM generate_series(1, 5000) n CROSS JOIN generate_series(1, 4);
    INSERT INTO turn_records (turn, attempt, conversation, stored_at, bytes, body)
        SELECT gen_random_uuid(), 1, gen_random_uuid(), masque_now_v1() - n, 1000, 'x' FROM generate_series(1, 20000) n;
    INSERT INTO erasures (id, user_id, name, spending_name, begun_at, done_at)
        SELECT gen_random_uuid(), gen_random_uuid(), repeat('0', 64), repeat(md5(n::text), 2), n, n FROM generate_series(1, 20000) n;
    INSERT INTO jobs (id, queue, user_id, conversation, turn, plugin, kind, payload, status, created_at)
        SELECT gen_random_uuid(), 'waits', gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'window', 'observe',
               repeat('p', 300), 'queued', masque_now_v1()
          FROM generate_series(1, 20000);
    WITH idle AS (
        INSERT INTO conversations (id, user_id, companion, created_at)
            SELECT gen_random_uuid(), u.id, 'elara', n FROM users u, generate_series(1, 5000) n WHERE u.subject = 'user-0'
            RETURNING id, created_at)
    INSERT INTO leases (conversation, epoch, last_sequence, updated_at) SELECT id, 0, 0, created_at FROM idle";

fn owner() -> Owner {
    Owner { tenant: "default".into(), issuer: "bench".into(), subject: "user-7".into() }
}

/// Logs the plan of each statement that a later connection to the database runs.
fn log_plans(server: &TestServer, database: &str) {
    let settings = [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_nested_statements = on",
    ];
    for setting in settings {
        server.psql("postgres", &format!("ALTER DATABASE {database} SET {setting}"));
    }
}

/// What the server logged since it had `from` characters.
fn log(server: &TestServer, from: usize) -> String {
    let read = "SELECT pg_read_file(current_setting('data_directory') || '/../server.log')";
    server.psql("postgres", read).chars().skip(from).collect()
}

/// The plans of a log that read a growing table from its start to its end.
fn sequential_scans(log: &str) -> Vec<&str> {
    let is_scan = |line: &str| {
        line.split_once("Seq Scan on ")
            .and_then(|(_, rest)| rest.split([' ', '(']).next())
            .is_some_and(|table| GROWING.contains(&table))
    };
    // The sweep looks at all tickets: there are no more than requests that wait. It adds up the bytes of all records, once a
    // minute, from an index if the table was vacuumed.
    let is_sweep = |plan: &&str| {
        plan.contains("SELECT turn FROM tickets WHERE ends_at")
            || plan.contains("SELECT coalesce(sum(bytes), 0)::bigint - p_total")
    };
    log.split("LOG:  duration").filter(|plan| !is_sweep(plan) && plan.lines().any(is_scan)).collect()
}

async fn turn(store: &Arc<dyn Store>, target: Target, name: &str) -> Started {
    let keyed = Admission { owner: owner(), idempotency: key(name), ..admission(target, "Hello") };
    let started = start(store, keyed).await;
    let space = StateSpace {
        tenant: "default".into(),
        plugin: "window".into(),
        scope: StateScope::Conversation(started.conversation),
    };
    let state_key = StateKey { space: space.clone(), key: "summary".into() };
    store.state_get(&state_key).await.unwrap();
    let fence = Some(StateFence::Turn { turn: started.turn, epoch: started.epoch });
    let change = StateChange::Set { value: vec![1; 300], if_version: None, ttl: Some(LONG) };
    let write = StateWrite { key: state_key, change, quota: Some(1 << 20) };
    store.state_write(fence, vec![write]).await.unwrap().unwrap();
    store.state_list(&space, "s", None, 10).await.unwrap();
    assert_eq!(store.heartbeat(host(), &[started.turn], LONG).await.unwrap().held.len(), 1);
    let commit = Commit { owner: owner(), jobs: vec![job("window")], ..reply(&started, "Hi") };
    kept(store.commit(commit).await);
    let record = OwnedTurnRecord { owner: owner(), ..turn_records::record(&started, 1, 1000) };
    assert_eq!(store.store_turn_records(vec![record.encode().unwrap()]).await.unwrap(), 1);
    assert!(store.turn_record(started.turn).await.unwrap().is_some());
    started
}

/// A turn waits for a conversation, is told to look again, and stops; the one that runs is to end.
async fn wait(store: &Arc<dyn Store>, target: Target) {
    let running = start(store, Admission { owner: owner(), ..admission(target, "Hello") }).await;
    let waits = Admission {
        owner: owner(),
        waiting: Some(Waiting { max: 4, ttl: LONG }),
        ..admission(Target::Existing(running.conversation), "Me too")
    };
    for _ in 0..2 {
        let outcome = admit(store, waits.clone()).await;
        assert!(matches!(outcome, AdmissionOutcome::Busy { is_waiting: true, .. }), "{outcome:?}");
    }
    assert_eq!(store.request_cancel(&owner(), running.turn).await.unwrap(), Some(host()));
    assert_eq!(store.heartbeat(host(), &[running.turn], LONG).await.unwrap().cancel, [running.turn]);
    kept(store.commit(Commit { owner: owner(), ..reply(&running, "Hi") }).await);
    store.stop_waiting(running.conversation, waits.turn).await.unwrap();
}

/// Two hosts report what they spent and ask for blocks; then one returns its own.
async fn spend(store: &Arc<dyn Store>, number: usize) {
    let account = |number: usize| format!("key:{}", number + 1);
    let report = |host: Uuid, day: i64| SpendingReport {
        host,
        revision: number as u64 + 1,
        lease: LONG,
        sent_at: LATER.0,
        used: [0, 1]
            .map(|day_before| UsedTokens {
                account: account(number),
                day: SpendingDay(day - day_before),
                debited_at: LATER,
                input_tokens: 11,
                output_tokens: 5,
            })
            .into(),
        blocks: [0, 1]
            .map(|more| BlockRequest::Hold { account: account(number + more), budget: 1_000, wanted: 1 })
            .into(),
    };
    let nothing = SpendingReport { used: Vec::new(), blocks: Vec::new(), ..report(host(), 0) };
    let today = store.report_spending(SpendingReport { revision: 0, ..nothing.clone() }).await.unwrap().now
        / 86_400_000;
    for host in [host(), other_host()] {
        assert_eq!(store.report_spending(report(host, today)).await.unwrap().blocks.len(), 2);
    }
    let returned = vec![BlockRequest::Return { account: account(number) }];
    store.report_spending(SpendingReport { blocks: returned, ..nothing }).await.unwrap();
    store.spent(&account(number)).await.unwrap();
}

/// What hosts do again and again for erasures, and a user without much data is erased.
async fn erase(store: &Arc<dyn Store>) {
    let owner = Owner { tenant: "default".into(), issuer: "bench".into(), subject: "goes".into() };
    start(store, Admission { owner: owner.clone(), ..admission(new_conversation(), "Hello") }).await;
    let name = store.installation().await.unwrap().erased_name(&owner);
    let request = ErasureRequest { receipt: Uuid::now_v7(), owner, name, entry: entry("user.erase") };
    let begun = store.begin_erasure(request).await.unwrap();
    assert_eq!(store.running_erasures().await.unwrap().len(), 1);
    while store.erase_some(begun.receipt).await.unwrap() {}
    store.finish_erasure(begun.receipt, entry("user.erased")).await.unwrap().unwrap();
    assert!(store.erasure(begun.receipt).await.unwrap().is_some());
    assert!(store.erasure_of_user(begun.user).await.unwrap().is_some());
    assert!(store.running_erasures().await.unwrap().is_empty());
}

/// Runs every hot operation once.
async fn run_all(store: &Arc<dyn Store>, number: usize) {
    let first = turn(store, new_conversation(), &format!("new-{number}")).await;
    turn(store, Target::Existing(first.conversation), &format!("existing-{number}")).await;
    wait(store, new_conversation()).await;
    wait(store, Target::Existing(first.conversation)).await;
    spend(store, number).await;
    erase(store).await;
    let page = || Page { limit: 20, after: None };
    let listed = store.conversations(&owner(), page()).await.unwrap();
    assert_eq!(listed.items.len(), 20);
    let companions = BTreeSet::from(["bran".to_owned()]);
    assert!(!store.conversations_with(&owner(), &companions, page()).await.unwrap().items.is_empty());
    let old = listed.items.last().unwrap().id;
    assert!(store.conversation(&owner(), old).await.unwrap().is_some());
    assert!(store.messages(&owner(), old, page()).await.unwrap().is_some());
    let tail = TailLimit { messages: 4, bytes: 65536 };
    let before = store.messages_before(&owner(), old, None, tail).await.unwrap();
    let ids: Vec<_> = before.iter().map(|message| message.id).collect();
    assert!(!before.is_empty());
    assert_eq!(store.messages_by_id(&owner(), &ids).await.unwrap(), before);
    assert!(store.turn(&owner(), first.turn).await.unwrap().is_some());
    assert!(store.keyed(&owner(), "/chat", &format!("new-{number}")).await.unwrap().is_some());
    let plugins = BTreeSet::from(["window".to_owned()]);
    let taken = store.take(host(), LONG, JobLimits::total(2), Some(&plugins)).await.unwrap().jobs;
    for job in &taken {
        store.renew_jobs(host(), &[job.id], LONG).await.unwrap();
        assert!(store.complete(job.id, job.epoch, JobCompletion::default()).await.unwrap());
    }
    assert!(!taken.is_empty());
    store.recover(host()).await.unwrap();
    store.sweep().await.unwrap();
    assert!(store.forget_conversations(LONG).await.unwrap() > 0);
    store.forget_spending(LONG * 24 * 400).await.unwrap();
    // Some records are past their age, and then there are some too many.
    for bounds in [(20_000_u64.saturating_sub(500 * number as u64), u64::MAX), (u64::MAX, 15_000_000)] {
        let bounds = RecordBounds { max_age_ms: bounds.0, max_total_bytes: bounds.1 };
        store.sweep_turn_records(bounds).await.unwrap();
    }
    store.export(&owner(), ExportSection::TurnRecords, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hot_operation_reads_a_growing_table_from_its_start_to_its_end() {
    // A server of its own: its log has no plans of other tests.
    let server = TestServer::start();
    let database = server.migrated_database().await;
    server.psql(&database.name, &fill_sql(10_000));
    server.psql(&database.name, FILL_MORE);
    server.psql(&database.name, "ANALYZE");
    log_plans(&server, &database.name);
    let begin = log(&server, 0).chars().count();
    let mut options = database.options();
    options.max_connections = 1;
    let store: Arc<dyn Store> = PostgresStore::open(&options).await.unwrap();
    // From the sixth time on, a statement may have a plan for all arguments.
    for number in 0..12 {
        run_all(&store, number).await;
    }
    store.close().await;

    let plans = log(&server, begin);
    assert!(plans.contains("masque_end_v1") && plans.contains("Index Scan using messages_pkey"), "{plans}");
    assert!(plans.contains("Index Scan using leases_idle"), "idle conversations are a range");
    let scans = sequential_scans(&plans);
    assert!(scans.is_empty(), "{} plans:\n{}", scans.len(), scans.join("\n"));

    // Without its index, a query is found.
    server.psql(
        &database.name,
        "ALTER TABLE messages DROP CONSTRAINT messages_pkey; DROP INDEX messages_in_tail",
    );
    let begin = log(&server, 0).chars().count();
    let store: Arc<dyn Store> = PostgresStore::open(&options).await.unwrap();
    run_all(&store, 100).await;
    store.close().await;
    assert!(!sequential_scans(&log(&server, begin)).is_empty());
}
