//! Opens the store that the configuration names: PostgreSQL where `DATABASE_URL` is set, otherwise SQLite in the data folder.
//!
//! A command that is run without the configuration of its host works on another data folder: revoking a token there would succeed
//! and change nothing for the host. So commands refuse a folder without a database, except `masque keys create`, which may
//! come before a host's first start, and each says on standard error which state it works on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use masque_config::{Config, Database, StateConfig};
use masque_grants::Secret;
use masque_store::{ActiveSets, ExplainedTurns, KeyRing, OpenError, ParkedJobs, Store, UserRecords};
use masque_store_postgres::{PostgresOpenError, PostgresOptions, PostgresStore};
use masque_store_sqlite::{Folder, SqliteStore};
use tokio::time::Instant;

use crate::observed_store::{self, ObservedSets, ObservedStore};
use crate::output::print_error;

/// How often a database that can't be reached is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often a host that waits for its database says so again.
const REMINDER_INTERVAL: Duration = Duration::from_secs(60);
/// How often a data folder that another process has is tried again.
const FOLDER_INTERVAL: Duration = Duration::from_millis(20);

/// An open store.
pub(crate) struct OpenStore {
    pub(crate) store: Arc<dyn Store>,
    /// The lock of the data folder, where the store does not hold it.
    pub(crate) folder: Option<Folder>,
    /// Which database it is, for metrics.
    pub(crate) database: observed_store::Database,
    /// The connections to the database, where there is a pool of them.
    pub(crate) pool: Option<Arc<PostgresStore>>,
    /// The active set that several hosts share. `None` where the store has one host, which follows its files.
    pub(crate) active_sets: Option<Arc<dyn ActiveSets>>,
}

/// Opens the store of a host. Waits for a database that can't be reached, and for `succession` for another process to leave
/// the data folder, and says for what it waits.
///
/// # Errors
/// The store can't be used, and waiting does not help.
pub(crate) async fn open(config: &Config, succession: Option<Duration>) -> anyhow::Result<OpenStore> {
    let Some(database) = &config.database else {
        let store = once_left(succession, async || SqliteStore::open(&config.data.folder).await).await?;
        let database = observed_store::Database::Sqlite;
        let store = Arc::new(ObservedStore::new(store, database));
        return Ok(OpenStore { store, database, pool: None, folder: None, active_sets: None });
    };
    let options = postgres_options(database, false)?;
    let folder = once_left(succession, async || Folder::lock(&config.data.folder)).await?;
    let store = wait_for(&options).await?;
    let database = observed_store::Database::Postgresql;
    let active_sets: Arc<dyn ActiveSets> = Arc::new(ObservedSets::new(store.clone(), database));
    let pool = Some(Arc::clone(&store));
    let store = Arc::new(ObservedStore::new(store, database));
    Ok(OpenStore { store, database, pool, folder: Some(folder), active_sets: Some(active_sets) })
}

/// Opens what is in a data folder, again and again as long as another process has it and `succession` is not over.
async fn once_left<T>(
    succession: Option<Duration>,
    open: impl AsyncFn() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    let (start, mut is_said) = (Instant::now(), false);
    loop {
        match (open().await, succession) {
            (Err(error @ OpenError::Locked { .. }), Some(longest)) if start.elapsed() < longest => {
                if !std::mem::replace(&mut is_said, true) {
                    tracing::info!(?longest, "waiting for the host before this one to stop: {error}");
                }
                tokio::time::sleep(FOLDER_INTERVAL).await;
            }
            (opened, _) => {
                if is_said && opened.is_ok() {
                    tracing::info!(waited = ?start.elapsed(), "the host before this one has stopped");
                }
                return opened;
            }
        }
    }
}

