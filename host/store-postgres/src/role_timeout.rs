//! The server's own limit on the statements of hosts.
//!
//! A host gives up a statement after its `statement_timeout` and drops the connection. The server notices that only when
//! the statement ends, and until then it goes on and holds its locks. So the server needs a limit as well: `masque migrate`
//! sets one for the role of the hosts, a little longer than that of the host, so that a host's own limit comes first.

use std::time::Duration;

use sqlx::postgres::PgConnection;

use crate::connecting::{connect, disconnect};
use crate::error::reported;
use crate::open_error::PostgresOpenError;
use crate::options::PostgresOptions;
use crate::schema::refine;

/// By how much the server's limit is longer than a host's.
const MARGIN: Duration = Duration::from_secs(5);

/// What became of the limit of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleTimeout {
    /// It was set.
    Set(Duration),
    /// There is one, for the role or the database; it was left as it is.
    Present,
    /// The migrating user may not set it. This statement does, as a user who may.
    Refused {
        /// SQL.
        command: String,
    },
}

/// Limits the statements of the role in `hosts` in its database, unless a limit is set. `options` are those of the user who
/// migrates.
///
/// # Errors
/// See [`PostgresOpenError`].
pub async fn set_role_timeout(
    options: &PostgresOptions,
    hosts: &PostgresOptions,
) -> Result<RoleTimeout, PostgresOpenError> {
    let role = hosts.connect.get_username();
    let limit = hosts.statement_timeout + MARGIN;
    let mut connection = connect(options).await?;
    let failed = |error| refine(options, error);
    let (is_present, command): (bool, String) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole
                         WHERE (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database
                                                                       WHERE datname = current_database()))
                           AND (s.setrole = 0 OR r.rolname = $1)
                           AND EXISTS (SELECT 1 FROM unnest(s.setconfig) AS c WHERE c LIKE 'statement_timeout=%')),
                format('ALTER ROLE %I IN DATABASE %I SET statement_timeout = %L', $1::text, current_database(), $2::text)",
    )
    .bind(role)
    .bind(format!("{}ms", limit.as_millis()))
    .fetch_one(&mut connection)
    .await
    .map_err(failed)?;
    if is_present {
        disconnect(connection).await;
        return Ok(RoleTimeout::Present);
    }
    let set = sqlx::raw_sql(sqlx::AssertSqlSafe(command.as_str())).execute(&mut connection).await;
    disconnect(connection).await;
    match set {
        Ok(_) => Ok(RoleTimeout::Set(limit)),
        // Insufficient privilege, or no such role: a pooler may have roles of its own.
        Err(error) if reported(&error).is_some_and(|error| matches!(error.code(), "42501" | "42704")) => {
            Ok(RoleTimeout::Refused { command })
        }
        Err(error) => Err(failed(error)),
    }
}

/// Logs that the server sets no limit for this connection.
pub(crate) async fn warn_without_timeout(
    options: &PostgresOptions,
    connection: &mut PgConnection,
) -> Result<(), PostgresOpenError> {
    let has_limit: bool = sqlx::query_scalar("SELECT current_setting('statement_timeout') <> '0'")
        .fetch_one(connection)
        .await
        .map_err(|error| refine(options, error))?;
    if !has_limit {
        tracing::warn!(
            "the database {} sets no `statement_timeout` for this user: a statement that a host gave up goes on there and \
             holds its locks; `masque migrate` sets one",
            options.target()
        );
    }
    Ok(())
}
