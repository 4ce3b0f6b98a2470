//! Conversations and their messages, as their owner sees them. Messages are written by turns (see [`crate::Turns`]);
//! only a greeting comes with the conversation itself.

use async_trait::async_trait;
use serde_json::Value;

use crate::{ConversationId, MessageId, Owner, StoreError, TailLimit, TurnId};

/// What a user can do with conversations. Another user's id answers as an unknown one.
#[async_trait]
pub trait Conversations: Send + Sync {
    /// Makes a conversation, with its greeting as the first message.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if the id is taken.
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

    /// Gives a conversation another title and returns it as it is then.
    async fn rename(
        &self,
        owner: &Owner,
        id: ConversationId,
        title: String,
    ) -> Result<Option<ConversationRecord>, StoreError>;

    /// Removes a conversation with its messages, turns, jobs, idempotency records and the state that plugins keep for
    /// it; false if there is none. A turn that runs in it answers [`crate::Ending::LeaseLost`] from then on.
    async fn delete(&self, owner: &Owner, id: ConversationId) -> Result<bool, StoreError>;

    /// The messages of a conversation, oldest first, those of failed turns included. A cursor stays good however many
    /// messages come after it. `None` if there is no such conversation.
    ///
    /// # Errors
    /// [`StoreError::Refused`] if `page.after` is not a cursor of this list.
    async fn messages(
        &self,
        owner: &Owner,
        id: ConversationId,
        page: Page,
    ) -> Result<Option<Paged<MessageRecord>>, StoreError>;

    /// The newest messages before `before` (or of all) within `limit`, oldest first, and the newest of them however long
    /// it is. This is what a plugin may know of the past, so those of failed turns are left out as in
    /// [`crate::Started::tail`]. Empty if either id is unknown, or where there is nothing before.
    async fn messages_before(
        &self,
        owner: &Owner,
        id: ConversationId,
        before: Option<MessageId>,
        limit: TailLimit,
    ) -> Result<Vec<MessageRecord>, StoreError>;
}

/// A conversation to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewConversation {
    /// Its id.
    pub id: ConversationId,
    /// With whom.
    pub companion: String,
    /// Its title; without one the first message gives it (see [`title_of`]).
    pub title: Option<String>,
    /// The companion's first message.
    pub greeting: Option<NewMessage>,
}

/// A message to be stored; role and place follow from the operation that carries it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    /// Its id.
    pub id: MessageId,
    /// Its text.
    pub content: String,
    /// A JSON object.
    pub metadata: Value,
}

/// A conversation as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct ConversationRecord {
    /// Its id.
    pub id: ConversationId,
    /// With whom.
    pub companion: String,
    /// Its title, once it has one.
    pub title: Option<String>,
    /// When it was made, in milliseconds.
    pub created_at: i64,
    /// When it last changed, in milliseconds.
    pub updated_at: i64,
    /// How many messages it has.
    pub messages: i64,
}

/// A message as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct MessageRecord {
    /// Its id.
    pub id: MessageId,
    /// The turn it belongs to; a greeting has none.
    pub turn: Option<TurnId>,
    /// The message it answers or follows.
    pub parent: Option<MessageId>,
    /// Its place in the conversation, from 1, without gaps.
    pub sequence: i64,
    /// `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
    /// `complete`, `running` (its turn still is), `interrupted` or `failed`.
    pub status: String,
    /// When it was written, in milliseconds.
    pub created_at: i64,
    /// A JSON object.
    pub metadata: Value,
}

/// Which part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// How many items; taken as 1 to 1000.
    pub limit: u32,
    /// [`Paged::next`] of the part before.
    pub after: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paged<T> {
    /// The items.
    pub items: Vec<T>,
    /// The cursor of the next part, if there are more items.
    pub next: Option<String>,
}

/// The title a conversation gets from its first message: the first line that says something, cut after 80 characters.
pub fn title_of(message: &str) -> String {
    const LONGEST: usize = 80;
    let line = message.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    match line.char_indices().nth(LONGEST) {
        None => line.to_owned(),
        Some((end, _)) => {
            let cut = line.get(..end).unwrap_or(line);
            // A title that ends within a word reads like damage; one long word is cut where it must be.
            let whole = cut.rfind(char::is_whitespace).and_then(|space| cut.get(..space)).unwrap_or(cut);
            format!("{}…", whole.trim_end())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::title_of;

    #[test]
    fn a_title_is_the_first_line_that_says_something() {
        assert_eq!(title_of("\n  \n Hello there. \nMore"), "Hello there.");
        assert_eq!(title_of(" \n"), "");
    }

    #[test]
    fn a_long_title_ends_after_a_whole_word_and_a_long_word_is_cut() {
        let words = "word ".repeat(40);
        assert_eq!(title_of(&words), format!("{}…", "word ".repeat(16).trim_end()));
        assert_eq!(title_of(&"é".repeat(200)), format!("{}…", "é".repeat(80)));
    }
}
