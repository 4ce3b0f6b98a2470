//! No operation takes longer as a conversation, a queue or the past of a user grows: tests that count the steps of
//! SQLite's virtual machine, which take no time into account.

use std::ffi::{c_int, c_void};

use masque_store::conformance::fixtures::{
    LONG, ada, admission, failure, host, interruption, job, new_conversation, reply,
};
use masque_store::{
    AdmissionOutcome, Commit, ConversationId, JobCompletion, JobId, JobLimits, Page, Started, StateChange,
    StateKey, StateScope, StateSpace, StateWrite, TailLimit, Target,
};
use rusqlite::{Connection, ffi, params};
use tempfile::TempDir;

use crate::connection::open_writer;
use crate::conversation_reads::{history, list, list_messages};
use crate::deletion::DeleteConversation;
use crate::error::Result;
use crate::job_operations::{CompleteJob, ForgetParkedJobs, ParkJob, RetryJob};
use crate::job_selection::TakeJobs;
use crate::leases::RenewTurns;
use crate::operation::Operation;
use crate::schema;
use crate::state_rows;
use crate::store::probe;
use crate::sweep::Sweep;

/// A database with one user, whose conversation has an exchange.
struct Database {
    connection: Connection,
    first: Started,
    /// Another conversation, to which jobs belong.
    other: ConversationId,
    _folder: TempDir,
}

fn start(connection: &Connection, target: Target) -> Started {
    match admission(target, "Hello").run(connection).unwrap() {
        AdmissionOutcome::Started(started) => started,
        other => panic!("{other:?}"),
    }
}

/// Takes one job, and returns its id and epoch.
fn take_job(connection: &Connection) -> Result<(JobId, i64)> {
    let taken = TakeJobs { host: host(), lease: LONG, limits: JobLimits::total(1) }.run(connection)?;
    Ok((taken.jobs[0].id, taken.jobs[0].epoch))
}

