use futures::FutureExt;
use futures::future::{join, join_all, join4};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::connection::open_reader;

/// What a test operation does after it has written its number.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Succeed,
    Refuse,
    Panic,
    /// Leaves something that only COMMIT refuses.
    BreakCommit,
}

struct Write(i64, Then);

impl Operation for Write {
    type Answer = i64;

    fn run(self, connection: &Connection) -> Result<i64> {
        execute(connection, "INSERT INTO numbers (number) VALUES (?1)", [self.0])?;
        match self.1 {
            Then::Succeed => {}
            Then::Refuse => return Err(StoreError::Refused("no".into()).into()),
            Then::Panic => panic!("an operation of a test panics"),
            Then::BreakCommit => connection
                .execute_batch("PRAGMA defer_foreign_keys = ON; INSERT INTO children (parent) VALUES (-1)")?,
        }
        Ok(self.0)
    }
}

fn open() -> (TempDir, PathBuf, Writer) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.db");
    std::fs::File::create(&path).unwrap();
    let connection = open_writer(&path).unwrap();
    let tables = "CREATE TABLE numbers (number INTEGER PRIMARY KEY) STRICT;
                  CREATE TABLE children (parent INTEGER NOT NULL REFERENCES numbers (number)) STRICT;";
    connection.execute_batch(tables).unwrap();
    let writer = Writer::start(path.clone(), connection, None).unwrap();
    (folder, path, writer)
}

fn numbers(path: &std::path::Path) -> Vec<i64> {
    crate::query::all_rows(
        &open_reader(path).unwrap(),
        "SELECT number FROM numbers ORDER BY number",
        [],
        |row| Ok(row.get(0)?),
    )
    .unwrap()
}

async fn run_all(writer: &Writer, all: &[Then]) -> Vec<std::result::Result<i64, StoreError>> {
    let writes = all.iter().zip(0..).map(|(then, number)| writer.perform(Write(number, *then)));
    join_all(writes).await
}

#[tokio::test]
async fn an_operation_that_fails_or_panics_is_undone_alone() {
    let (_folder, path, writer) = open();
    for round in [Then::Refuse, Then::Panic] {
        let results = run_all(&writer, &[Then::Succeed, round, Then::Succeed]).await;
        assert_eq!((results[0].clone(), results[2].clone()), (Ok(0), Ok(2)));
        match (round, &results[1]) {
            (Then::Refuse, Err(StoreError::Refused(_))) | (_, Err(StoreError::Internal(_))) => {}
            (_, other) => panic!("{other:?}"),
        }
        assert_eq!(numbers(&path), [0, 2]);
        Connection::open(&path).unwrap().execute("DELETE FROM numbers", []).unwrap();
    }
    assert_eq!(writer.perform(Write(7, Then::Succeed)).await, Ok(7), "the thread goes on");
}

#[tokio::test]
async fn a_commit_that_fails_fails_every_operation_of_its_batch() {
    let (_folder, path, writer) = open();
    let (told, results) = futures::future::join(
        writer.submit(Write(100, Then::Succeed)),
        run_all(&writer, &[Then::Succeed, Then::BreakCommit, Then::Succeed]),
    )
    .await;
    // The answer went out, and its durability says that it did not last.
    let (answer, durable) = told.unwrap();
    assert_eq!(answer, 100);
    assert!(matches!(durable.wait().await, Err(StoreError::Unavailable(_))));
    for result in results {
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    }
    assert_eq!(numbers(&path), [] as [i64; 0]);
    assert_eq!(run_all(&writer, &[Then::Succeed]).await, [Ok(0)]);
}

#[tokio::test]
async fn closing_finishes_what_was_accepted_and_refuses_what_comes_later() {
    let (_folder, path, writer) = open();
    let (results, ()) = futures::future::join(run_all(&writer, &[Then::Succeed; 300]), writer.close()).await;
    let done: Vec<i64> = results.into_iter().filter_map(std::result::Result::ok).collect();
    assert_eq!(numbers(&path), done);
    assert!(writer.check().is_err());
    assert_eq!(writer.perform(Write(1000, Then::Succeed)).await, Err(closed()));
    writer.close().await;
}

