//! [`Conversations`]: reads on the pool, writes through the writer.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;

use super::SqliteStore;
use super::fault::Fault;
use super::jobs;
use super::rows::{message, message_columns, now};
use super::writer::{Operation, Session, Verdict};
use crate::{
    ConversationId, ConversationRecord, Conversations, MessageId, MessageRecord, NewConversation, Owner,
    Page, Paged, StoreError, TailLimit,
};

#[async_trait]
impl Conversations for SqliteStore {
    async fn create(&self, owner: &Owner, new: NewConversation) -> Result<ConversationRecord, StoreError> {
        self.write(Create { owner: owner.clone(), new }).await
    }

    async fn conversation(
        &self,
        owner: &Owner,
        id: ConversationId,
    ) -> Result<Option<ConversationRecord>, StoreError> {
        let mut connection = self.reader().await?;
        Ok(load(&mut connection, owner, id).await?)
    }

    async fn conversations(
        &self,
        owner: &Owner,
        page: Page,
    ) -> Result<Paged<ConversationRecord>, StoreError> {
        let mut connection = self.reader().await?;
        Ok(list(&mut connection, owner, &page).await?)
    }

    async fn rename(
        &self,
        owner: &Owner,
        id: ConversationId,
        title: String,
    ) -> Result<Option<ConversationRecord>, StoreError> {
        self.write(Rename { owner: owner.clone(), id, title }).await
    }

    async fn delete(&self, owner: &Owner, id: ConversationId) -> Result<bool, StoreError> {
        self.write(Delete { owner: owner.clone(), id }).await
    }

    async fn messages(
        &self,
        owner: &Owner,
        id: ConversationId,
        page: Page,
    ) -> Result<Option<Paged<MessageRecord>>, StoreError> {
        let mut connection = self.reader().await?;
        Ok(list_messages(&mut connection, owner, id, &page).await?)
    }

    async fn messages_before(
        &self,
        owner: &Owner,
        id: ConversationId,
        before: Option<MessageId>,
        limit: TailLimit,
    ) -> Result<Vec<MessageRecord>, StoreError> {
        let mut connection = self.reader().await?;
        Ok(history(&mut connection, owner, id, before, limit).await?)
    }
}

/// From the columns id, companion, title, created_at, updated_at, last_sequence.
fn record(row: &SqliteRow) -> Result<ConversationRecord, Fault> {
    Ok(ConversationRecord {
        id: ConversationId::from(row.try_get::<Uuid, _>(0)?),
        companion: row.try_get(1)?,
        title: row.try_get(2)?,
        created_at: row.try_get(3)?,
        updated_at: row.try_get(4)?,
        messages: row.try_get(5)?,
    })
}

async fn load(
    connection: &mut SqliteConnection,
    owner: &Owner,
    id: ConversationId,
) -> Result<Option<ConversationRecord>, Fault> {
    let row = sqlx::query(
        "SELECT id, companion, title, created_at, updated_at, last_sequence FROM conversations
          WHERE id = ?1 AND tenant = ?2 AND issuer = ?3 AND subject = ?4",
    )
    .bind(id.as_uuid())
    .bind(&owner.tenant)
    .bind(&owner.issuer)
    .bind(&owner.subject)
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(record).transpose()
}

/// How many rows to read for a page: one more than asked for tells whether there is a next one.
pub(super) fn limit(page: &Page) -> usize {
    page.limit.clamp(1, 1000) as usize
}

pub(super) fn no_cursor(cursor: &str) -> StoreError {
    StoreError::Refused(format!("`{cursor}` is not a cursor of this list"))
}

/// Cuts a page to its size; the last item's cursor leads on if there was more.
fn paged<T>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Paged<T> {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(cursor);
    Paged { items, next }
}

/// The same for rows that have a number as their cursor.
pub(super) fn numbered<T>(items: Vec<(T, i64)>, limit: usize) -> Paged<T> {
    let Paged { items, next } = paged(items, limit, |(_, number)| number.to_string());
    Paged { items: items.into_iter().map(|(item, _)| item).collect(), next }
}

/// By id, which is by the time of making: a list by last use would move under its cursor.
async fn list(
    connection: &mut SqliteConnection,
    owner: &Owner,
    page: &Page,
) -> Result<Paged<ConversationRecord>, Fault> {
    let after: ConversationId = match &page.after {
        Some(cursor) => cursor.parse().map_err(|_| no_cursor(cursor))?,
        None => ConversationId::from(Uuid::max()),
    };
    let limit = limit(page);
    let rows = sqlx::query(
        "SELECT id, companion, title, created_at, updated_at, last_sequence FROM conversations
          WHERE tenant = ?1 AND issuer = ?2 AND subject = ?3 AND id < ?4 ORDER BY id DESC LIMIT ?5 + 0",
    )
    .bind(&owner.tenant)
    .bind(&owner.issuer)
    .bind(&owner.subject)
    .bind(after.as_uuid())
    .bind(limit as i64 + 1)
    .fetch_all(connection)
    .await?;
    let items = rows.iter().map(record).collect::<Result<_, Fault>>()?;
    Ok(paged(items, limit, |last: &ConversationRecord| last.id.to_string()))
}

