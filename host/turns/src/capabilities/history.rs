//! Earlier messages of the turn's conversation.

use std::sync::Arc;

use async_trait::async_trait;
use masque_runtime::History;
use masque_runtime::contract::{Failure, Message};
use masque_store::{MessageId, MessageRecord, TailLimit};

use super::context::ConversationContext;
use super::state::store_failure;
use crate::contract;

/// The most messages in one page, as the contract says.
const MAX_PAGE_MESSAGES: u32 = 1000;
/// The most bytes of content in one page. A plugin's memory may be small.
const MAX_PAGE_BYTES: usize = 1 << 20;

/// The messages before the turn's own.
pub(crate) struct ConversationHistory(pub(crate) Arc<ConversationContext>);

#[async_trait]
impl History for ConversationHistory {
    async fn page(&self, before: Option<&str>, limit: u32) -> Result<Vec<Message>, Failure> {
        let history = &self.0.history;
        let limit = limit.min(MAX_PAGE_MESSAGES) as usize;
        let before = before.map(str::parse::<MessageId>).transpose();
        let before = before.map_err(|_| Failure::new("invalid", "`before` is not the id of a message"))?;
        // Start from the tail: the turn's own message may not be on disk yet, so the store may not know it.
        let known = match before {
            None => Some(history.tail.as_slice()),
            Some(id) if id == history.own_message => Some(history.tail.as_slice()),
            Some(id) => {
                history.tail.iter().position(|message| message.id == id).and_then(|at| history.tail.get(..at))
            }
        };
        let (known, from) = match known {
            Some(known) => {
                let oldest = history.tail.first().map(|oldest| oldest.id);
                (known, oldest.or(history.is_stored.then_some(history.own_message)))
            }
            None => (Default::default(), before),
        };
        let known = known.get(known.len().saturating_sub(limit)..).unwrap_or_default();
        let known_bytes: usize = known.iter().map(|message| message.content.len()).sum();
        let missing = TailLimit {
            messages: u32::try_from(limit - known.len()).unwrap_or_default(),
            bytes: MAX_PAGE_BYTES.saturating_sub(known_bytes),
        };
        let mut records = match missing.messages {
            0 => Vec::new(),
            _ => self.older_than(from, missing).await?,
        };
        if !known.is_empty() {
            // The store returns at least one message, however long. It has to fit beside those that are known.
            records = contract::newest_within(records, missing);
        }
        records.extend_from_slice(known);
        Ok(records.iter().map(contract::message).collect())
    }
}

impl ConversationHistory {
    async fn older_than(
        &self,
        before: Option<MessageId>,
        limit: TailLimit,
    ) -> Result<Vec<MessageRecord>, Failure> {
        let ConversationContext { store, owner, conversation, history, .. } = &*self.0;
        let read = async |before| {
            let found = store.messages_before(owner, *conversation, before, limit).await;
            found.map_err(|error| store_failure(&error))
        };
        let mut records = read(before).await?;
        // The turn's own message is not part of its history. If it is in the answer, it is on disk, and the store can be
        // asked what was before it.
        if records.iter().any(|record| record.id == history.own_message) {
            records = read(Some(history.own_message)).await?;
        }
        records.retain(|record| record.sequence < history.own_sequence);
        Ok(records)
    }
}
