//! Whether prepared statements survive the end of a transaction.
//!
//! A pooler in transaction mode gives each transaction another connection to the server. One that does not know prepared
//! statements fails only when another client was served in between, under load, so the case is made here: a second client
//! takes the connection that the first one prepared its statement on.

use std::time::Duration;

use sqlx::postgres::PgConnection;

use crate::connecting::{connect, disconnect};
use crate::error::reported;
use crate::open_error::PostgresOpenError;
use crate::options::PostgresOptions;
use crate::schema::refine;

/// How long the check waits. With one connection to the server for all clients, the second transaction waits for the first;
/// then nothing can be lost between connections.
const LONGEST: Duration = Duration::from_secs(3);

/// SQLSTATEs: there is no statement of this name; there is one of another client.
const LOST: [&str; 3] = ["26000", "42P05", "08P01"];

/// Runs a prepared statement in two transactions, on different connections to the server if a pooler has several.
///
/// # Errors
/// [`PostgresOpenError::PreparedStatements`] if the second transaction does not find it.
pub(crate) async fn check_prepared_statements(
    options: &PostgresOptions,
    connection: &mut PgConnection,
) -> Result<(), PostgresOpenError> {
    let mut other = connect(options).await?;
    let checked = tokio::time::timeout(LONGEST, run_twice(connection, &mut other)).await;
    disconnect(other).await;
    match checked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if reported(&error).is_some_and(|reported| LOST.contains(&reported.code())) => {
            Err(PostgresOpenError::PreparedStatements { target: options.target() })
        }
        Ok(Err(error)) => Err(refine(options, error)),
        Err(_elapsed) => Ok(()),
    }
}

async fn run_twice(connection: &mut PgConnection, other: &mut PgConnection) -> Result<(), sqlx::Error> {
    in_transaction(connection, 1).await?;
    // Both clients number their statements, so on one connection to the server the names of the second one are taken.
    in_transaction(other, 1).await?;
    sqlx::raw_sql("BEGIN").execute(&mut *other).await?;
    let second = in_transaction(connection, 2).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut *other).await?;
    second
}

async fn in_transaction(connection: &mut PgConnection, number: i32) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("BEGIN").execute(&mut *connection).await?;
    let answer =
        sqlx::query_scalar::<_, i32>("SELECT $1::int4").bind(number).fetch_one(&mut *connection).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
    answer.map(drop)
}
