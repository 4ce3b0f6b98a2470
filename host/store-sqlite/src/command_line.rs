//! What the command line opens and checks, also while a host runs: SQLite lets another process write between two transactions of
//! the host.

use std::path::Path;
use std::sync::Arc;

use masque_store::{ExplainedTurns, KeyRing, OpenError, ParkedJobs, UserRecords};

use crate::folder_check::check;
use crate::store::{SqliteStore, spawn_blocking};

/// Opens the API keys and revocations of a data folder. If no host has run on it yet, the folder and its database are
/// made. If no host runs, none can start until the key ring is closed.
///
/// # Errors
/// [`OpenError`] if the folder can't be made or read, or its database has another schema. Must be called within a tokio
/// runtime.
pub async fn open_key_ring(folder: &Path) -> Result<Arc<dyn KeyRing>, OpenError> {
    Ok(SqliteStore::open_for_keys(folder).await?)
}

/// Opens the parked jobs of a data folder that a host has used. Takes no lock: a host can start while they are open.
///
/// # Errors
/// [`OpenError`] if the folder has no database, or one that can't be read or has another schema. Must be called within
/// a tokio runtime.
pub async fn open_parked_jobs(folder: &Path) -> Result<Arc<dyn ParkedJobs>, OpenError> {
    Ok(SqliteStore::open_unlocked(folder).await?)
}

/// Opens the data of users in a data folder that a host has used. Takes no lock: a host can start while it is open.
///
/// # Errors
/// [`OpenError`] if the folder has no database, or one that can't be read or has another schema. Must be called within
/// a tokio runtime.
pub async fn open_user_records(folder: &Path) -> Result<Arc<dyn UserRecords>, OpenError> {
    Ok(SqliteStore::open_unlocked(folder).await?)
}

/// Opens the turns and their records in a data folder that a host has used. Takes no lock: a host can start while they are
/// open.
///
/// # Errors
/// [`OpenError`] if the folder has no database, or one that can't be read or has another schema. Must be called within
/// a tokio runtime.
pub async fn open_explained_turns(folder: &Path) -> Result<Arc<dyn ExplainedTurns>, OpenError> {
    Ok(SqliteStore::open_unlocked(folder).await?)
}

/// Checks whether a host could start on a data folder. Changes nothing in it, and makes nothing. A folder in which a host
/// runs passes, and so does a missing one that can be made.
///
/// # Errors
/// [`OpenError`] as [`SqliteStore::open`] would return it. Must be called within a tokio runtime.
pub async fn check_data_folder(folder: &Path) -> Result<(), OpenError> {
    spawn_blocking(folder, check).await
}
