//! The version that every change of keys and revocations raises: hosts follow them by it.

use sqlx::{Row, SqliteConnection};

use super::fault::Fault;

/// Tells every host that follows that something has changed.
pub(super) async fn raise(connection: &mut SqliteConnection) -> Result<(), Fault> {
    sqlx::query("UPDATE security SET version = version + 1").execute(connection).await?;
    Ok(())
}

pub(super) async fn current(connection: &mut SqliteConnection) -> Result<i64, Fault> {
    Ok(sqlx::query("SELECT version FROM security").fetch_one(connection).await?.try_get(0)?)
}