async fn wait_for(options: &PostgresOptions) -> Result<Arc<PostgresStore>, PostgresOpenError> {
    let mut said: Option<(String, Instant)> = None;
    loop {
        let error = match PostgresStore::open(options).await {
            Err(error) if error.is_transient() => error.to_string(),
            opened => return opened,
        };
        let is_new = |(text, at): &(String, Instant)| *text != error || at.elapsed() >= REMINDER_INTERVAL;
        if said.as_ref().is_none_or(is_new) {
            tracing::warn!("waiting for the database: {error}");
            said = Some((error, Instant::now()));
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Opens the API keys and revocations for the command line.
///
/// # Errors
/// They can't be read or written, or there is no database.
pub(crate) async fn open_key_ring(state: &StateConfig) -> anyhow::Result<Arc<dyn KeyRing>> {
    let folder = &state.folder;
    if state.database.is_none() {
        ensure_database(folder)?;
    }
    open_or_create_key_ring(state).await
}

/// Opens the API keys and revocations for the command line. A data folder and a database in it that are missing are made.
///
/// # Errors
/// They can't be made, read or written.
pub(crate) async fn open_or_create_key_ring(state: &StateConfig) -> anyhow::Result<Arc<dyn KeyRing>> {
    let ring = match &state.database {
        Some(database) => masque_store_postgres::open_key_ring(&postgres_options(database, false)?).await?,
        None => masque_store_sqlite::open_key_ring(&state.folder).await?,
    };
    name_state(state)?;
    Ok(ring)
}

/// Opens the parked jobs for the command line.
///
/// # Errors
/// They can't be read or written, or there is no database.
pub(crate) async fn open_parked_jobs(state: &StateConfig) -> anyhow::Result<Arc<dyn ParkedJobs>> {
    let folder = &state.folder;
    let jobs = match &state.database {
        Some(database) => {
            masque_store_postgres::open_parked_jobs(&postgres_options(database, false)?).await?
        }
        None => {
            ensure_database(folder)?;
            masque_store_sqlite::open_parked_jobs(folder).await?
        }
    };
    name_state(state)?;
    Ok(jobs)
}

/// Opens the data of users for the command line.
///
/// # Errors
/// It can't be read or written, or there is no database.
pub(crate) async fn open_user_records(state: &StateConfig) -> anyhow::Result<Arc<dyn UserRecords>> {
    let folder = &state.folder;
    let records = match &state.database {
        Some(database) => {
            masque_store_postgres::open_user_records(&postgres_options(database, false)?).await?
        }
        None => {
            ensure_database(folder)?;
            masque_store_sqlite::open_user_records(folder).await?
        }
    };
    name_state(state)?;
    Ok(records)
}

/// Opens turns and their records for the command line.
///
/// # Errors
/// They can't be read, or there is no database.
pub(crate) async fn open_explained_turns(state: &StateConfig) -> anyhow::Result<Arc<dyn ExplainedTurns>> {
    let folder = &state.folder;
    let turns = match &state.database {
        Some(database) => {
            masque_store_postgres::open_explained_turns(&postgres_options(database, false)?).await?
        }
        None => {
            ensure_database(folder)?;
            masque_store_sqlite::open_explained_turns(folder).await?
        }
    };
    name_state(state)?;
    Ok(turns)
}

/// Returns an error that says what to do unless the data folder exists.
///
/// # Errors
/// It does not, or this user can't see whether it does.
pub(crate) fn ensure_data_folder(folder: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        is_present(folder)?,
        "there is no data folder {}; name that of your host with --data or --config",
        absolute(folder).display()
    );
    Ok(())
}

/// Returns an error that says what to do unless the data folder has a database.
///
/// # Errors
/// It has none, or this user can't see whether it has.
pub(crate) fn ensure_database(folder: &Path) -> anyhow::Result<()> {
    ensure_data_folder(folder)?;
    anyhow::ensure!(
        is_present(&Folder::database_in(folder))?,
        "there is no database in the data folder {}: no host has used it; name that of your host with --data or --config",
        absolute(folder).display()
    );
    Ok(())
}

fn is_present(path: &Path) -> anyhow::Result<bool> {
    path.try_exists().with_context(|| {
        format!("{} can't be read; run this as the user of the host", absolute(path).display())
    })
}

/// The path from the root: what a relative one means depends on where the command was run.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Says which state a command works on. Standard output may be a new key, or be read by a program.
///
/// # Errors
/// The URL of the database can't be used.
pub(crate) fn name_state(state: &StateConfig) -> anyhow::Result<()> {
    let text = match &state.database {
        Some(database) => format!("PostgreSQL at {}", options_of(database, &database.url)?.target()),
        None => format!("SQLite in {}", absolute(&state.folder).display()),
    };
    print_error(&format_args!("state: {text}"));
    Ok(())
}

/// How to reach the database; with `is_direct`, without a pooler in between.
///
/// # Errors
/// The URL or the file with the password can't be used.
pub(crate) fn postgres_options(database: &Database, is_direct: bool) -> anyhow::Result<PostgresOptions> {
    let (url, name) = match &database.direct_url {
        Some(direct) if is_direct => (direct, "DATABASE_DIRECT_URL"),
        _ => (&database.url, "DATABASE_URL"),
    };
    options_of(database, url).context(name)
}

/// How a database is reached at one of its URLs. The error does not say which.
///
/// # Errors
/// The URL is none of PostgreSQL, or the file with the password can't be read.
pub(crate) fn options_of(database: &Database, url: &Secret) -> anyhow::Result<PostgresOptions> {
    let mut options = PostgresOptions::from_url(url.reveal())?;
    if let Some(file) = &database.password_file {
        options = options.with_password_file(file)?;
    }
    options.max_connections = database.max_connections.get();
    options.acquire_timeout = database.acquire_timeout;
    options.statement_timeout = database.statement_timeout;
    Ok(options)
}
