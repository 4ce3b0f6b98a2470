//! API keys and revocations, for whoever looks after a host: before its first start, and beside a running one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use super::fault::Fault;
use super::folder::Folder;
use super::keys::{self, Create, Revoke, Rotate};
use super::writer::{Operation, Session, Verdict};
use super::{MIGRATIONS, PATIENCE, migrate, revocations};
use crate::{
    ApiKeyRecord, AuditEntry, KeyHash, KeyId, NewApiKey, NewRevocation, OpenError, Page, Paged, Revocation,
    StoreError,
};

/// The keys in a data folder.
#[derive(Debug)]
pub struct KeyRing {
    connection: SqliteConnection,
}

impl KeyRing {
    /// Opens the folder of a host, which may run. Where no host has run yet, what it will find is made.
    ///
    /// # Errors
    /// [`OpenError`] if it can't be made or read.
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        let database = |fault: Fault| OpenError::Database { folder: folder.to_owned(), source: fault.into() };
        let connect = async |path: PathBuf| {
            let options = SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(false)
                .foreign_keys(true)
                .busy_timeout(PATIENCE)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .disable_statement_logging();
            options.connect().await.map_err(|error| database(error.into()))
        };
        match Folder::claim(folder) {
            // No host runs: the schema may be an older one, or none.
            Ok(claimed) => {
                let mut connection = connect(claimed.database()).await?;
                migrate(&mut connection, folder).await?;
                Ok(Self { connection })
            }
            Err(OpenError::Locked { .. }) => {
                let mut connection = connect(Folder::database_in(folder)).await?;
                if !is_current(&mut connection).await.map_err(database)? {
                    let reason = "the host that runs on it is of another version, or is just migrating it; use that \
                                  version's command, or stop the host first";
                    return Err(OpenError::Migrate { folder: folder.to_owned(), reason: reason.to_owned() });
                }
                Ok(Self { connection })
            }
            Err(other) => Err(other),
        }
    }

    /// As [`crate::ApiKeys::create_key`].
    ///
    /// # Errors
    /// As there.
    pub async fn create(&mut self, key: NewApiKey, entry: AuditEntry) -> Result<ApiKeyRecord, StoreError> {
        self.perform(Create { key, entry }).await
    }

    /// As [`crate::ApiKeys::rotate_key`].
    ///
    /// # Errors
    /// As there.
    pub async fn rotate(
        &mut self,
        id: &KeyId,
        hash: KeyHash,
        overlap: Duration,
        entry: AuditEntry,
    ) -> Result<Option<ApiKeyRecord>, StoreError> {
        self.perform(Rotate { id: id.clone(), hash, overlap, entry }).await
    }

    /// As [`crate::ApiKeys::revoke_key`].
    ///
    /// # Errors
    /// As there.
    pub async fn revoke(
        &mut self,
        id: &KeyId,
        entry: AuditEntry,
    ) -> Result<Option<ApiKeyRecord>, StoreError> {
        self.perform(Revoke { id: id.clone(), entry }).await
    }

    /// As [`crate::Revocations::revoke`].
    ///
    /// # Errors
    /// As there.
    pub async fn revoke_tokens(
        &mut self,
        revocation: NewRevocation,
        entry: AuditEntry,
    ) -> Result<Revocation, StoreError> {
        self.perform(revocations::Revoke { revocation, entry }).await
    }

    /// As [`crate::ApiKeys::keys`].
    ///
    /// # Errors
    /// As there.
    pub async fn list(&mut self, page: &Page) -> Result<Paged<ApiKeyRecord>, StoreError> {
        Ok(keys::list(&mut self.connection, page).await?)
    }

    /// Closes the connection.
    pub async fn close(self) {
        // All that was answered is on disk already.
        let _ = self.connection.close().await;
    }

    /// One operation in a transaction of its own.
    async fn perform<O: Operation>(&mut self, operation: O) -> Result<O::Answer, StoreError> {
        let begun = self.connection.begin_with("BEGIN IMMEDIATE").await;
        let mut transaction = begun.map_err(Fault::from)?;
        match operation.run(Session::within(&mut transaction)).await? {
            Verdict::Keep(answer) => {
                transaction.commit().await.map_err(Fault::from)?;
                Ok(answer)
            }
            Verdict::Undo(answer) => Ok(answer),
        }
    }
}

/// Whether the schema is the one that this build knows.
async fn is_current(connection: &mut SqliteConnection) -> Result<bool, Fault> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default();
    let found = sqlx::query("SELECT count(*) FROM _sqlx_migrations WHERE success AND version = $1")
        .bind(known)
        .fetch_one(&mut *connection)
        .await?;
    let newer = sqlx::query("SELECT count(*) FROM _sqlx_migrations WHERE version > $1")
        .bind(known)
        .fetch_one(connection)
        .await?;
    Ok(found.try_get::<i64, _>(0)? == 1 && newer.try_get::<i64, _>(0)? == 0)
}
