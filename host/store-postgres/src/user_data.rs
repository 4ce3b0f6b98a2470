//! [`UserData`].

use async_trait::async_trait;
use masque_store::{
    AuditEntry, CheckTexts as _, Erasure, ErasureRequest, ExportItem, ExportSection, Installation, Owner,
    Paged, StoreError, UserData, user_account,
};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::audit_rows::{insert_entry, with_entry};
use crate::deletion::RemovalBudget;
use crate::erasure_rows::{installation, load, of_user, running};
use crate::error::Result as DatabaseResult;
use crate::export;
use crate::statement::{Statement, get};
use crate::store::PostgresStore;

#[async_trait]
impl UserData for PostgresStore {
    async fn installation(&self) -> Result<Installation, StoreError> {
        installation(self).await
    }

    async fn user_id(&self, owner: &Owner) -> Result<Option<Uuid>, StoreError> {
        let statement =
            Statement::new("SELECT id FROM users WHERE tenant = $1 AND issuer = $2 AND subject = $3")
                .bind(&*owner.tenant)
                .bind(&*owner.issuer)
                .bind(&*owner.subject);
        self.read_first(statement, |row| get(row, 0)).await
    }

    async fn user(&self, id: Uuid) -> Result<Option<Owner>, StoreError> {
        let statement = Statement::new(
            "SELECT id, tenant, issuer, subject FROM users WHERE id = $1 AND subject IS NOT NULL",
        )
        .bind(id);
        Ok(self.read_first(statement, user).await?.map(|(_, owner)| owner))
    }

    async fn users(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<(Uuid, Owner)>, StoreError> {
        let statement = Statement::new(
            "SELECT id, tenant, issuer, subject FROM users WHERE id > $1 AND subject IS NOT NULL ORDER BY id LIMIT $2",
        )
        .bind(after.unwrap_or_default())
        .bind(i64::from(limit));
        self.read_all(statement, user).await
    }

    async fn export(
        &self,
        owner: &Owner,
        section: ExportSection,
        after: Option<&str>,
    ) -> Result<Paged<ExportItem>, StoreError> {
        export::page(self, owner, section, after).await
    }

    async fn begin_erasure(&self, request: ErasureRequest) -> Result<Erasure, StoreError> {
        request.check_texts()?;
        let owner = &request.owner;
        let sql = concat!(
            "WITH begun AS MATERIALIZED (
                SELECT masque_begin_erasure_v1($10, $11, $12, $13, $14, $15, $16) AS user_id), entry AS (",
            insert_entry!(),
            "FROM begun) SELECT user_id FROM begun"
        );
        let statement = with_entry(sql, &request.entry)
            .bind(&*owner.tenant)
            .bind(&*owner.issuer)
            .bind(&*owner.subject)
            .bind(Uuid::now_v7())
            .bind(request.receipt)
            .bind(request.name.as_str())
            .bind(user_account(owner));
        self.write_value::<Uuid>(statement).await?;
        let begun = load(self, request.receipt).await?;
        begun.ok_or_else(|| StoreError::Corrupt("an erasure that began has no receipt".into()))
    }

    async fn erase_some(&self, receipt: Uuid) -> Result<bool, StoreError> {
        let budget = RemovalBudget::of_one_sweep();
        let statement = Statement::new("SELECT masque_erase_v1($1, $2, $3)")
            .bind(receipt)
            .bind(budget.rows)
            .bind(budget.bytes);
        self.write_value(statement).await
    }

    /// PostgreSQL reuses the space of removed rows after a vacuum. Who can read its files is the server's concern.
    async fn clear_traces(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn finish_erasure(&self, receipt: Uuid, entry: AuditEntry) -> Result<Option<Erasure>, StoreError> {
        entry.check_texts()?;
        let sql = concat!(
            "WITH finished AS MATERIALIZED (SELECT masque_finish_erasure_v1($10) AS is_done), entry AS (",
            insert_entry!(),
            "FROM finished WHERE is_done) SELECT is_done FROM finished"
        );
        match self.write_value::<Option<bool>>(with_entry(sql, &entry).bind(receipt)).await? {
            Some(true) => load(self, receipt).await,
            Some(false) => Err(StoreError::Refused("the erasure has rows left to remove".into())),
            None => Ok(None),
        }
    }

    async fn erasure(&self, receipt: Uuid) -> Result<Option<Erasure>, StoreError> {
        load(self, receipt).await
    }

    async fn erasure_of_user(&self, user: Uuid) -> Result<Option<Erasure>, StoreError> {
        of_user(self, user).await
    }

    async fn running_erasures(&self) -> Result<Vec<Erasure>, StoreError> {
        running(self).await
    }
}

/// From the columns id, tenant, issuer, subject.
fn user(row: &PgRow) -> DatabaseResult<(Uuid, Owner)> {
    Ok((get(row, 0)?, Owner { tenant: get(row, 1)?, issuer: get(row, 2)?, subject: get(row, 3)? }))
}
