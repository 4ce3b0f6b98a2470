//! [`UserData`].

use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    AuditEntry, Erasure, ErasureRequest, ExportItem, ExportSection, Installation, Owner, Paged, StoreError,
    UserData,
};
use uuid::Uuid;

use crate::connection::open_writer;
use crate::erasure::{BeginErasure, EraseSome, FinishErasure};
use crate::erasure_rows::{installation, load, of_user, running};
use crate::error::Result as DatabaseResult;
use crate::export;
use crate::store::SqliteStore;
use crate::{records, users, wal};

/// How long clearing traces waits for readers. Writes wait meanwhile.
const PATIENCE: Duration = Duration::from_millis(500);

#[async_trait]
impl UserData for SqliteStore {
    async fn installation(&self) -> Result<Installation, StoreError> {
        self.read(installation).await
    }

    async fn user_id(&self, owner: &Owner) -> Result<Option<Uuid>, StoreError> {
        let owner = owner.clone();
        self.read(move |connection| users::find(connection, &owner)).await
    }

    async fn user(&self, id: Uuid) -> Result<Option<Owner>, StoreError> {
        self.read(move |connection| users::load(connection, id)).await
    }

    async fn users(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<(Uuid, Owner)>, StoreError> {
        self.read(move |connection| users::list(connection, after.unwrap_or_default(), limit)).await
    }

    async fn export(
        &self,
        owner: &Owner,
        section: ExportSection,
        after: Option<&str>,
    ) -> Result<Paged<ExportItem>, StoreError> {
        let (owner, after) = (owner.clone(), after.map(str::to_owned));
        if section == ExportSection::TurnRecords {
            let page = move |file: &_, database: &_| records::page(file, database, &owner, after.as_deref());
            let page = self.records().read(page).await?;
            return Ok(page.unwrap_or(Paged { items: Vec::new(), next: None }));
        }
        self.read(move |connection| export::page(connection, &owner, section, after.as_deref())).await
    }

    async fn begin_erasure(&self, request: ErasureRequest) -> Result<Erasure, StoreError> {
        self.write(BeginErasure(request)).await
    }

    async fn erase_some(&self, receipt: Uuid) -> Result<bool, StoreError> {
        // The beginning of the erasure took the user's name, without which nothing is stored of the user any more.
        let erasure = self.erasure(receipt).await?.filter(|erasure| erasure.done_at.is_none());
        if let Some(erasure) = erasure
            && self.remove_records_of_user(erasure.user).await?
        {
            return Ok(true);
        }
        let erased = self.write(EraseSome(receipt)).await?;
        for conversation in erased.conversations {
            self.tickets().remove_conversation(conversation);
        }
        Ok(erased.has_more)
    }

    /// Removed rows are overwritten in the pages (`secure_delete`); older copies of these pages are in the write-ahead log
    /// until it is emptied, and so with those of the records. On a connection of its own, since a checkpoint can't run in the writer's transactions.
    async fn clear_traces(&self) -> Result<bool, StoreError> {
        let path = self.path().to_owned();
        let clear = move || -> DatabaseResult<bool> { wal::empty(&open_writer(&path)?, PATIENCE) };
        let are_records_cleared = self.records().clear_traces(PATIENCE).await?;
        match tokio::task::spawn_blocking(clear).await {
            Ok(cleared) => Ok(cleared? && are_records_cleared),
            Err(panic) => Err(StoreError::Internal(panic.to_string())),
        }
    }

    async fn finish_erasure(&self, receipt: Uuid, entry: AuditEntry) -> Result<Option<Erasure>, StoreError> {
        if let Some(erasure) = self.erasure(receipt).await?.filter(|erasure| erasure.done_at.is_none())
            && self.has_records_of_user(erasure.user).await?
        {
            return Err(StoreError::Refused("the erasure has turn records left to remove".into()));
        }
        self.write(FinishErasure { receipt, entry }).await
    }

    async fn erasure(&self, receipt: Uuid) -> Result<Option<Erasure>, StoreError> {
        self.read(move |connection| load(connection, receipt)).await
    }

    async fn erasure_of_user(&self, user: Uuid) -> Result<Option<Erasure>, StoreError> {
        self.read(move |connection| of_user(connection, user)).await
    }

    async fn running_erasures(&self) -> Result<Vec<Erasure>, StoreError> {
        self.read(running).await
    }
}
