//! The store: a pool of connections, and how statements run on it.
//!
//! Every operation is one statement, so none leaves a transaction open and each takes one round trip. Nothing that belongs
//! to a session is used: transactions can go through a pooler.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use masque_store::{StoreConnection, StoreError, StoreSize, make_ids_after};
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::{Connection, query_with};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::columns::unsigned;
use crate::connecting::{connect, disconnect};
use crate::error::{DatabaseError, Result};
use crate::import::refuse_while_importing;
use crate::migrations::known;
use crate::open_error::PostgresOpenError;
use crate::options::PostgresOptions;
use crate::pooler::check_prepared_statements;
use crate::role_timeout::warn_without_timeout;
use crate::schema::{FoundSchema, check_rights, inspect, refine};
use crate::statement::{Statement, get};

/// A connection that was idle for this long is tried before it is used: the server may have ended since. The trial is a
/// round trip, which a connection in use is spared.
const TRUSTED_WHILE_IDLE: Duration = Duration::from_secs(5);

/// How often a statement runs that the server undoes because of others.
const MAX_RUNS: u32 = 5;

/// The wait before the second run; later ones wait longer by as much.
const RERUN_AFTER: Duration = Duration::from_millis(5);

/// A [`masque_store::Store`] in a PostgreSQL database, which several hosts can use at the same time.
///
/// A write is answered when it is committed. One whose caller went away is still done. A host has to call
/// [`Turns::heartbeat`](masque_store::Turns::heartbeat) before its first turn and every few seconds from then on, also without
/// turns: others don't count it among those that live otherwise.
#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
    /// Writes that run, each on a task of its own.
    writes: TaskTracker,
    statement_timeout: Duration,
}

/// The connections of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Those that run a statement.
    pub used: u32,
    /// Those that are open and free.
    pub idle: u32,
    /// The most that may be open.
    pub limit: u32,
}

impl PostgresStore {
    /// Opens the store in a database with the schema of this build. Changes nothing in it.
    ///
    /// # Errors
    /// See [`PostgresOpenError`]. Must be called within a tokio runtime.
    pub async fn open(options: &PostgresOptions) -> std::result::Result<Arc<Self>, PostgresOpenError> {
        let mut connection = connect(options).await?;
        match inspect(options, &mut connection, known()).await? {
            FoundSchema::Usable => {}
            FoundSchema::Empty => return Err(PostgresOpenError::NotMigrated { target: options.target() }),
            FoundSchema::Older => return Err(PostgresOpenError::OlderSchema { target: options.target() }),
        }
        check_rights(options, &mut connection).await?;
        refuse_while_importing(options, &mut connection).await?;
        check_prepared_statements(options, &mut connection).await?;
        warn_without_timeout(options, &mut connection).await?;
        let newest = newest_ids(&mut connection).await.map_err(|error| refine(options, error))?;
        newest.into_iter().for_each(make_ids_after);
        disconnect(connection).await;
        Ok(Arc::new(Self::start(options)))
    }

    fn start(options: &PostgresOptions) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(options.max_connections)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, state| {
                Box::pin(async move {
                    if state.idle_for >= TRUSTED_WHILE_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options.connect.clone());
        Self { pool, writes: TaskTracker::new(), statement_timeout: options.statement_timeout }
    }

    /// How many connections are open.
    pub fn pool_use(&self) -> PoolUse {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        PoolUse {
            used: self.pool.size().saturating_sub(idle),
            idle,
            limit: self.pool.options().get_max_connections(),
        }
    }

    /// Runs a statement that writes, and answers when it is committed. It runs on although the caller goes away.
    pub(crate) async fn write(&self, statement: Statement) -> std::result::Result<Vec<PgRow>, StoreError> {
        if self.writes.is_closed() {
            return Err(closed());
        }
        let running = run_until_settled(self.pool.clone(), statement, self.statement_timeout);
        match self.writes.spawn(running).await {
            Ok(rows) => rows.map_err(DatabaseError::of_write),
            Err(ended) => Err(StoreError::OutcomeUnknown(ended.to_string())),
        }
    }

    /// Runs a statement that only reads. Nothing is found with a text that the database can't hold.
    pub(crate) async fn read(&self, statement: Statement) -> std::result::Result<Vec<PgRow>, StoreError> {
        match run(self.pool.clone(), statement, self.statement_timeout).await {
            Err(error) if error.is_of_unkept_character() => Ok(Vec::new()),
            rows => rows.map_err(DatabaseError::of_read),
        }
    }

    /// Runs a statement that only reads, and converts each of its rows.
    pub(crate) async fn read_all<T>(
        &self,
        statement: Statement,
        convert: impl Fn(&PgRow) -> Result<T>,
    ) -> std::result::Result<Vec<T>, StoreError> {
        self.read(statement).await?.iter().map(convert).collect::<Result<_>>().map_err(DatabaseError::of_read)
    }

    /// Runs a statement that only reads, and converts its first row, if there is one.
    pub(crate) async fn read_first<T>(
        &self,
        statement: Statement,
        convert: impl Fn(&PgRow) -> Result<T>,
    ) -> std::result::Result<Option<T>, StoreError> {
        first(self.read(statement).await?, convert)
    }

    /// Runs a statement that writes, and converts its first row, if there is one.
    pub(crate) async fn write_first<T>(
        &self,
        statement: Statement,
        convert: impl Fn(&PgRow) -> Result<T>,
    ) -> std::result::Result<Option<T>, StoreError> {
        first(self.write(statement).await?, convert)
    }

    /// Runs a statement that writes, and reads the only column of its only row.
    pub(crate) async fn write_value<T>(&self, statement: Statement) -> std::result::Result<T, StoreError>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        let value = self.write_first(statement, |row| get(row, 0)).await?;
        value.ok_or_else(|| StoreError::Corrupt("a statement gave no row".into()))
    }
}

