//! The texts that the store has of a turn: a message is shown as the store has it now, never as it was recorded.

use std::collections::{BTreeMap, BTreeSet};

use masque_store::{Conversations, MessageId, MessageRecord, OwnedTurnRecord, StoreError, TurnRecord, Turns};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::recorded::{RecordedMessage, RecordedReply, items, text};
use super::view::{ExplainedMessage, ExplainedReply};

/// The most messages that are looked up. A prompt has fewer, unless a plugin makes up ids.
const MAX_MESSAGES: usize = 1024;

/// The messages that a record names, as far as the store still has them.
pub(super) struct StoredTexts {
    /// By the ids that were looked up; `None` for a message that the user does not have, or no longer.
    messages: BTreeMap<Uuid, Option<MessageRecord>>,
    reply: Option<MessageRecord>,
}

/// What the store has of a message that a record names.
pub(super) enum StoredMessage<'a> {
    /// The message, of whichever of the user's conversations.
    Found(&'a MessageRecord),
    /// The user has no such message, or no longer.
    Deleted,
    /// The record names too many messages, and this one was not looked up.
    NotLookedUp,
}

impl StoredTexts {
    /// Reads what a record names. `None` if the turn itself is gone.
    pub(super) async fn load<S>(store: &S, owned: &OwnedTurnRecord) -> Result<Option<Self>, StoreError>
    where
        S: Turns + Conversations + ?Sized,
    {
        let OwnedTurnRecord { owner, record } = owned;
        let Some(turn) = store.turn(owner, record.turn_id).await? else { return Ok(None) };
        let named = named_messages(owned);
        let found = store.messages_by_id(owner, &named).await?;
        Ok(Some(Self::new(&named, found, turn)))
    }

    fn new(named: &[MessageId], found: Vec<MessageRecord>, turn: TurnRecord) -> Self {
        let mut messages: BTreeMap<_, _> = named.iter().map(|id| (id.as_uuid(), None)).collect();
        messages.extend(found.into_iter().map(|message| (message.id.as_uuid(), Some(message))));
        Self { messages, reply: turn.reply }
    }

    /// The message with this id; `None` for what is no id of a message.
    pub(super) fn find(&self, id: &str) -> Option<StoredMessage<'_>> {
        let id = Uuid::try_parse(id).ok()?;
        Some(match self.messages.get(&id) {
            Some(Some(found)) => StoredMessage::Found(found),
            Some(None) => StoredMessage::Deleted,
            None => StoredMessage::NotLookedUp,
        })
    }

    /// A message as far as its user may see it. One that a plugin made, or changed, has no text.
    pub(super) fn message(&self, recorded: &RecordedMessage) -> ExplainedMessage {
        let mut message = ExplainedMessage {
            id: recorded.id.clone(),
            role: recorded.role.clone(),
            source: recorded.source.clone(),
            bytes: recorded.bytes,
            tokens: recorded.tokens,
            cache: recorded.cache,
            ..ExplainedMessage::default()
        };
        match recorded.id.as_deref().and_then(|id| self.find(id)) {
            None => {}
            Some(StoredMessage::Deleted) => message.deleted = true,
            Some(StoredMessage::NotLookedUp) => message.not_looked_up = true,
            Some(StoredMessage::Found(found)) => {
                let digest = digest(&found.content);
                if recorded.digest.as_ref() == Some(&digest) {
                    message.text = Some(found.content.clone());
                    message.digest = Some(digest);
                }
            }
        }
        message
    }

    /// The reply. Its text is shown if the conversation has this one, not that of another attempt.
    pub(super) fn reply(&self, recorded: &RecordedReply, finish: Option<String>) -> ExplainedReply {
        let text = self.reply.as_ref().map(|reply| &reply.content);
        let text = text.filter(|text| recorded.digest.as_ref() == Some(&digest(text)));
        ExplainedReply {
            finish,
            bytes: recorded.bytes,
            tokens: recorded.tokens,
            text: text.cloned(),
            digest: recorded.digest.clone(),
        }
    }
}

/// `sha256:` and the digest of a text, as in records.
fn digest(text: &str) -> String {
    format!("sha256:{:x}", Sha256::digest(text))
}

/// The ids of messages that an explanation of the record shows, at most [`MAX_MESSAGES`]: those of the conversation before those
/// that memories name.
fn named_messages(owned: &OwnedTurnRecord) -> Vec<MessageId> {
    let record = &owned.record;
    let mut named: Vec<_> = id_of(&record.message).into_iter().collect();
    let mut sources = Vec::new();
    for step in &record.steps {
        let prompts = [step.received.get("prompt"), step.returned.get("prompt")];
        let messages = [Some(&step.returned)].into_iter().chain(prompts).flatten();
        named.extend(messages.flat_map(|value| items(value, "messages")).filter_map(id_of));
        sources.extend(
            items(&step.returned, "memories")
                .filter_map(|memory| Uuid::try_parse(message_of_source(&text(memory, "source")?)?).ok()),
        );
    }
    let mut seen = BTreeSet::new();
    let distinct = named.into_iter().chain(sources).filter(|id| seen.insert(*id));
    distinct.take(MAX_MESSAGES).map(MessageId::from).collect()
}

fn id_of(message: &Value) -> Option<Uuid> {
    Uuid::try_parse(message.get("id")?.as_str()?).ok()
}

/// The message that a memory was made of, if its source names one.
pub(super) fn message_of_source(source: &str) -> Option<&str> {
    source.strip_prefix("message:")
}
