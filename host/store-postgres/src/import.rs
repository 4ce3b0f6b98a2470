//! Copies everything from another database into an empty one, and compares both by a digest over the rows of each table.
//!
//! All of it is one transaction, so an interruption at any moment leaves the database empty, and the copy is simply started
//! again. While it runs, it holds a lock that [`refuse_while_importing`] asks for, so no host begins to serve from a database
//! that is about to change. A copy whose last answer was lost is recognised when it is started again.

use masque_store::StoreError;
use masque_store::transfer::{Moved, TABLES, Table, TableDigest, TableRow, TableValue, TransferSource};
use sqlx::postgres::PgConnection;
use tokio::sync::mpsc;

use crate::connecting::{connect, disconnect};
use crate::error::DatabaseError;
use crate::import_rows::{digest_of, insert, restart_numbers, update};
use crate::migrations::known;
use crate::open_error::PostgresOpenError;
use crate::options::PostgresOptions;
use crate::schema::{FoundSchema, inspect, refine};

/// Rows of one statement.
const BATCH_ROWS: usize = 1000;
/// About how many bytes of one statement. With two batches that wait, this bounds the memory of a copy.
const BATCH_BYTES: usize = 4 << 20;

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Each table with the number of its rows and the digest over them, the same in both databases.
    pub tables: Vec<(&'static str, u64, [u8; 32])>,
    /// Whether an earlier copy had done it all.
    pub was_complete: bool,
}

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The database can't be used.
    #[error(transparent)]
    Open(#[from] PostgresOpenError),
    /// Hosts run on the database.
    #[error("{hosts} hosts run on the database, or ended less than a minute ago; stop them and try again")]
    HostsRun {
        /// How many.
        hosts: i64,
    },
    /// The database has rows, and not those of an earlier copy.
    #[error("the database has rows in `{table}` already; name an empty database")]
    NotEmpty {
        /// A table with rows.
        table: &'static str,
    },
    /// The rows can't be read where they come from.
    #[error("the rows to be copied can't be read: {0}")]
    Source(StoreError),
    /// What arrived differs from what was sent. It was undone.
    #[error("the rows of `{table}` differ after they were copied; nothing was kept")]
    Differs {
        /// The table.
        table: &'static str,
    },
    /// The database failed. Nothing was kept, unless the last answer was lost; start the copy again in either case.
    #[error("the copy was interrupted: {0}; run the command again")]
    Interrupted(StoreError),
}

/// What the reading thread sends.
enum Sent {
    Rows(&'static Table, Vec<TableRow>),
    End(TableDigest),
    Failed(StoreError),
}

/// Copies all rows of `source` into an empty database with the schema of this build. `options` name the server itself,
/// without a pooler in front of it. `progress` is told each table with the number of its rows so far.
///
/// # Errors
/// See [`ImportError`]. Dropping the future leaves the database empty.
pub async fn import(
    options: &PostgresOptions,
    source: Box<dyn TransferSource>,
    progress: impl Fn(&str, u64),
) -> Result<Imported, ImportError> {
    let mut connection = connect(options).await?;
    match inspect(options, &mut connection, known()).await? {
        FoundSchema::Usable => {}
        FoundSchema::Empty => return Err(PostgresOpenError::NotMigrated { target: options.target() }.into()),
        FoundSchema::Older => return Err(PostgresOpenError::OlderSchema { target: options.target() }.into()),
    }
    let target_rows = begin(options, &mut connection).await?;
    let (sender, mut sent) = mpsc::channel(2);
    let reader = std::thread::Builder::new().name("import-reader".to_owned());
    let is_insertion = target_rows.is_none();
    let started = reader.spawn(move || read_all(source, &sender, is_insertion));
    started.map_err(|error| ImportError::Source(StoreError::Internal(error.to_string())))?;

    let mut tables = Vec::new();
    let mut copied = 0;
    while let Some(next) = sent.recv().await {
        match next {
            Sent::Rows(table, rows) => {
                copied += rows.len() as u64;
                match table.moved {
                    Moved::Inserted => insert(&mut connection, table, &rows).await,
                    Moved::Updated => update(&mut connection, table, &rows).await,
                    Moved::Derived => Ok(()),
                }
                .map_err(interrupted)?;
                progress(table.name, copied);
            }
            Sent::End(source) => {
                copied = 0;
                let table = source.table();
                let target = digest_of(&mut connection, table).await.map_err(interrupted)?;
                let rows = source.rows();
                let digest = source.finish();
                if (target.rows(), target.finish()) != (rows, digest) {
                    return Err(match target_rows {
                        None => ImportError::Differs { table: table.name },
                        Some(table) => ImportError::NotEmpty { table },
                    });
                }
                progress(table.name, rows);
                tables.push((table.name, rows, digest));
            }
            Sent::Failed(error) => return Err(ImportError::Source(error)),
        }
    }
    if tables.len() != TABLES.len() {
        return Err(ImportError::Source(StoreError::Internal("the reading thread ended early".into())));
    }
    restart_numbers(&mut connection).await.map_err(interrupted)?;
    run(&mut connection, "COMMIT").await?;
    disconnect(connection).await;
    Ok(Imported { tables, was_complete: target_rows.is_some() })
}

/// Begins the transaction, in which nothing else writes. Returns a table that has rows, if there is any.
async fn begin(
    options: &PostgresOptions,
    connection: &mut PgConnection,
) -> Result<Option<&'static str>, ImportError> {
    // The role's limits are for hosts; a copy takes as long as it takes.
    run(
        connection,
        "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '10s'; BEGIN",
    )
    .await?;
    let refused = |error| ImportError::Open(refine(options, error));
    let is_alone: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock(1296126545, 0)")
        .fetch_one(&mut *connection)
        .await
        .map_err(refused)?;
    if !is_alone {
        return Err(PostgresOpenError::ImportRuns { target: options.target() }.into());
    }
    let names: Vec<_> = TABLES.iter().map(|table| table.name).collect();
    let lock = format!("LOCK TABLE {}, hosts IN EXCLUSIVE MODE", names.join(", "));
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *connection).await.map_err(refused)?;
    let hosts: i64 = sqlx::query_scalar("SELECT count(*) FROM hosts WHERE alive_until > masque_now_v1()")
        .fetch_one(&mut *connection)
        .await
        .map_err(refused)?;
    if hosts > 0 {
        return Err(ImportError::HostsRun { hosts });
    }
    for table in TABLES.iter().filter(|table| table.moved == Moved::Inserted) {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", table.name);
        let has_rows: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut *connection)
            .await
            .map_err(refused)?;
        if has_rows {
            return Ok(Some(table.name));
        }
    }
    Ok(None)
}