async fn list_messages(
    connection: &mut SqliteConnection,
    owner: &Owner,
    id: ConversationId,
    page: &Page,
) -> Result<Option<Paged<MessageRecord>>, Fault> {
    let after: i64 = match &page.after {
        Some(cursor) => cursor.parse().map_err(|_| no_cursor(cursor))?,
        None => 0,
    };
    if load(connection, owner, id).await?.is_none() {
        return Ok(None);
    }
    let limit = limit(page);
    let rows = sqlx::query(concat!(
        "SELECT ",
        message_columns!("m"),
        " FROM messages m
          WHERE m.conversation = ?1 AND m.sequence > ?2 ORDER BY m.sequence LIMIT ?3 + 0"
    ))
    .bind(id.as_uuid())
    .bind(after)
    .bind(limit as i64 + 1)
    .fetch_all(connection)
    .await?;
    let items = rows.iter().map(message).collect::<Result<_, Fault>>()?;
    Ok(Some(paged(items, limit, |last: &MessageRecord| last.sequence.to_string())))
}

async fn history(
    connection: &mut SqliteConnection,
    owner: &Owner,
    id: ConversationId,
    before: Option<MessageId>,
    limit: TailLimit,
) -> Result<Vec<MessageRecord>, Fault> {
    // The sizes first, which are read off the rows' headers: the texts themselves may be a gigabyte.
    let rows = sqlx::query(concat!(
        "WITH newest AS (
            SELECT m.id, m.sequence, octet_length(m.content) AS size FROM messages m
             WHERE m.conversation = ?1 AND m.tenant = ?2 AND m.issuer = ?3 AND m.subject = ?4 AND m.status <> 'failed'
               AND m.sequence < iif(?5 IS NULL, 9223372036854775807,
                                    (SELECT b.sequence FROM messages b WHERE b.id = ?5 AND b.conversation = ?1))
             ORDER BY m.sequence DESC LIMIT ?6 + 0),
         summed AS (SELECT id, size, sum(size) OVER (ORDER BY sequence DESC) AS total FROM newest)
         SELECT ", message_columns!("m"), " FROM summed s JOIN messages m ON m.id = s.id
          WHERE s.total <= ?7 OR s.total = s.size ORDER BY m.sequence DESC"
    ))
    .bind(id.as_uuid())
    .bind(&owner.tenant)
    .bind(&owner.issuer)
    .bind(&owner.subject)
    .bind(before.map(|before| before.as_uuid()))
    .bind(i64::from(limit.messages))
    .bind(i64::try_from(limit.bytes).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    rows.iter().rev().map(message).collect()
}

struct Create {
    owner: Owner,
    new: NewConversation,
}

impl Operation for Create {
    type Answer = ConversationRecord;

    async fn run(self, session: Session<'_>) -> Result<Verdict<Self::Answer>, Fault> {
        let connection = session.open().await?;
        let Self { owner, new } = self;
        let row = sqlx::query(concat!(
            "INSERT INTO conversations (id, tenant, issuer, subject, companion, title, last_sequence, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ", now!(), ", ", now!(), ")
             RETURNING id, companion, title, created_at, updated_at, last_sequence"
        ))
        .bind(new.id.as_uuid())
        .bind(&owner.tenant)
        .bind(&owner.issuer)
        .bind(&owner.subject)
        .bind(&new.companion)
        .bind(&new.title)
        .bind(i64::from(new.greeting.is_some()))
        .fetch_one(&mut *connection)
        .await?;
        let record = record(&row)?;
        if let Some(greeting) = new.greeting {
            sqlx::query(
                "INSERT INTO messages (id, conversation, tenant, issuer, subject, sequence, role, content, status,
                                       metadata, created_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, 1, 'assistant', ?6, 'complete', ?7, ?8)",
            )
            .bind(greeting.id.as_uuid())
            .bind(new.id.as_uuid())
            .bind(&owner.tenant)
            .bind(&owner.issuer)
            .bind(&owner.subject)
            .bind(&greeting.content)
            .bind(greeting.metadata.to_string())
            .bind(record.created_at)
            .execute(connection)
            .await?;
        }
        Ok(Verdict::Keep(record))
    }
}

struct Rename {
    owner: Owner,
    id: ConversationId,
    title: String,
}

impl Operation for Rename {
    type Answer = Option<ConversationRecord>;

    async fn run(self, session: Session<'_>) -> Result<Verdict<Self::Answer>, Fault> {
        let connection = session.open().await?;
        let row = sqlx::query(concat!(
            "UPDATE conversations SET title = ?5, updated_at = ",
            now!(),
            "
              WHERE id = ?1 AND tenant = ?2 AND issuer = ?3 AND subject = ?4
             RETURNING id, companion, title, created_at, updated_at, last_sequence"
        ))
        .bind(self.id.as_uuid())
        .bind(&self.owner.tenant)
        .bind(&self.owner.issuer)
        .bind(&self.owner.subject)
        .bind(&self.title)
        .fetch_optional(connection)
        .await?;
        Ok(Verdict::Keep(row.as_ref().map(record).transpose()?))
    }
}

struct Delete {
    owner: Owner,
    id: ConversationId,
}

impl Operation for Delete {
    type Answer = bool;

    async fn run(self, session: Session<'_>) -> Result<Verdict<bool>, Fault> {
        let connection = session.open().await?;
        // Messages, turns, jobs and idempotency records go by their foreign keys.
        let deleted = sqlx::query(
            "DELETE FROM conversations WHERE id = ?1 AND tenant = ?2 AND issuer = ?3 AND subject = ?4",
        )
        .bind(self.id.as_uuid())
        .bind(&self.owner.tenant)
        .bind(&self.owner.issuer)
        .bind(&self.owner.subject)
        .execute(&mut *connection)
        .await?;
        if deleted.rows_affected() == 0 {
            return Ok(Verdict::Keep(false));
        }
        sqlx::query("DELETE FROM state WHERE length(conversation) > 0 AND conversation = ?1")
            .bind(self.id.as_uuid())
            .execute(&mut *connection)
            .await?;
        jobs::advance_all(connection, &self.owner).await?;
        Ok(Verdict::Keep(true))
    }
}