/// Converts the first row.
fn first<T>(
    rows: Vec<PgRow>,
    convert: impl Fn(&PgRow) -> Result<T>,
) -> std::result::Result<Option<T>, StoreError> {
    rows.first().map(convert).transpose().map_err(DatabaseError::of_read)
}

/// Runs a statement that writes, again where the server undid it because of others that ran at the same time. A deadlock ends
/// with the first that the server picks, so another run meets others.
async fn run_until_settled(pool: PgPool, statement: Statement, timeout: Duration) -> Result<Vec<PgRow>> {
    for attempt in 1..MAX_RUNS {
        match run(pool.clone(), statement.clone(), timeout).await {
            Err(error) if error.is_undone_for_others() => {
                tracing::debug!(attempt, ?error, "a statement was undone by the server and runs again");
                tokio::time::sleep(RERUN_AFTER * attempt).await;
            }
            settled => return settled,
        }
    }
    run(pool, statement, timeout).await
}

async fn run(pool: PgPool, statement: Statement, timeout: Duration) -> Result<Vec<PgRow>> {
    let (sql, arguments) = statement.into_parts()?;
    // Nothing was sent yet, so whatever fails here leaves no outcome unknown.
    let acquired = pool.acquire().await;
    let mut connection = acquired.map_err(|error| DatabaseError::from(error).of_read())?;
    let fetched = query_with(sql, arguments).fetch_all(&mut *connection);
    match tokio::time::timeout(timeout, fetched).await {
        Ok(rows) => Ok(rows?),
        Err(_elapsed) => {
            connection.close_on_drop();
            Err(DatabaseError::TimedOut)
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

/// The newest ids of what is listed by id. Each is one step in an index.
async fn newest_ids(connection: &mut PgConnection) -> std::result::Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "(SELECT id FROM conversations ORDER BY id DESC LIMIT 1)
         UNION ALL (SELECT id FROM turns ORDER BY id DESC LIMIT 1)
         UNION ALL (SELECT id FROM messages ORDER BY id DESC LIMIT 1)",
    )
    .fetch_all(connection)
    .await
}

#[async_trait]
impl StoreConnection for PostgresStore {
    async fn check(&self) -> std::result::Result<(), StoreError> {
        if self.writes.is_closed() {
            return Err(closed());
        }
        let statement = Statement::new(
            "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool FROM masque",
        );
        match self.read_first(statement, |row| get::<bool, _>(row, 0)).await? {
            Some(false) => Ok(()),
            _ => Err(StoreError::Unavailable("the database only reads".into())),
        }
    }

    /// Never resolves: whatever breaks, a later connection may work again.
    async fn failed(&self) -> StoreError {
        pending().await
    }

    /// The whole database. The server's log is shared by all its databases and not counted.
    async fn size(&self) -> std::result::Result<StoreSize, StoreError> {
        let statement = Statement::new("SELECT pg_database_size(current_database())");
        let database = self.read_first(statement, |row| unsigned(get(row, 0)?)).await?;
        Ok(StoreSize { database: database.unwrap_or_default(), log: 0 })
    }

    async fn close(&self) {
        self.writes.close();
        self.writes.wait().await;
        self.pool.close().await;
    }
}
