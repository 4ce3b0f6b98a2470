//! A database with a lot of everything that can pile up, and a counter of the steps that work on it takes.

use std::ffi::{c_int, c_void};

use masque_store::conformance::fixtures::{ada, admission, job, new_conversation, reply};
use masque_store::{
    Admission, AdmissionOutcome, Commit, ConversationId, Started, StateScope, StateSpace, Target, TurnId,
};
use rusqlite::{Connection, ffi, params};
use tempfile::TempDir;

use crate::admission::Admit;
use crate::connection::open_writer;
use crate::error::Result;
use crate::operation::Operation;
use crate::schema;
use crate::tickets::Tickets;

/// A database with one user, whose conversation has an exchange.
pub(super) struct Database {
    pub(super) connection: Connection,
    pub(super) first: Started,
    /// Another conversation, to which jobs belong.
    pub(super) other: ConversationId,
    /// The turn that runs there.
    pub(super) running: TurnId,
    _folder: TempDir,
}

pub(super) fn admit(connection: &Connection, admission: Admission) -> Result<AdmissionOutcome> {
    Admit { admission, tickets: Tickets::default() }.run(connection)
}

pub(super) fn start(connection: &Connection, target: Target) -> Started {
    match admit(connection, admission(target, "Hello")).unwrap() {
        AdmissionOutcome::Started(started) => started,
        other => panic!("{other:?}"),
    }
}

impl Database {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        std::fs::File::create(&path).unwrap();
        let connection = open_writer(&path).unwrap();
        schema::apply(&connection, schema::MIGRATIONS).unwrap();
        connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let first = start(&connection, new_conversation());
        Commit { jobs: vec![job("window")], ..reply(&first, "Hi") }.run(&connection).unwrap();
        let other = start(&connection, new_conversation());
        Self { connection, first, other: other.conversation, running: other.turn, _folder: folder }
    }

    /// Adds `rows` of everything that can pile up.
    pub(super) fn grow(&self, rows: i64) {
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
        // Conversations in which nothing happens.
        run(
            "MANY INSERT INTO conversations (id, user, companion, created_at)
             SELECT CAST(x'00' || randomblob(15) AS BLOB), ?2, 'elara', 0 FROM many",
            params![user],
        );
        self.connection
            .execute_batch(
                "INSERT INTO leases (conversation, epoch, last_sequence, updated_at)
                 SELECT id, 0, 0, 1 FROM conversations WHERE deleted_at IS NULL AND id < x'01'",
            )
            .unwrap();
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
        run(
            "MANY INSERT INTO spending_blocks SELECT 'account ' || n, 1, randomblob(16), 1, 1 FROM many",
            &[],
        );
        self.connection.execute_batch("COMMIT").unwrap();
    }

    /// How many steps the work takes. What it writes is undone.
    pub(super) fn steps<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> u64 {
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

    pub(super) fn space(&self) -> StateSpace {
        StateSpace { tenant: "default".into(), plugin: "window".into(), scope: StateScope::User(ada()) }
    }
}
