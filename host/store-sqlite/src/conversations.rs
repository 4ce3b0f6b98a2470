//! [`Conversations`]: reads on the reader threads, writes through the writer.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use masque_store::{
    CheckTexts as _, ConversationId, ConversationRecord, Conversations, MessageId, MessageRecord,
    NewConversation, Owner, Page, Paged, StoreError, TailLimit, check_text,
};
use rusqlite::Connection;

use crate::columns::now;
use crate::conversation_reads::{by_id, history, list, list_messages, list_with, load};
use crate::conversation_rows::{insert_conversation, is_taken};
use crate::deletion::{DeleteConversation, finish_removal};
use crate::error::Result as DatabaseResult;
use crate::messages;
use crate::operation::Operation;
use crate::query::{execute, snapshot};
use crate::retention::ForgetConversations;
use crate::store::SqliteStore;
use crate::users;

#[async_trait]
impl Conversations for SqliteStore {
    async fn create(&self, owner: &Owner, new: NewConversation) -> Result<ConversationRecord, StoreError> {
        self.write(CreateConversation { owner: owner.clone(), new }).await
    }

    async fn conversation(
        &self,
        owner: &Owner,
        id: ConversationId,
    ) -> Result<Option<ConversationRecord>, StoreError> {
        let owner = owner.clone();
        self.read(move |connection| load(connection, &owner, id)).await
    }

    async fn conversations(
        &self,
        owner: &Owner,
        page: Page,
    ) -> Result<Paged<ConversationRecord>, StoreError> {
        let owner = owner.clone();
        self.read(move |connection| list(connection, &owner, &page)).await
    }

    async fn conversations_with(
        &self,
        owner: &Owner,
        companions: &BTreeSet<String>,
        page: Page,
    ) -> Result<Paged<ConversationRecord>, StoreError> {
        let (owner, companions) = (owner.clone(), companions.clone());
        self.read(move |connection| {
            snapshot(connection, |reads| list_with(reads, &owner, &companions, &page))
        })
        .await
    }

    async fn rename(
        &self,
        owner: &Owner,
        id: ConversationId,
        title: String,
    ) -> Result<Option<ConversationRecord>, StoreError> {
        self.write(RenameConversation { owner: owner.clone(), id, title }).await
    }

    async fn delete(&self, owner: &Owner, id: ConversationId) -> Result<bool, StoreError> {
        self.records().deletion_begins(id.as_uuid());
        let is_deleted = self.write(DeleteConversation { owner: owner.clone(), id }).await?;
        if !is_deleted {
            self.records().deletion_ended(id.as_uuid());
            return Ok(false);
        }
        self.tickets().remove_conversation(id);
        if let Err(error) = self.remove_records_of(id.as_uuid()).await {
            tracing::warn!(%error, "the turn records of a deleted conversation stay until the next sweep");
        }
        Ok(true)
    }

    async fn forget_conversations(&self, idle_for: Duration) -> Result<u64, StoreError> {
        let forgotten = self.write(ForgetConversations { idle_for }).await?;
        for conversation in &forgotten {
            self.tickets().remove_conversation(*conversation);
        }
        Ok(forgotten.len() as u64)
    }

    async fn messages(
        &self,
        owner: &Owner,
        id: ConversationId,
        page: Page,
    ) -> Result<Option<Paged<MessageRecord>>, StoreError> {
        let owner = owner.clone();
        self.read(move |connection| snapshot(connection, |reads| list_messages(reads, &owner, id, &page)))
            .await
    }

    async fn messages_before(
        &self,
        owner: &Owner,
        id: ConversationId,
        before: Option<MessageId>,
        limit: TailLimit,
    ) -> Result<Vec<MessageRecord>, StoreError> {
        let owner = owner.clone();
        self.read(move |connection| snapshot(connection, |reads| history(reads, &owner, id, before, limit)))
            .await
    }

    async fn messages_by_id(
        &self,
        owner: &Owner,
        messages: &[MessageId],
    ) -> Result<Vec<MessageRecord>, StoreError> {
        let (owner, messages) = (owner.clone(), messages.to_vec());
        self.read(move |connection| snapshot(connection, |reads| by_id(reads, &owner, &messages))).await
    }
}

/// Stores a conversation with its greeting.
struct CreateConversation {
    owner: Owner,
    new: NewConversation,
}

impl Operation for CreateConversation {
    type Answer = ConversationRecord;

    fn run(self, connection: &Connection) -> DatabaseResult<ConversationRecord> {
        let Self { owner, new } = self;
        owner.check_texts()?;
        new.check_texts()?;
        let now = now();
        let user = users::find_or_create(connection, &owner)?;
        let insert =
            || insert_conversation(connection, user, new.id, &new.companion, new.title.as_deref(), now);
        if !insert()? {
            if !finish_removal(connection, new.id)? {
                return Err(is_taken(new.id).into());
            }
            insert()?;
        }
        let messages = i64::from(new.greeting.is_some());
        execute(
            connection,
            "INSERT INTO leases (conversation, epoch, last_sequence, updated_at) VALUES (?1, 0, ?2, ?3)",
            (new.id.as_uuid(), messages, now),
        )?;
        if let Some(greeting) = new.greeting {
            let greeting = MessageRecord {
                id: greeting.id,
                turn: None,
                parent: None,
                sequence: 1,
                role: "assistant".into(),
                content: greeting.content,
                status: "complete".into(),
                created_at: now,
                metadata: greeting.metadata,
            };
            messages::insert(connection, new.id.as_uuid(), &greeting)?;
        }
        Ok(ConversationRecord {
            id: new.id,
            companion: new.companion,
            title: new.title,
            created_at: now,
            updated_at: now,
            messages,
        })
    }
}

/// Changes the title of a conversation.
struct RenameConversation {
    owner: Owner,
    id: ConversationId,
    title: String,
}

impl Operation for RenameConversation {
    type Answer = Option<ConversationRecord>;

    fn run(self, connection: &Connection) -> DatabaseResult<Self::Answer> {
        check_text("title", &self.title)?;
        if load(connection, &self.owner, self.id)?.is_none() {
            return Ok(None);
        }
        execute(
            connection,
            "UPDATE conversations SET title = ?2 WHERE id = ?1",
            (self.id.as_uuid(), &self.title),
        )?;
        execute(
            connection,
            "UPDATE leases SET updated_at = ?2 WHERE conversation = ?1",
            (self.id.as_uuid(), now()),
        )?;
        load(connection, &self.owner, self.id)
    }
}
