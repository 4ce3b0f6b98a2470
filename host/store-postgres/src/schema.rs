//! What a database holds: nothing yet, the schema of this build, or something to be refused. Changes nothing.
//!
//! A database that was migrated by a newer version can be used as long as that version says so: migrations add first, and
//! remove a release later.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx_core::migrate::Migration;

use crate::connecting::{classify, missing_rights};
use crate::error::{DatabaseError, Result, reported};
use crate::open_error::PostgresOpenError;
use crate::options::PostgresOptions;
use crate::statement::get;

/// The oldest server: functions and generated columns are written for it.
const MIN_SERVER: i32 = 140_000;

/// What a database holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FoundSchema {
    /// Nothing yet.
    Empty,
    /// The schema of this build, or of a newer one that it can work with.
    Usable,
    /// The schema of an older version.
    Older,
}

/// Looks at the server and the schema.
///
/// # Errors
/// What makes the database unusable, whoever migrates it.
pub(crate) async fn inspect(
    options: &PostgresOptions,
    connection: &mut PgConnection,
    known: &[Migration],
) -> std::result::Result<FoundSchema, PostgresOpenError> {
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::int4 AS version, current_setting('server_version') AS name,
                current_setting('server_encoding') AS encoding,
                pg_is_in_recovery() OR current_setting('transaction_read_only')::bool AS is_read_only,
                current_schema() IS NOT NULL AS has_schema,
                to_regclass('alembic_version') IS NOT NULL AS is_earlier_service,
                to_regclass('masque') IS NOT NULL AND to_regclass('_sqlx_migrations') IS NOT NULL AS is_ours,
                EXISTS (SELECT 1 FROM pg_class c
                         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
                           AND c.relname <> '_sqlx_migrations'
                           AND NOT EXISTS (SELECT 1 FROM pg_depend d
                                            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                              AND d.deptype = 'e')) AS has_tables",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(|error| classify(options, error))?;
    let facts = server_facts(&row).map_err(|error| database(options, error))?;
    if let Some(refused) = refuse_server(options, facts) {
        return Err(refused);
    }
    let flag = |name: &str| get::<bool, _>(&row, name).map_err(|error| database(options, error));
    if flag("is_earlier_service")? {
        return Err(PostgresOpenError::EarlierService { target: options.target() });
    }
    match (flag("is_ours")?, flag("has_tables")?) {
        (true, _) => compare(options, connection, known).await,
        (false, true) => Err(PostgresOpenError::Foreign { target: options.target() }),
        (false, false) => Ok(FoundSchema::Empty),
    }
}

/// What the server says of itself.
struct ServerFacts {
    /// As a number: 150004.
    version: i32,
    version_name: String,
    encoding: String,
    is_read_only: bool,
    /// Whether a schema of the search path may be used.
    has_schema: bool,
}

fn server_facts(row: &PgRow) -> Result<ServerFacts> {
    Ok(ServerFacts {
        version: get(row, "version")?,
        version_name: get(row, "name")?,
        encoding: get(row, "encoding")?,
        is_read_only: get(row, "is_read_only")?,
        has_schema: get(row, "has_schema")?,
    })
}

/// Why no database of this server can be used, if that is so.
fn refuse_server(options: &PostgresOptions, facts: ServerFacts) -> Option<PostgresOpenError> {
    let target = options.target();
    if facts.version < MIN_SERVER {
        Some(PostgresOpenError::OldServer { target, found: facts.version_name })
    } else if facts.encoding != "UTF8" {
        Some(PostgresOpenError::Encoding { target, found: facts.encoding })
    } else if facts.is_read_only {
        Some(PostgresOpenError::ReadOnly { target })
    } else if !facts.has_schema {
        let reason = "no schema of its `search_path` exists or may be used; grant USAGE on one".to_owned();
        Some(missing_rights(options, reason))
    } else {
        None
    }
}

/// Compares the migrations that were applied with those of this build.
async fn compare(
    options: &PostgresOptions,
    connection: &mut PgConnection,
    known: &[Migration],
) -> std::result::Result<FoundSchema, PostgresOpenError> {
    let target = options.target();
    let failed = |error| refine(options, error);
    let compatible_from: i64 = sqlx::query_scalar("SELECT compatible_from FROM masque")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
    for migration in known {
        match applied.iter().find(|(version, _)| *version == migration.version) {
            None => return Ok(FoundSchema::Older),
            Some((_, checksum)) if *checksum != *migration.checksum => {
                return Err(PostgresOpenError::OtherBuild { target });
            }
            Some(_) => {}
        }
    }
    let newest = known.iter().map(|migration| migration.version).max().unwrap_or_default();
    if compatible_from > newest {
        return Err(PostgresOpenError::NewerSchema { target });
    }
    Ok(FoundSchema::Usable)
}

/// Checks that the user may read and write every table and execute every function.
pub(crate) async fn check_rights(
    options: &PostgresOptions,
    connection: &mut PgConnection,
) -> std::result::Result<(), PostgresOpenError> {
    let missing: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c
          WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'masque'::regclass) AND c.relkind = 'r'
            AND c.relname NOT IN ('masque', '_sqlx_migrations')
            AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
                     AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
          ORDER BY c.relname",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(|error| refine(options, error))?;
    if !missing.is_empty() {
        let reason = format!("grant SELECT, INSERT, UPDATE and DELETE on {}", missing.join(", "));
        return Err(missing_rights(options, reason));
    }
    let missing: Vec<String> = sqlx::query_scalar(
        r"SELECT DISTINCT p.proname::text FROM pg_proc p
           WHERE p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'masque'::regclass)
             AND p.proname LIKE 'masque\_%' AND NOT has_function_privilege(p.oid, 'EXECUTE')
           ORDER BY 1",
    )
    .fetch_all(connection)
    .await
    .map_err(|error| refine(options, error))?;
    if missing.is_empty() {
        return Ok(());
    }
    let reason = format!("grant EXECUTE on the functions {}", missing.join(", "));
    Err(missing_rights(options, reason))
}

/// The same as [`classify`], with what to grant.
pub(crate) fn refine(options: &PostgresOptions, error: sqlx::Error) -> PostgresOpenError {
    match reported(&error) {
        Some(reported) if reported.code() == "42501" => {
            let reason = format!("{}; grant it, or let the user own the database", reported.message());
            missing_rights(options, reason)
        }
        _ => classify(options, error),
    }
}

fn database(options: &PostgresOptions, error: DatabaseError) -> PostgresOpenError {
    PostgresOpenError::Database { target: options.target(), source: error.of_read() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_before_version_14_is_refused_by_its_version() {
        let options = PostgresOptions::from_url("postgresql://ada@db/masque").unwrap();
        let facts = |version| ServerFacts {
            version,
            version_name: "13.16 (Debian)".into(),
            encoding: "UTF8".into(),
            is_read_only: false,
            has_schema: true,
        };
        let refused = refuse_server(&options, facts(130_016)).unwrap();
        assert!(matches!(refused, PostgresOpenError::OldServer { .. }), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("13.16") && text.contains("14 or newer"), "{text}");
        assert_eq!(refuse_server(&options, facts(140_000)), None);
    }
}
