//! No operation takes longer as a conversation, a queue or the past of a user grows: tests that count the steps of
//! SQLite's virtual machine, which take no time into account.

use masque_store::conformance::fixtures::{
    LONG, ada, admission, entry, failure, host, interruption, job, new_conversation, owner, reply,
};
use masque_store::{
    Admission, AdmissionOutcome, Commit, Erasure, ErasureRequest, JobCompletion, JobId, JobLimits, Page,
    StateChange, StateKey, StateWrite, TailLimit, Target, Waiting,
};
use rusqlite::Connection;
use uuid::Uuid;

use self::database::{Database, admit, start};
use crate::conversation_reads::{history, list, list_messages};
use crate::deletion::DeleteConversation;
use crate::erasure::{BeginErasure, FinishErasure};
use crate::erasure_rows::installation;
use crate::error::Result;
use crate::job_operations::{CompleteJob, ForgetParkedJobs, ParkJob, RetryJob};
use crate::job_selection::TakeJobs;
use crate::leases::{RecordHeartbeat, RequestCancel};
use crate::operation::Operation;
use crate::retention::{ForgetConversations, ForgetSpending};
use crate::state_rows;
use crate::store::probe;
use crate::sweep::Sweep;

mod database;

/// Takes one job, and returns its id and epoch.
fn take_job(connection: &Connection) -> Result<(JobId, i64)> {
    let taken =
        TakeJobs { host: host(), lease: LONG, limits: JobLimits::total(1), plugins: None }.run(connection)?;
    Ok((taken.jobs[0].id, taken.jobs[0].epoch))
}

/// Begins and completes the erasure of a user without data. What is between looks at all parked jobs, which are few.
fn erase(connection: &Connection) -> Result<Erasure> {
    let (receipt, owner) = (Uuid::now_v7(), owner("nobody"));
    let name = installation(connection)?.erased_name(&owner);
    BeginErasure(ErasureRequest { receipt, owner, name, entry: entry("user.erase") }).run(connection)?;
    connection.execute("UPDATE erasures SET account = NULL WHERE id = ?1", [receipt])?;
    let finished = FinishErasure { receipt, entry: entry("user.erased") }.run(connection)?;
    Ok(finished.expect("it was not complete"))
}

impl Database {
    /// Each operation with its steps.
    fn measure(&self) -> Vec<(&'static str, u64)> {
        let id = self.first.conversation;
        let page = || Page { limit: 50, after: None };
        let tail = TailLimit { messages: 64, bytes: 65536 };
        let admitted = || admission(Target::Existing(id), "Hello");
        let mut measured = vec![
            ("admission", self.steps(|connection| admit(connection, admitted()))),
            (
                "admission of a new conversation",
                self.steps(|connection| admit(connection, admission(new_conversation(), "Hello"))),
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
            ("erasure of a user without data", self.steps(erase)),
            (
                "admission of a turn that waits",
                self.steps(|connection| {
                    let waiting = Some(Waiting { max: 4, ttl: LONG });
                    let waits = || Admission { waiting, ..admission(Target::Existing(self.other), "Hello") };
                    admit(connection, waits())
                }),
            ),
            (
                "heartbeat",
                self.steps(|connection| {
                    let turns = vec![self.running, self.first.turn];
                    RecordHeartbeat { host: host(), turns, lease: LONG }.run(connection)
                }),
            ),
            (
                "wish to cancel",
                self.steps(|connection| RequestCancel { owner: ada(), turn: self.running }.run(connection)),
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
                    TakeJobs { host: host(), lease: LONG, limits: JobLimits::total(2), plugins: None }
                        .run(connection)
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
        measured.push((
            "forgetting conversations",
            self.steps(|connection| ForgetConversations { idle_for: LONG }.run(connection)),
        ));
        measured.push((
            "forgetting spending",
            self.steps(|connection| ForgetSpending { older_than: LONG }.run(connection)),
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
fn a_turn_that_waits_writes_nothing() {
    let database = Database::new();
    let waiting = Some(Waiting { max: 4, ttl: LONG });
    let waits = Admission { waiting, ..admission(Target::Existing(database.other), "Hello") };
    let before = database.connection.total_changes();
    for _ in 0..2 {
        let outcome = admit(&database.connection, waits.clone()).unwrap();
        assert!(matches!(outcome, AdmissionOutcome::Busy { is_waiting: true, .. }), "{outcome:?}");
    }
    assert_eq!(database.connection.total_changes(), before);
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
