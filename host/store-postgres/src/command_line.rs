//! What the command line opens, also while hosts run.

use std::sync::Arc;

use masque_store::{ExplainedTurns, KeyRing, ParkedJobs, UserRecords};

use crate::open_error::PostgresOpenError;
use crate::options::PostgresOptions;
use crate::store::PostgresStore;

/// Opens the API keys and revocations of a database.
///
/// # Errors
/// See [`PostgresOpenError`]. Must be called within a tokio runtime.
pub async fn open_key_ring(options: &PostgresOptions) -> Result<Arc<dyn KeyRing>, PostgresOpenError> {
    Ok(PostgresStore::open(options).await?)
}

/// Opens the parked jobs of a database.
///
/// # Errors
/// See [`PostgresOpenError`]. Must be called within a tokio runtime.
pub async fn open_parked_jobs(options: &PostgresOptions) -> Result<Arc<dyn ParkedJobs>, PostgresOpenError> {
    Ok(PostgresStore::open(options).await?)
}

/// Opens the data of users of a database.
///
/// # Errors
/// See [`PostgresOpenError`]. Must be called within a tokio runtime.
pub async fn open_user_records(options: &PostgresOptions) -> Result<Arc<dyn UserRecords>, PostgresOpenError> {
    Ok(PostgresStore::open(options).await?)
}

/// Opens the turns and their records of a database.
///
/// # Errors
/// See [`PostgresOpenError`]. Must be called within a tokio runtime.
pub async fn open_explained_turns(
    options: &PostgresOptions,
) -> Result<Arc<dyn ExplainedTurns>, PostgresOpenError> {
    Ok(PostgresStore::open(options).await?)
}
