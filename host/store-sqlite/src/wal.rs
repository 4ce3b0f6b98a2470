//! Keeps SQLite's write-ahead log small.
//!
//! The threat is a log that grows until the disk is full. SQLite copies the log into the database after every 1000 pages
//! and then writes it from its start again, but only at a moment at which no reader uses it. Readers of the host are
//! short but may overlap without end, and another process (a backup, a shell) may hold a read transaction open.
//!
//! The policy: when the file is larger than [`MAX_BYTES`] after a commit, the writer empties it, which waits for readers
//! for [`PATIENCE`] at most. If that fails, the log gets a line with the size, and the writer tries again when the file
//! has doubled, so that a reader that stays costs few waits.
//!
//! Accepted: as long as another process holds a read transaction, the log grows. The alternative is to refuse turns.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::connection::LOCK_TIMEOUT;
use crate::error::Result;
use crate::query::one_row;

/// The size that the log may keep, in bytes. The writer's `journal_size_limit` is the same, so a file that is larger
/// holds more than that.
pub(crate) const MAX_BYTES: u64 = 64 << 20;

/// How long emptying the log waits for readers. All writes wait meanwhile.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often a checkpoint is tried again while another connection runs one.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// The path of the log of a database.
pub(crate) fn path_of(database: &Path) -> PathBuf {
    beside(database, "-wal")
}

/// The path of the index of the log, which the processes that use the database share.
pub(crate) fn index_path_of(database: &Path) -> PathBuf {
    beside(database, "-shm")
}

fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Watches the size of the log.
pub(crate) struct LogLimit {
    path: PathBuf,
    policy: Policy,
}

impl LogLimit {
    pub(crate) fn new(database: &Path) -> Self {
        Self { path: path_of(database), policy: Policy { try_from: MAX_BYTES } }
    }

    /// Empties the log if it is too large. To be called between two transactions.
    pub(crate) fn after_commit(&mut self, connection: &Connection) {
        // Without the file there is nothing to bound.
        let bytes = std::fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        if !self.policy.is_due(bytes) {
            return;
        }
        match empty(connection, PATIENCE) {
            Ok(true) => {
                self.policy.emptied();
                tracing::info!(bytes, "the write-ahead log was emptied");
            }
            Ok(false) => {
                self.policy.failed(bytes);
                tracing::warn!(
                    bytes,
                    "the write-ahead log can't be emptied and grows: something holds a read transaction on the \
                     database open, such as a backup or a shell"
                );
            }
            Err(error) => {
                self.policy.failed(bytes);
                let error = masque_store::StoreError::from(error);
                tracing::warn!(bytes, %error, "the write-ahead log can't be emptied and grows");
            }
        }
    }
}

/// When the log is to be emptied.
struct Policy {
    /// The log is emptied when it is larger than this.
    try_from: u64,
}

impl Policy {
    fn is_due(&mut self, bytes: u64) -> bool {
        if bytes <= MAX_BYTES {
            // The reader is gone, and SQLite has shortened the file by itself.
            self.try_from = MAX_BYTES;
        }
        bytes > self.try_from
    }

    fn emptied(&mut self) {
        self.try_from = MAX_BYTES;
    }

    fn failed(&mut self, bytes: u64) {
        self.try_from = bytes.saturating_mul(2);
    }
}

/// Copies the whole log into the database and cuts it to nothing, waiting for readers and for checkpoints of other connections
/// for `patience` at most. False if one was in the way until then.
pub(crate) fn empty(connection: &Connection, patience: Duration) -> Result<bool> {
    let begun = Instant::now();
    let emptied = loop {
        let tried = try_to_empty(connection, patience.saturating_sub(begun.elapsed()));
        if !matches!(tried, Ok(false)) || begun.elapsed() >= patience {
            break tried;
        }
        // SQLite's own waiting is for readers and writers. A checkpoint of another connection makes this one fail at once
        // (<https://www.sqlite.org/c3ref/wal_checkpoint_v2.html>): of the host and of a command that complete the same erasure,
        // each would be in the way of the other.
        thread::sleep(RETRY_INTERVAL);
    };
    connection.busy_timeout(LOCK_TIMEOUT)?;
    emptied
}

