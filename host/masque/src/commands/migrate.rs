//! The command `masque migrate`: brings the schema of a PostgreSQL database up to date. A host does not do it at its start:
//! where several hosts share the database, one person decides when.

use anyhow::bail;
use masque_config::Config;
use masque_store_postgres::{is_migration_needed, migrate};

use crate::store::postgres_options;

/// Migrates the database, or with `only_check` says whether that is needed. Returns the text for the terminal.
///
/// # Errors
/// No database is named, it can't be migrated, or `only_check` finds that it is to be migrated.
pub(crate) async fn run(config: &Config, only_check: bool) -> anyhow::Result<String> {
    let Some(database) = &config.database else {
        bail!(
            "DATABASE_URL is not set, so state is kept in SQLite in {}; a host prepares that file at its start",
            config.data.folder.display()
        );
    };
    let options = postgres_options(database, true)?;
    if only_check {
        if is_migration_needed(&options).await? {
            bail!("the database has to be migrated; run `masque migrate`");
        }
        return Ok("The schema of the database is up to date.".to_owned());
    }
    migrate(&options).await?;
    Ok("The schema of the database is up to date.".to_owned())
}