/// Waits until it may go on, and holds the writer meanwhile.
struct Gate(std::sync::mpsc::Receiver<()>);

impl Operation for Gate {
    type Answer = ();

    fn run(self, _connection: &Connection) -> Result<()> {
        // An error means that the test has let go.
        let _ = self.0.recv();
        Ok(())
    }
}

/// Writes its number in the background, and notes the order in which operations ran.
struct Background(i64);

impl Operation for Background {
    type Answer = i64;

    const IS_BACKGROUND: bool = true;

    fn run(self, connection: &Connection) -> Result<i64> {
        Write(self.0, Then::Succeed).run(connection)
    }
}

#[tokio::test]
async fn background_operations_come_after_all_others_and_one_in_each_transaction() {
    let (_folder, path, writer) = open();
    let setup = "CREATE TABLE log (at INTEGER PRIMARY KEY, number INTEGER) STRICT;
                 CREATE TRIGGER noted AFTER INSERT ON numbers BEGIN INSERT INTO log (number) VALUES (new.number); END;";
    Connection::open(&path).unwrap().execute_batch(setup).unwrap();
    let (open_gate, gate) = std::sync::mpsc::channel();
    let all = async {
        let gate = writer.perform(Gate(gate));
        let background = join_all((100..103).map(|number| writer.perform(Background(number))));
        let others = join_all((0..3).map(|number| writer.perform(Write(number, Then::Succeed))));
        // The operations are queued in this order when their futures are polled first, while the gate holds the thread.
        let let_go = async { open_gate.send(()).unwrap() };
        join4(gate, background, others, let_go).await
    };
    let (gate, background, others, ()) = all.await;
    gate.unwrap();
    assert!(background.into_iter().chain(others).all(|result| result.is_ok()));
    let order = crate::query::all_rows(
        &open_reader(&path).unwrap(),
        "SELECT number FROM log ORDER BY at",
        [],
        |row| Ok(row.get::<_, i64>(0)?),
    );
    assert_eq!(order.unwrap(), [0, 1, 2, 100, 101, 102], "what somebody waits for comes first");
}

#[tokio::test]
async fn a_background_operation_takes_no_other_with_it() {
    let (_folder, _path, writer) = open();
    let (open_gate, gate) = std::sync::mpsc::channel();
    /// Makes the commit of its transaction fail.
    struct Breaking;
    impl Operation for Breaking {
        type Answer = i64;
        const IS_BACKGROUND: bool = true;
        fn run(self, connection: &Connection) -> Result<i64> {
            Write(7, Then::BreakCommit).run(connection)
        }
    }
    let (_gate, breaking, second, ()) =
        join4(writer.perform(Gate(gate)), writer.perform(Breaking), writer.perform(Background(8)), async {
            open_gate.send(()).unwrap()
        })
        .await;
    assert!(matches!(breaking, Err(StoreError::Unavailable(_))), "{breaking:?}");
    assert_eq!(second, Ok(8), "it is in a transaction of its own");
}

/// Takes longer than a batch may.
struct Long;

impl Operation for Long {
    type Answer = ();