impl Database {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        std::fs::File::create(&path).unwrap();
        let connection = open_writer(&path).unwrap();
        schema::apply(&connection, schema::MIGRATIONS).unwrap();
        connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let first = start(&connection, new_conversation());
        Commit { jobs: vec![job("window")], ..reply(&first, "Hi") }.run(&connection).unwrap();
        let other = start(&connection, new_conversation()).conversation;
        Self { connection, first, other, _folder: folder }
    }

    /// Adds `rows` of everything that can pile up.
    fn grow(&self, rows: i64) {
        let conversation = self.first.conversation.as_uuid();
        let deleted = ConversationId::new().as_uuid();
        let user: [u8; 16] = self.connection.query_row("SELECT id FROM users", [], |row| row.get(0)).unwrap();
        let many = "WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < ?1)";
        let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| {
            let mut all: Vec<&dyn rusqlite::ToSql> = vec![&rows];
            all.extend_from_slice(values);
            self.connection.execute(&sql.replacen("MANY", many, 1), all.as_slice()).unwrap();
        };
        self.connection.execute_batch("BEGIN; PRAGMA defer_foreign_keys = ON;").unwrap();
        // Messages of failed turns at the end of the conversation.
        run(
            "MANY INSERT INTO messages (conversation, sequence, id, role, in_tail, text, metadata, created_at)
             SELECT ?2, 2 + n, randomblob(16), 'user', 0, 'lost', '{}', 0 FROM many",
            params![conversation],
        );
        self.connection
            .execute(
                "UPDATE leases SET last_sequence = 2 + ?1 WHERE conversation = ?2",
                params![rows, conversation],
            )
            .unwrap();
        // Deleted conversations that are newer than the one that is left, and one of them is long.
        run(
            "MANY INSERT INTO conversations (id, user, companion, created_at, deleted_at)
             SELECT CAST(x'ff' || randomblob(15) AS BLOB), ?2, 'elara', 0, 2 FROM many",
            params![user],
        );
        self.connection
            .execute(
                "INSERT INTO conversations (id, user, companion, created_at, deleted_at) VALUES (?1, ?2, 'elara', 0, 1)",
                params![deleted, user],
            )
            .unwrap();
        run(
            "MANY INSERT INTO messages (conversation, sequence, id, turn, role, in_tail, text, metadata, created_at)
             SELECT ?2, n, randomblob(16), randomblob(16), 'user', 1, 'gone', '{}', 0 FROM many",
            params![deleted],
        );
        // Jobs: waiting behind another, parked, at the head of other queues, and of the deleted conversation.
        let columns = "(id, queue, user, conversation, turn, plugin, kind, payload, status, due_at, parked_at, created_at)";
        let copied = "'window', 'observe', '{}'";
        for (queue, of, status, due_at) in [
            ("(SELECT queue FROM jobs WHERE number = 1)", conversation, "queued", "NULL"),
            ("'parked'", conversation, "parked", "NULL"),
            ("'queue ' || n", self.other.as_uuid(), "queued", "2"),
            ("'of the deleted one'", deleted, "queued", "iif(n = 1, 1, NULL)"),
        ] {
            run(
                &format!(
                    "MANY INSERT INTO jobs {columns}
                     SELECT randomblob(16), {queue}, ?2, ?3, randomblob(16), {copied}, '{status}', {due_at},
                            iif('{status}' = 'parked', 1, NULL), 0 FROM many"
                ),
                params![user, of],
            );
        }
        run(
            "MANY INSERT INTO idempotency_keys (expires_at, turn, user, route, key, digest)
             SELECT 1, randomblob(16), ?2, '/chat', 'key ' || n, x'00' FROM many",
            params![user],
        );
        // State: of the user, expired with and without a value, and of the deleted conversation.
        for (scope, owner, key, value, expires_at) in [
            ("user", user.as_slice(), "kept", "x'00'", "NULL"),
            ("user", user.as_slice(), "expired", "x'00'", "1"),
            ("user", user.as_slice(), "absent", "NULL", "1"),
            ("conversation", deleted.as_bytes().as_slice(), "gone", "x'00'", "NULL"),
        ] {
            run(
                &format!(
                    "MANY INSERT INTO state (tenant, plugin, scope, owner, account, key, value, version, expires_at)
                     SELECT 'default', 'window', '{scope}', ?2, ?3, '{key} ' || n, {value}, 1, {expires_at} FROM many"
                ),
                params![owner, user],
            );
        }
        run("MANY INSERT INTO spending SELECT 'account ' || n, 1, 1, 1 FROM many", &[]);
        self.connection.execute_batch("COMMIT").unwrap();
    }

    /// How many steps the work takes. What it writes is undone.
    fn steps<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> u64 {
        unsafe extern "C" fn count(steps: *mut c_void) -> c_int {
            // SAFETY: the pointer is that of `steps` below, which outlives the handler.
            unsafe { *steps.cast::<u64>() += 1 };
            0
        }
        self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut steps = 0_u64;
        // SAFETY: the connection is open, and the handler is removed before `steps` goes out of scope.
        unsafe {
            let counter = (&raw mut steps).cast::<c_void>();
            ffi::sqlite3_progress_handler(self.connection.handle(), 1, Some(count), counter);
        }
        let result = work(&self.connection);
        // SAFETY: as above.
        unsafe { ffi::sqlite3_progress_handler(self.connection.handle(), 0, None, std::ptr::null_mut()) };
        self.connection.execute_batch("ROLLBACK").unwrap();
        result.map(drop).unwrap_or_else(|error| panic!("{error:?}"));
        steps
    }

    fn space(&self) -> StateSpace {
        StateSpace { tenant: "default".into(), plugin: "window".into(), scope: StateScope::User(ada()) }
    }

    /// Each operation with its steps.
    fn measure(&self) -> Vec<(&'static str, u64)> {
        let id = self.first.conversation;
        let page = || Page { limit: 50, after: None };
        let tail = TailLimit { messages: 64, bytes: 65536 };
        let admitted = || admission(Target::Existing(id), "Hello");
        let mut measured = vec![
            ("admission", self.steps(|connection| admitted().run(connection))),
            (
                "admission of a new conversation",
                self.steps(|connection| admission(new_conversation(), "Hello").run(connection)),
            ),
            (
                "commit",
                self.steps(|connection| {
                    let started = start(connection, Target::Existing(id));
                    Commit { jobs: vec![job("window")], ..reply(&started, "Hi") }.run(connection)
                }),
            ),
            (
                "interruption",
                self.steps(|connection| {
                    let started = start(connection, Target::Existing(id));
                    interruption(&started, Some("H")).run(connection)
                }),
            ),
            (
                "failure",
                self.steps(|connection| {
                    let started = start(connection, Target::Existing(id));
                    failure(&started).run(connection)
                }),
            ),
            ("health check", self.steps(probe)),
            (
                "renewal",
                self.steps(|connection| {
                    RenewTurns { host: host(), turns: vec![self.first.turn], lease: LONG }.run(connection)
                }),
            ),
            ("deletion", self.steps(|connection| DeleteConversation { owner: ada(), id }.run(connection))),
            ("list of conversations", self.steps(|connection| list(connection, &ada(), &page()))),
            ("list of messages", self.steps(|connection| list_messages(connection, &ada(), id, &page()))),
            ("history", self.steps(|connection| history(connection, &ada(), id, None, tail))),
            (
                "list of keys",
                self.steps(|connection| state_rows::list(connection, &self.space(), "kept", None, 50)),
            ),
            (
                "write of state",
                self.steps(|connection| {
                    let change = StateChange::Set { value: vec![1], if_version: None, ttl: None };
                    let key = StateKey { space: self.space(), key: "kept 1".into() };
                    state_rows::apply(connection, &[StateWrite { key, change, quota: Some(1 << 20) }])
                }),
            ),
            (
                "taking jobs",
                self.steps(|connection| {
                    TakeJobs { host: host(), lease: LONG, limits: JobLimits::total(2) }.run(connection)
                }),
            ),
            (
                "completing a job",
                self.steps(|connection| {
                    let (job, epoch) = take_job(connection)?;
                    CompleteJob { job, epoch, completion: JobCompletion::default() }.run(connection)
                }),
            ),
            (
                "retrying a job",
                self.steps(|connection| {
                    let (job, epoch) = take_job(connection)?;
                    RetryJob { job, epoch, after: LONG, error: "failed".into() }.run(connection)
                }),
            ),
            (
                "parking a job",
                self.steps(|connection| {
                    let (job, epoch) = take_job(connection)?;
                    ParkJob { job, epoch, error: "failed".into() }.run(connection)
                }),
            ),
        ];
        measured.push((
            "forgetting parked jobs",
            self.steps(|connection| ForgetParkedJobs { older_than: LONG }.run(connection)),
        ));
        measured.extend(Sweep::ALL.map(|kind| ("sweep", self.steps(|connection| kind.run(connection)))));
        measured
    }
}

