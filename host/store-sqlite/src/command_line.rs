//! What the command line uses beside a host that may run. SQLite lets another process write between two transactions of
//! the host.

use std::path::Path;
use std::sync::Arc;

use masque_store::{KeyRing, OpenError, ParkedJobs};

use crate::store::{IfMissing, SqliteStore};

/// Opens the API keys and revocations of a data folder. Where no host has run yet, what it will find is made.
///
/// # Errors
/// [`OpenError`] if the folder can't be made or read, or its database has another schema. Must be called within a tokio
/// runtime.
pub async fn open_key_ring(folder: &Path) -> Result<Arc<dyn KeyRing>, OpenError> {
    Ok(SqliteStore::open_beside_host(folder, IfMissing::Create).await?)
}

/// Opens the parked jobs of a data folder.
///
/// # Errors
/// [`OpenError`] if no host has kept anything there, it can't be read, or its database has another schema. Must be
/// called within a tokio runtime.
pub async fn open_parked_jobs(folder: &Path) -> Result<Arc<dyn ParkedJobs>, OpenError> {
    Ok(SqliteStore::open_beside_host(folder, IfMissing::Refuse).await?)
}
