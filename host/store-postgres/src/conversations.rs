//! [`Conversations`].

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    CheckTexts as _, ConversationId, ConversationRecord, Conversations, MessageId, MessageRecord,
    NewConversation, Owner, Page, Paged, StoreError, TailLimit, check_text,
};
use uuid::Uuid;

use crate::admission::is_taken;
use crate::conversation_reads::{by_id, history, list, list_messages, list_with, load, record};
use crate::deletion::finish_removal;
use crate::retention::forget_conversations;
use crate::statement::Statement;
use crate::store::PostgresStore;

#[async_trait]
impl Conversations for PostgresStore {
    async fn create(&self, owner: &Owner, new: NewConversation) -> Result<ConversationRecord, StoreError> {
        owner.check_texts()?;
        new.check_texts()?;
        let mut made = self.write_value::<Option<i64>>(insertion(owner, &new)).await?;
        if made.is_none() && finish_removal(self, new.id).await? {
            made = self.write_value(insertion(owner, &new)).await?;
        }
        let created_at = made.ok_or_else(|| is_taken(new.id))?;
        Ok(ConversationRecord {
            id: new.id,
            companion: new.companion,
            title: new.title,
            created_at,
            updated_at: created_at,
            messages: i64::from(new.greeting.is_some()),
        })
    }

    async fn conversation(
        &self,
        owner: &Owner,
        id: ConversationId,
    ) -> Result<Option<ConversationRecord>, StoreError> {
        load(self, owner, id).await
    }

    async fn conversations(
        &self,
        owner: &Owner,
        page: Page,
    ) -> Result<Paged<ConversationRecord>, StoreError> {
        list(self, owner, &page).await
    }

    async fn conversations_with(
        &self,
        owner: &Owner,
        companions: &BTreeSet<String>,
        page: Page,
    ) -> Result<Paged<ConversationRecord>, StoreError> {
        list_with(self, owner, companions, &page).await
    }

    async fn rename(
        &self,
        owner: &Owner,
        id: ConversationId,
        title: String,
    ) -> Result<Option<ConversationRecord>, StoreError> {
        check_text("title", &title)?;
        if owner.check_texts().is_err() {
            return Ok(None);
        }
        let statement = Statement::new("SELECT * FROM masque_rename_v1($1, $2, $3, $4, $5)")
            .bind(&*owner.tenant)
            .bind(&*owner.issuer)
            .bind(&*owner.subject)
            .bind(id.as_uuid())
            .bind(title);
        self.write_first(statement, record).await
    }

    async fn delete(&self, owner: &Owner, id: ConversationId) -> Result<bool, StoreError> {
        if owner.check_texts().is_err() {
            // Nobody whom the database can't name has a conversation.
            return Ok(false);
        }
        let statement = Statement::new("SELECT masque_delete_conversation_v1($1, $2, $3, $4)")
            .bind(&*owner.tenant)
            .bind(&*owner.issuer)
            .bind(&*owner.subject)
            .bind(id.as_uuid());
        self.write_value(statement).await
    }

    async fn forget_conversations(&self, idle_for: Duration) -> Result<u64, StoreError> {
        forget_conversations(self, idle_for).await
    }

    async fn messages(
        &self,
        owner: &Owner,
        id: ConversationId,
        page: Page,
    ) -> Result<Option<Paged<MessageRecord>>, StoreError> {
        list_messages(self, owner, id, &page).await
    }

    async fn messages_before(
        &self,
        owner: &Owner,
        id: ConversationId,
        before: Option<MessageId>,
        limit: TailLimit,
    ) -> Result<Vec<MessageRecord>, StoreError> {
        history(self, owner, id, before, limit).await
    }

    async fn messages_by_id(
        &self,
        owner: &Owner,
        messages: &[MessageId],
    ) -> Result<Vec<MessageRecord>, StoreError> {
        by_id(self, owner, messages).await
    }
}

/// Stores a conversation with its greeting.
fn insertion(owner: &Owner, new: &NewConversation) -> Statement {
    let greeting = new.greeting.as_ref();
    Statement::new("SELECT masque_create_conversation_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
        .bind(&*owner.tenant)
        .bind(&*owner.issuer)
        .bind(&*owner.subject)
        .bind(Uuid::now_v7())
        .bind(new.id.as_uuid())
        .bind(&*new.companion)
        .bind(new.title.as_deref())
        .bind(greeting.map(|greeting| greeting.id.as_uuid()))
        .bind(greeting.map(|greeting| &*greeting.content))
        .bind(greeting.map(|greeting| greeting.metadata.to_string()))
}