/// Reads every table, in batches if rows are to be inserted, until nobody takes them any more.
fn read_all(mut source: Box<dyn TransferSource>, sender: &mpsc::Sender<Sent>, is_insertion: bool) {
    for table in TABLES {
        let ended = match read_table(&mut *source, table, sender, is_insertion) {
            Ok(digest) => Sent::End(digest),
            Err(error) => Sent::Failed(error),
        };
        if sender.blocking_send(ended).is_err() {
            return;
        }
    }
}

fn read_table(
    source: &mut dyn TransferSource,
    table: &'static Table,
    sender: &mpsc::Sender<Sent>,
    is_insertion: bool,
) -> Result<TableDigest, StoreError> {
    let mut digest = TableDigest::new(table);
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut failed = None;
    source.read(table, &mut |row| {
        if let Err(error) = digest.add(&row) {
            failed = Some(error);
            return false;
        }
        if !is_insertion {
            return !sender.is_closed();
        }
        bytes += row.iter().map(TableValue::size).sum::<usize>();
        batch.push(row);
        if batch.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            return true;
        }
        bytes = 0;
        sender.blocking_send(Sent::Rows(table, std::mem::take(&mut batch))).is_ok()
    })?;
    if !batch.is_empty() {
        // Nobody is there any more: the next message finds that out.
        let _ = sender.blocking_send(Sent::Rows(table, batch));
    }
    failed.map_or(Ok(digest), Err)
}

async fn run(connection: &mut PgConnection, sql: &'static str) -> Result<(), ImportError> {
    let ran = sqlx::raw_sql(sql).execute(connection).await;
    ran.map(drop).map_err(|error| interrupted(error.into()))
}

fn interrupted(error: DatabaseError) -> ImportError {
    ImportError::Interrupted(error.of_write())
}

/// Refuses a database into which rows are being copied.
///
/// # Errors
/// [`PostgresOpenError::ImportRuns`].
pub(crate) async fn refuse_while_importing(
    options: &PostgresOptions,
    connection: &mut PgConnection,
) -> Result<(), PostgresOpenError> {
    // The lock ends with the statement.
    let is_free: bool = sqlx::query_scalar("SELECT pg_try_advisory_xact_lock_shared(1296126545, 0)")
        .fetch_one(connection)
        .await
        .map_err(|error| refine(options, error))?;
    if is_free { Ok(()) } else { Err(PostgresOpenError::ImportRuns { target: options.target() }) }
}