fn try_to_empty(connection: &Connection, patience: Duration) -> Result<bool> {
    connection.busy_timeout(patience)?;
    one_row(connection, "PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok(row.get::<_, i64>(0)? == 0))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::connection::{open_reader, open_writer};

    #[test]
    fn a_log_that_can_not_be_emptied_is_tried_again_when_it_has_doubled() {
        let mut policy = Policy { try_from: MAX_BYTES };
        assert!(!policy.is_due(MAX_BYTES));
        assert!(policy.is_due(MAX_BYTES + 1));
        policy.failed(MAX_BYTES + 1);
        assert!(!policy.is_due(2 * MAX_BYTES));
        assert!(policy.is_due(2 * MAX_BYTES + 3));
        policy.failed(2 * MAX_BYTES + 3);
        // SQLite has shortened it meanwhile, and it grows again.
        assert!(!policy.is_due(MAX_BYTES));
        assert!(policy.is_due(MAX_BYTES + 1));
    }

    fn write(connection: &Connection, megabytes: usize) {
        for _ in 0..megabytes {
            connection.execute("INSERT INTO blobs (content) VALUES (zeroblob(1048576))", []).unwrap();
        }
    }

    #[test]
    fn a_log_that_a_reader_made_grow_is_empty_after_the_next_commit_without_the_reader() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        std::fs::File::create(&path).unwrap();
        let connection = open_writer(&path).unwrap();
        connection
            .execute_batch("PRAGMA synchronous = OFF; CREATE TABLE blobs (content BLOB) STRICT")
            .unwrap();
        let mut limit = LogLimit::new(&path);
        let bytes = || std::fs::metadata(path_of(&path)).unwrap().len();

        let reader = open_reader(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM blobs;").unwrap();
        write(&connection, 66);
        limit.after_commit(&connection);
        assert!(bytes() > MAX_BYTES, "a reader keeps the log");
        assert!(limit.policy.try_from > MAX_BYTES);

        reader.execute_batch("COMMIT").unwrap();
        limit.policy.try_from = MAX_BYTES;
        limit.after_commit(&connection);
        assert_eq!(bytes(), 0);
        write(&connection, 1);
        limit.after_commit(&connection);
        assert!(bytes() <= MAX_BYTES);
    }

    #[test]
    fn emptying_the_log_waits_for_a_checkpoint_of_another_connection() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        std::fs::File::create(&path).unwrap();
        let connection = open_writer(&path).unwrap();
        connection.execute_batch("CREATE TABLE blobs (content BLOB) STRICT").unwrap();
        let reader = open_reader(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM blobs;").unwrap();
        write(&connection, 1);
        let database = path.clone();
        let (waits, is_waiting) = sync_channel(1);
        let checkpoint = thread::spawn(move || {
            let mut other = open_writer(&database).unwrap();
            // It is called while the checkpoint has its lock, and waits for the reader for as long as it takes.
            let wait_for_reader = move |_calls: i32| {
                // It is enough to say it once.
                let _ = waits.try_send(());
                thread::yield_now();
                true
            };
            other.busy_handler(Some(wait_for_reader)).unwrap();
            let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
            one_row(&other, sql, [], |row| Ok(row.get::<_, i64>(0)?)).unwrap()
        });
        is_waiting.recv().expect("the other checkpoint waits");

        let (begun, patience) = (Instant::now(), Duration::from_millis(50));
        assert!(!empty(&connection, patience).unwrap());
        assert!(begun.elapsed() >= patience, "it gave up at once");
        reader.execute_batch("COMMIT").unwrap();
        assert!(empty(&connection, Duration::from_secs(60)).unwrap());
        assert_eq!(checkpoint.join().unwrap(), 0);
        assert_eq!(std::fs::metadata(path_of(&path)).unwrap().len(), 0);
    }
}