    fn run(self, _connection: &Connection) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < BATCH_TIME {
            std::hint::spin_loop();
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_batch_that_took_long_takes_no_further_operation() {
    let (_folder, path, writer) = open();
    let (open_gate, gate) = std::sync::mpsc::channel();
    let (_gate, long, breaking, ()) = join4(
        writer.perform(Gate(gate)),
        writer.perform(Long),
        writer.perform(Write(1, Then::BreakCommit)),
        async { open_gate.send(()).unwrap() },
    )
    .await;
    assert_eq!(long, Ok(()), "the operation after it is in another transaction, whose commit fails");
    assert!(matches!(breaking, Err(StoreError::Unavailable(_))), "{breaking:?}");
    assert_eq!(numbers(&path), [] as [i64; 0]);
}

/// Panics where no operation of the store does: outside of its savepoint.
struct EndsTheThread;

impl Queued for EndsTheThread {
    fn is_background(&self) -> bool {
        false
    }

    fn run(&mut self, _connection: &Connection) -> std::result::Result<(), StoreError> {
        Ok(())
    }

    fn refuse(&mut self, _error: StoreError) {}

    fn finish(self: Box<Self>, _result: &std::result::Result<(), StoreError>) {
        panic!("a test ends the thread");
    }
}

#[tokio::test]
async fn a_writer_whose_thread_ended_says_why_and_takes_no_operation() {
    let (_folder, _path, writer) = open();
    assert_eq!(writer.perform(Write(1, Then::Panic)).await.map_err(|_| "failed"), Err("failed"));
    assert_eq!(writer.failed().now_or_never(), None, "a panic of one operation ends nothing");
    writer.queue.send(Request::Run(Box::new(EndsTheThread))).await.unwrap_or_else(|_| panic!("it runs"));
    let reason = writer.failed().await.to_string();
    assert!(reason.contains("store-writer") && reason.contains("a test ends the thread"), "{reason}");
    assert!(writer.check().is_err());
    assert!(writer.perform(Write(2, Then::Succeed)).await.is_err());
}

#[tokio::test]
async fn a_writer_that_was_closed_has_not_failed() {
    let (_folder, _path, writer) = open();
    writer.close().await;
    assert_eq!(writer.failed().now_or_never(), None);
}

#[tokio::test]
async fn nothing_is_acknowledged_once_the_database_is_deleted_and_the_thread_ends_with_the_reason() {
    let (folder, path, writer) = open();
    assert_eq!(writer.perform(Write(1, Then::Succeed)).await, Ok(1));
    for name in ["test.db", "test.db-wal", "test.db-shm"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    let (open_gate, gate) = std::sync::mpsc::channel();
    let (_gate, early, (late, background), ()) = join4(
        writer.perform(Gate(gate)),
        writer.submit(Write(2, Then::Succeed)),
        join(
            join_all((3..20).map(|number| writer.perform(Write(number, Then::Succeed)))),
            // A batch takes one of these, so the others wait while it is refused.
            join_all((100..105).map(|number| writer.perform(Background(number)))),
        ),
        async { open_gate.send(()).unwrap() },
    )
    .await;
    let refused = |error: &StoreError| {
        let text = error.to_string();
        matches!(error, StoreError::Unavailable(_)) && text.contains("test.db was moved or deleted")
    };
    let early = match early {
        Ok((_answer, durable)) => durable.wait().await,
        Err(error) => Err(error),
    };
    assert!(refused(&early.unwrap_err()));
    for result in late.into_iter().chain(background) {
        assert!(refused(result.as_ref().unwrap_err()), "{result:?}");
    }
    assert!(refused(&writer.failed().await));
    assert!(writer.check().is_err());
    assert!(!path.exists());
}

#[tokio::test]
async fn what_was_acknowledged_before_the_folder_was_moved_is_in_the_moved_folder() {
    let (folder, _path, writer) = open();
    assert_eq!(run_all(&writer, &[Then::Succeed; 3]).await, [Ok(0), Ok(1), Ok(2)]);
    let parent = tempfile::tempdir().unwrap();
    let moved = parent.path().join("moved");
    std::fs::rename(folder.path(), &moved).unwrap();
    assert!(writer.perform(Write(7, Then::Succeed)).await.is_err());
    writer.failed().await;
    assert_eq!(numbers(&moved.join("test.db")), [0, 1, 2]);
}

#[tokio::test]
async fn writes_count_as_failing_until_one_that_changes_something_succeeds() {
    let (_folder, _path, writer) = open();
    writer.check().unwrap();
    writer.perform(Write(1, Then::BreakCommit)).await.unwrap_err();
    writer.check().unwrap_err();
    assert_eq!(writer.perform(Long).await, Ok(()), "an operation that writes nothing succeeds");
    let text = writer.check().unwrap_err().to_string();
    assert!(text.contains("writes have failed for"), "{text}");
    assert_eq!(writer.perform(Write(2, Then::Succeed)).await, Ok(2));
    writer.check().unwrap();
    writer.perform(Write(3, Then::Refuse)).await.unwrap_err();
    assert_eq!(writer.check(), Ok(()), "a refusal of the store's rules is no failure of the disk");
}
