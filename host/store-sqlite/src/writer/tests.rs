use futures::future::join_all;
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
    assert!(writer.is_closed());
    assert_eq!(writer.perform(Write(1000, Then::Succeed)).await, Err(closed()));
    writer.close().await;
}
