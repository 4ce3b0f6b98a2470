//! Conversations and their messages. Messages are written by turns (see [`crate::Turns`]); only a greeting is written
//! with the conversation itself.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::StoreError;
use crate::ids::{ConversationId, MessageId};
use crate::message::{MessageRecord, NewMessage, TailLimit};
use crate::owner::Owner;
use crate::page::{Page, Paged};

/// Operations on conversations. Those of a client are on the conversations of one user: the id of another user's conversation gets the same answer as an
/// unknown one.
#[async_trait]
pub trait Conversations: Send + Sync {
    /// Makes a conversation, with its greeting as the first message.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the id is taken, also by a long conversation that was deleted and is still being
    /// removed.
    async fn create(&self, owner: &Owner, new: NewConversation) -> Result<ConversationRecord, StoreError>;

    /// One conversation.
    async fn conversation(
        &self,
        owner: &Owner,
        id: ConversationId,
    ) -> Result<Option<ConversationRecord>, StoreError>;

    /// The owner's conversations, the newest made first.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if `page.after` is not a cursor of this list.
    async fn conversations(&self, owner: &Owner, page: Page)
    -> Result<Paged<ConversationRecord>, StoreError>;

    /// The owner's conversations with one of these companions, the newest made first. Reads a bounded number of rows for each
    /// companion, however many conversations there are with others.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if `page.after` is not a cursor of this list.
    async fn conversations_with(
        &self,
        owner: &Owner,
        companions: &BTreeSet<String>,
        page: Page,
    ) -> Result<Paged<ConversationRecord>, StoreError>;

    /// Gives a conversation another title and returns the changed conversation.
    async fn rename(
        &self,
        owner: &Owner,
        id: ConversationId,
        title: String,
    ) -> Result<Option<ConversationRecord>, StoreError>;

    /// Deletes a conversation with its messages, turns, jobs, idempotency records and the state that plugins keep for
    /// it; false if there is none. No later call finds them; [`crate::Turns::sweep`] removes their rows in batches. A
    /// turn that runs in it answers [`crate::Ending::LeaseLost`] from then on.
    async fn delete(&self, owner: &Owner, id: ConversationId) -> Result<bool, StoreError>;

    /// Deletes conversations, of all users, in which nothing has happened for this long, as [`Conversations::delete`] does: those
    /// that are idle for the longest, a bounded number in one transaction. What happens is that a conversation is made or
    /// renamed, or that a turn begins or ends in it. One in which a turn runs is left. Returns how many; call again while it
    /// is not zero.
    async fn forget_conversations(&self, idle_for: Duration) -> Result<u64, StoreError>;

    /// The messages of a conversation, oldest first, those of failed turns included. A cursor stays valid when
    /// messages are added. `None` if there is no such conversation.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if `page.after` is not a cursor of this list.
    async fn messages(
        &self,
        owner: &Owner,
        id: ConversationId,
        page: Page,
    ) -> Result<Option<Paged<MessageRecord>>, StoreError>;

    /// The newest messages before `before` (or of all) within `limit`, oldest first. The newest of them is always
    /// returned, however long it is. Messages of failed turns are left out, as in [`crate::Started::tail`], since this
    /// is the history that plugins get. Empty if either id is unknown, or nothing comes before.
    async fn messages_before(
        &self,
        owner: &Owner,
        id: ConversationId,
        before: Option<MessageId>,
        limit: TailLimit,
    ) -> Result<Vec<MessageRecord>, StoreError>;

    /// The messages with these ids in any conversation of the user, by conversation and oldest first, those of failed turns
    /// included. Ids of others, and of deleted conversations, are left out. Reads no other message.
    async fn messages_by_id(
        &self,
        owner: &Owner,
        messages: &[MessageId],
    ) -> Result<Vec<MessageRecord>, StoreError>;
}

/// A conversation to create.
#[derive(Clone, Debug, PartialEq)]
pub struct NewConversation {
    /// Its id.
    pub id: ConversationId,
    /// The companion that it is with.
    pub companion: String,
    /// Its title. Without one, the title is made from the first message (see [`crate::title_of`]).
    pub title: Option<String>,
    /// The companion's first message.
    pub greeting: Option<NewMessage>,
}

/// A conversation as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversationRecord {
    /// Its id.
    pub id: ConversationId,
    /// The companion that it is with.
    pub companion: String,
    /// Its title; `None` until the first message gives it one.
    pub title: Option<String>,
    /// When it was made, in milliseconds.
    pub created_at: i64,
    /// When it last changed, in milliseconds.
    pub updated_at: i64,
    /// How many messages it has.
    pub messages: i64,
}