#[test]
fn no_operation_takes_more_steps_as_conversations_and_queues_grow() {
    let (few, many) = (Database::new(), Database::new());
    // Both are more than a sweep or a page takes at once.
    few.grow(600);
    many.grow(6000);
    for ((name, few), (_, many)) in few.measure().into_iter().zip(many.measure()) {
        assert!(few > 0, "{name} is counted");
        assert!(
            many <= few + few / 10 + 20,
            "{name}: {few} steps with 600 rows of each kind, {many} with 6000"
        );
    }
}

#[test]
fn a_sweep_removes_a_megabyte_of_long_messages_at_a_time() {
    let database = Database::new();
    let (connection, id) = (&database.connection, database.first.conversation);
    connection
        .execute(
            "WITH RECURSIVE many (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many WHERE n < 12)
             INSERT INTO messages (conversation, sequence, id, role, in_tail, text, metadata, created_at)
             SELECT ?1, 2 + n, randomblob(16), 'user', 1, hex(zeroblob(200000)), '{}', 0 FROM many",
            [id.as_uuid()],
        )
        .unwrap();
    assert!(DeleteConversation { owner: ada(), id }.run(connection).unwrap());
    let left = || -> i64 {
        let count = "SELECT count(*) FROM messages WHERE conversation = ?1";
        connection.query_row(count, [id.as_uuid()], |row| row.get(0)).unwrap()
    };
    let mut before = left();
    let mut sweeps = 0;
    while left() > 0 {
        assert!(Sweep::DeletedConversations.run(connection).unwrap() > 0);
        // The first two messages are short; of the others, three reach a megabyte.
        assert!(before - left() <= 5, "{} messages at once", before - left());
        before = left();
        sweeps += 1;
    }
    assert!(sweeps >= 4, "{sweeps}");
}
