//! The command `masque migrate`: brings the schema of a PostgreSQL database up to date. A host does not do it at its start:
//! where several hosts share the database, one person decides when.

use anyhow::bail;
use masque_config::{Database, StateConfig};
use masque_store_postgres::{PostgresOptions, RoleTimeout, is_migration_needed, migrate, set_role_timeout};

use crate::output::print_error;
use crate::store::postgres_options;

/// Migrates the database, or with `only_check` says whether that is needed. Returns the text for the terminal.
///
/// # Errors
/// No database is named, it can't be migrated, or `only_check` finds that it is to be migrated.
pub(crate) async fn run(state: &StateConfig, only_check: bool) -> anyhow::Result<String> {
    let Some(database) = &state.database else {
        bail!(
            "DATABASE_URL is not set, so state is kept in SQLite in {}; a host prepares that file at its start",
            state.folder.display()
        );
    };
    let options = postgres_options(database, true)?;
    if only_check {
        if is_migration_needed(&options).await? {
            bail!("the database {} has to be migrated; run `masque migrate`", options.target());
        }
        return Ok(up_to_date(&options));
    }
    migrate(&options).await?;
    limit_statements(database).await?;
    Ok(up_to_date(&options))
}

fn up_to_date(options: &PostgresOptions) -> String {
    format!("The schema of the database {} is up to date.", options.target())
}

/// Lets the server end statements that a host has given up.
async fn limit_statements(database: &Database) -> anyhow::Result<()> {
    let (direct, hosts) = (postgres_options(database, true)?, postgres_options(database, false)?);
    match set_role_timeout(&direct, &hosts).await? {
        RoleTimeout::Present => {}
        RoleTimeout::Set(limit) => {
            print_error(&format_args!(
                "`statement_timeout` of the database's user is {limit:?} now: the server ends what a host gave up"
            ));
        }
        RoleTimeout::Refused { command } => {
            print_error(&format_args!(
                "warning: this user may not set `statement_timeout`, without which the server goes on with statements that \
                 a host gave up; as a superuser, run: {command}"
            ));
        }
    }
    Ok(())
}
