//! Tests with a clock that is set forward and back: nothing that a turn or job waits for follows it.

use std::time::Duration;

use masque_store::conformance::fixtures::{LONG, OVER, ada, admission, host, job, new_conversation, reply};
use masque_store::{Admission, AdmissionOutcome, Commit, JobLimits, Page, Started, Target};
use rusqlite::Connection;

use crate::admission::Admit;
use crate::columns::{lease_clock, tests::STEP};
use crate::connection::open_writer;
use crate::conversation_reads::list_messages;
use crate::error::Result;
use crate::job_operations::RetryJob;
use crate::job_rows::bring_jobs_forward;
use crate::job_selection::TakeJobs;
use crate::operation::Operation;
use crate::schema;
use crate::tickets::Tickets;

const HOUR: i64 = 3600 * 1000;
const LEASE: Duration = Duration::from_secs(30);

fn open() -> (tempfile::TempDir, Connection) {
    // The clock of leases starts before any step. Tests may share a thread.
    STEP.set(0);
    lease_clock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    std::fs::File::create(&path).unwrap();
    let connection = open_writer(&path).unwrap();
    schema::apply(&connection, schema::MIGRATIONS).unwrap();
    (folder, connection)
}

fn admit(connection: &Connection, admission: Admission) -> Result<AdmissionOutcome> {
    Admit { admission, tickets: Tickets::default() }.run(connection)
}

fn started(outcome: AdmissionOutcome) -> Started {
    match outcome {
        AdmissionOutcome::Started(started) => started,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lease_that_is_over_is_free_after_the_clock_was_set_back() {
    let (_folder, connection) = open();
    let lost = Admission { lease: OVER, ..admission(new_conversation(), "Hello") };
    let lost = started(admit(&connection, lost).unwrap());
    STEP.set(-HOUR);
    let next = admit(&connection, admission(Target::Existing(lost.conversation), "Hello?")).unwrap();
    assert!(matches!(next, AdmissionOutcome::Started(_)), "{next:?}");
}

#[test]
fn a_lease_that_is_held_is_kept_when_the_clock_is_set_forward() {
    let (_folder, connection) = open();
    let held = Admission { lease: LEASE, ..admission(new_conversation(), "Hello") };
    let held = started(admit(&connection, held).unwrap());
    STEP.set(HOUR);
    let next = admit(&connection, admission(Target::Existing(held.conversation), "Hello?")).unwrap();
    assert!(matches!(next, AdmissionOutcome::Busy { .. }), "{next:?}");
    // The turn ends as if nothing had happened, and its messages keep their order.
    STEP.set(-HOUR);
    reply(&held, "Hi").run(&connection).unwrap();
    let page = Page { limit: 10, after: None };
    let page = list_messages(&connection, &ada(), held.conversation, &page).unwrap().unwrap();
    let contents: Vec<_> = page.items.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(contents, ["Hello", "Hi"]);
}

#[test]
fn jobs_are_neither_taken_twice_nor_put_off_when_the_clock_is_set() {
    let (_folder, connection) = open();
    let turn = started(admit(&connection, admission(new_conversation(), "Hello")).unwrap());
    Commit { jobs: vec![job("window")], ..reply(&turn, "Hi") }.run(&connection).unwrap();
    let take = || {
        TakeJobs { host: host(), lease: LEASE, limits: JobLimits::total(1), plugins: None }
            .run(&connection)
            .unwrap()
            .jobs
    };
    STEP.set(-HOUR);
    let taken = take();
    let [running] = &taken[..] else { panic!("a job that was stored before the step is due") };
    STEP.set(HOUR);
    assert_eq!(take(), [], "it is leased");
    let retry = RetryJob { job: running.id, epoch: running.epoch, after: OVER, error: String::new() };
    retry.run(&connection).unwrap();
    STEP.set(-HOUR);
    assert_eq!(take().len(), 1);
}

#[test]
fn a_restart_brings_jobs_forward_that_a_clock_which_ran_ahead_put_off() {
    let (_folder, connection) = open();
    let turn = started(admit(&connection, admission(new_conversation(), "Hello")).unwrap());
    Commit { jobs: vec![job("window"), job("card")], ..reply(&turn, "Hi") }.run(&connection).unwrap();
    let set = |plugin: &str, due_at: i64| {
        connection.execute("UPDATE jobs SET due_at = ?2 WHERE plugin = ?1", (plugin, due_at)).unwrap();
    };
    set("window", lease_clock() + 24 * HOUR);
    set("card", lease_clock() + HOUR);
    bring_jobs_forward(&connection).unwrap();
    let taken = TakeJobs { host: host(), lease: LONG, limits: JobLimits::total(2), plugins: None }
        .run(&connection)
        .unwrap()
        .jobs;
    let plugins: Vec<_> = taken.iter().map(|job| job.plugin.as_str()).collect();
    assert_eq!(plugins, ["window"], "the other one waits for another try");
}
