//! Opens one connection, and says what keeps it from being opened.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection};

use crate::error::{DatabaseError, reported};
use crate::open_error::PostgresOpenError;
use crate::options::PostgresOptions;

/// Opens a connection outside of every pool.
pub(crate) async fn connect(options: &PostgresOptions) -> Result<PgConnection, PostgresOpenError> {
    match tokio::time::timeout(options.acquire_timeout, options.connect.connect()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(classify(options, error)),
        Err(_elapsed) => {
            let waited = options.acquire_timeout;
            Err(unreachable(options, format!("no answer within {waited:?}")))
        }
    }
}

/// Closes a connection that is not needed any more. A server that does not answer is left alone.
pub(crate) async fn disconnect(connection: PgConnection) {
    const LONGEST: Duration = Duration::from_secs(1);
    if !matches!(tokio::time::timeout(LONGEST, connection.close()).await, Ok(Ok(()))) {
        tracing::debug!("a connection to the database was not closed in order");
    }
}

/// The reason why a connection could not be opened, or why a first statement on it failed.
pub(crate) fn classify(options: &PostgresOptions, error: sqlx::Error) -> PostgresOpenError {
    let target = options.target();
    if let Some(reported) = reported(&error) {
        let reason = reported.message().to_owned();
        return match reported.code() {
            "3D000" => PostgresOpenError::NoDatabase { database: options.database().to_owned() },
            "53300" => PostgresOpenError::TooManyConnections { target },
            "42501" => missing_rights(options, reason),
            code if code.starts_with("28") => PostgresOpenError::NotAuthenticated { target, reason },
            // The server starts or stops, or a pooler has none.
            code if code.starts_with("57P") || code.starts_with("08") => unreachable(options, reason),
            _ => PostgresOpenError::Database { target, source: DatabaseError::from(error).of_read() },
        };
    }
    match error {
        sqlx::Error::Tls(source) => PostgresOpenError::Tls { target, reason: source.to_string() },
        // What rustls refuses, such as a certificate that nobody vouches for. Waiting does not help.
        sqlx::Error::Io(source) if source.kind() == ErrorKind::InvalidData => {
            PostgresOpenError::Tls { target, reason: source.to_string() }
        }
        sqlx::Error::Io(source) => unreachable(options, source.to_string()),
        sqlx::Error::Protocol(reason) => {
            unreachable(options, format!("what answers does not speak PostgreSQL's protocol ({reason})"))
        }
        other => PostgresOpenError::Database { target, source: DatabaseError::from(other).of_read() },
    }
}

/// The user may not do something.
pub(crate) fn missing_rights(options: &PostgresOptions, reason: String) -> PostgresOpenError {
    let user = options.connect.get_username().to_owned();
    PostgresOpenError::MissingRights { user, target: options.target(), reason }
}

fn unreachable(options: &PostgresOptions, reason: String) -> PostgresOpenError {
    PostgresOpenError::Unreachable { target: options.target(), reason }
}
