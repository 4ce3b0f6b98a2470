//! What the host lends to one plugin's call: its own state, the past of this conversation, the companion's model. Each
//! is bound here to an owner, a conversation and a plugin's name; whether the plugin was granted it is decided in the
//! sandbox, before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use masque_runtime::contract::{Delta, Failure, Finish, Message, Part, Prompt, Reply, Usage};
use masque_runtime::{
    Asked, Call, CallError, Cause, History, Models, Plugin, Scope, State, StateEntry, Whose,
};
use masque_store::{
    ConflictReason, ConversationId, MessageId, MessageRecord, Owner, StateChange, StateConflict, StateFence,
    StateKey, StateResult, StateScope, StateSpace, StateWrite, Store, StoreError, TailLimit,
};

use super::contract;

/// The longest reply to a question on the side.
const REPLY_BYTES: usize = 1 << 20;
/// What the contract allows a page to hold.
const PAGE: u32 = 1000;
/// The same of a page of history; the guest's memory is as small as its limit.
const PAGE_BYTES: usize = 1 << 20;

/// Lends on behalf of one turn, or of one job about a turn.
pub(crate) struct Lender {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) owner: Owner,
    pub(crate) conversation: ConversationId,
    /// The turn or job that writes, as long as it holds its lease; `None` where there is neither.
    pub(crate) fence: Option<StateFence>,
    /// The past that the turn knows already.
    pub(crate) past: Arc<Past>,
    /// The companion's first model.
    pub(crate) model: Option<Arc<Plugin>>,
}

/// The turn's own message and the newest before it, oldest first.
pub(crate) struct Past {
    pub(crate) own: MessageId,
    pub(crate) own_sequence: i64,
    /// Whether the turn's own message is on disk, so that the store can be asked what was before it.
    pub(crate) stored: bool,
    pub(crate) tail: Vec<MessageRecord>,
}

impl Lender {
    /// What `plugin` may use until `deadline`.
    pub(crate) fn call(self: &Arc<Self>, plugin: &Plugin, deadline: Instant) -> Call {
        let aside = self.model.clone().map(|model| Aside { lender: Arc::clone(self), model });
        Call { models: aside.map(|aside| Arc::new(aside) as _), ..self.without_models(plugin, deadline) }
    }

    fn without_models(self: &Arc<Self>, plugin: &Plugin, deadline: Instant) -> Call {
        let earlier = Earlier { lender: Arc::clone(self) };
        Call {
            deadline,
            state: Some(Arc::new(self.state(plugin.name()))),
            history: Some(Arc::new(earlier)),
            models: None,
            whose: Some(self.whose()),
            asked: None,
        }
    }

    fn whose(&self) -> Whose {
        let Owner { tenant, issuer, subject } = &self.owner;
        // Quoted, so that `ab` + `c` is not `a` + `bc`.
        Whose {
            user: format!("{tenant:?} {issuer:?} {subject:?}"),
            conversation: self.conversation.to_string(),
        }
    }

    /// The values of the plugin `name`.
    pub(crate) fn state(&self, name: &str) -> Values {
        Values {
            store: Arc::clone(&self.store),
            owner: self.owner.clone(),
            conversation: self.conversation,
            fence: self.fence,
            plugin: name.to_owned(),
        }
    }
}

/// A plugin's stored values, written through at once.
pub(crate) struct Values {
    store: Arc<dyn Store>,
    owner: Owner,
    conversation: ConversationId,
    fence: Option<StateFence>,
    plugin: String,
}

impl Values {
    pub(crate) fn space(&self, scope: Scope) -> StateSpace {
        let scope = match scope {
            Scope::Conversation => StateScope::Conversation(self.conversation),
            Scope::User => StateScope::User(self.owner.clone()),
            Scope::Shared => StateScope::Shared,
        };
        StateSpace { tenant: self.owner.tenant.clone(), plugin: self.plugin.clone(), scope }
    }

    pub(crate) fn key(&self, scope: Scope, key: &str) -> StateKey {
        StateKey { space: self.space(scope), key: key.to_owned() }
    }

    async fn write(&self, scope: Scope, key: &str, change: StateChange) -> Result<StateResult, Failure> {
        let write = StateWrite { key: self.key(scope, key), change };
        match self.store.state_write(self.fence, vec![write]).await.map_err(|error| store_failure(&error))? {
            Ok(results) => results.into_iter().next().ok_or_else(|| unexpected("no result for a write")),
            Err(conflict) => Err(refused(&conflict)),
        }
    }
}

#[async_trait]
impl State for Values {
    async fn get(&self, scope: Scope, key: &str) -> Result<Option<StateEntry>, Failure> {
        let found =
            self.store.state_get(&self.key(scope, key)).await.map_err(|error| store_failure(&error))?;
        Ok(found.map(|found| StateEntry { value: found.value, version: found.version }))
    }

    async fn set(
        &self,
        scope: Scope,
        key: &str,
        value: Vec<u8>,
        if_version: Option<u64>,
        ttl: Option<Duration>,
    ) -> Result<u64, Failure> {
        match self.write(scope, key, StateChange::Set { value, if_version, ttl }).await? {
            StateResult::Version(version) => Ok(version),
            other => Err(unexpected(&format!("{other:?}"))),
        }
    }

    async fn delete(&self, scope: Scope, key: &str, if_version: Option<u64>) -> Result<(), Failure> {
        self.write(scope, key, StateChange::Delete { if_version }).await.map(|_deleted| ())
    }

    async fn add(&self, scope: Scope, key: &str, amount: i64) -> Result<i64, Failure> {
        match self.write(scope, key, StateChange::Add { amount }).await? {
            StateResult::Sum(sum) => Ok(sum),
            other => Err(unexpected(&format!("{other:?}"))),
        }
    }

    async fn list(
        &self,
        scope: Scope,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Failure> {
        let space = self.space(scope);
        self.store
            .state_list(&space, prefix, after, limit.min(PAGE))
            .await
            .map_err(|error| store_failure(&error))
    }
}

/// Earlier messages of the turn's conversation.
struct Earlier {
    lender: Arc<Lender>,
}

#[async_trait]
impl History for Earlier {
    async fn page(&self, before: Option<&str>, limit: u32) -> Result<Vec<Message>, Failure> {
        let past = &self.lender.past;
        let limit = limit.min(PAGE) as usize;
        let before = before.map(str::parse::<MessageId>).transpose();
        let before = before.map_err(|_| Failure::new("invalid", "`before` is not the id of a message"))?;
        // The tail first: the turn's own message may not have reached the disk, so the store can't be asked about it.
        let known = match before {
            None => Some(past.tail.as_slice()),
            Some(id) if id == past.own => Some(past.tail.as_slice()),
            Some(id) => {
                past.tail.iter().position(|message| message.id == id).and_then(|at| past.tail.get(..at))
            }
        };
        let (known, from) = match known {
            Some(known) => {
                let oldest = past.tail.first().map(|oldest| oldest.id);
                (known, oldest.or(past.stored.then_some(past.own)))
            }
            None => (Default::default(), before),
        };
        let known = known.get(known.len().saturating_sub(limit)..).unwrap_or_default();
        let known_bytes: usize = known.iter().map(|message| message.content.len()).sum();
        let missing = TailLimit {
            messages: u32::try_from(limit - known.len()).unwrap_or_default(),
            bytes: PAGE_BYTES.saturating_sub(known_bytes),
        };
        let mut records = match missing.messages {
            0 => Vec::new(),
            _ => self.older(from, missing).await?,
        };
        if !known.is_empty() {
            // The store gives one message however long it is; beside others it has to fit.
            records = contract::newest(records, missing);
        }
        records.extend_from_slice(known);
        Ok(records.iter().map(contract::message).collect())
    }
}

impl Earlier {
    async fn older(
        &self,
        before: Option<MessageId>,
        limit: TailLimit,
    ) -> Result<Vec<MessageRecord>, Failure> {
        let Lender { store, owner, conversation, past, .. } = &*self.lender;
        let ask = async |before| {
            let found = store.messages_before(owner, *conversation, before, limit).await;
            found.map_err(|error| store_failure(&error))
        };
        let mut records = ask(before).await?;
        // The turn's own message is no part of its past. Once it turns up it is on disk, and can be started from.
        if records.iter().any(|record| record.id == past.own) {
            records = ask(Some(past.own)).await?;
        }
        records.retain(|record| record.sequence < past.own_sequence);
        Ok(records)
    }
}

/// The companion's first model, asked on the side.
struct Aside {
    lender: Arc<Lender>,
    model: Arc<Plugin>,
}

#[async_trait]
impl Models for Aside {
    fn weight(&self) -> u32 {
        self.model.weight()
    }

    async fn ask(&self, prompt: Prompt, asked: Asked) -> Result<Reply, Failure> {
        let lent = self.lender.without_models(&self.model, asked.deadline());
        let call = Call { asked: Some(asked), ..lent };
        let mut deltas = self.model.generate(call, &prompt).await.map_err(inner_failure)?;
        let mut reply = Collected::default();
        while let Some(batch) = deltas.next().await {
            for delta in batch.map_err(inner_failure)? {
                if let Some(finish) = reply.take(delta)? {
                    return Ok(reply.into_reply(finish));
                }
            }
        }
        Err(Failure::new("truncated", "the model's reply has no end"))
    }
}

/// A reply as far as it has come.
#[derive(Default)]
struct Collected {
    text: String,
    parts: Vec<Part>,
    usage: Option<Usage>,
    bytes: usize,
}

impl Collected {
    /// Takes one item in; the last one of a whole reply is given back.
    fn take(&mut self, delta: Delta) -> Result<Option<Finish>, Failure> {
        match delta {
            Delta::Text(text) => {
                self.grow(text.len())?;
                self.text.push_str(&text);
            }
            Delta::ToolCall(call) => {
                self.grow(call.arguments.len() + call.name.len() + call.id.len())?;
                self.parts.push(Part::ToolCall(call));
            }
            Delta::Usage(usage) => self.usage = Some(usage),
            Delta::Finish(finish) => return Ok(Some(finish)),
            Delta::Failed(failure) => return Err(failure),
            Delta::Thinking(_) | Delta::Other(_) => {}
        }
        Ok(None)
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        // An item without a byte still takes room.
        self.bytes += bytes.max(1);
        if self.bytes > REPLY_BYTES {
            return Err(Failure::new("invalid", format!("the reply is longer than {REPLY_BYTES} bytes")));
        }
        Ok(())
    }

    fn into_reply(self, finish: Finish) -> Reply {
        let mut parts = vec![Part::Text(self.text)];
        parts.extend(self.parts);
        let message = Message {
            id: None,
            role: "assistant".into(),
            parts,
            at: None,
            source: None,
            cache: false,
            metadata: Vec::new(),
        };
        let none = || Usage { input_tokens: 0, output_tokens: 0, cached_tokens: 0, metadata: Vec::new() };
        Reply { message, usage: self.usage.unwrap_or_else(none), finish, metadata: Vec::new() }
    }
}

/// A failed inner call as the asking plugin learns of it: the model's own failure, or the host's code for what
/// happened to it, without the details that name another plugin.
fn inner_failure(error: CallError) -> Failure {
    match error.cause {
        Cause::Failed(failure) => *failure,
        _ => Failure::new(error.code(), "the companion's model could not answer"),
    }
}

pub(crate) fn store_failure(error: &StoreError) -> Failure {
    match error {
        StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_) => {
            Failure::new("unavailable", "the host's store is not available")
        }
        StoreError::FenceEnded => Failure::new("unavailable", "the call's turn or job has ended"),
        StoreError::Refused(reason) => Failure::new("invalid", reason.clone()),
        StoreError::Conflict(conflict) => refused(conflict),
        StoreError::Corrupt(_) | StoreError::Internal(_) => {
            tracing::error!(%error, "a plugin's state can't be read");
            Failure::new("internal", "the host could not read the value")
        }
    }
}

/// `conflict` only for what may go well the next time: a plugin that reads and tries again must come to an end.
fn refused(conflict: &StateConflict) -> Failure {
    let code = match conflict.reason {
        ConflictReason::Version { .. } => "conflict",
        ConflictReason::NotAnInteger | ConflictReason::Overflow => "invalid",
        ConflictReason::NoConversation => "not-found",
    };
    Failure::new(code, conflict.to_string())
}

fn unexpected(what: &str) -> Failure {
    tracing::error!(what, "the store answered a state write with something else");
    Failure::new("internal", "the host's store gave an unexpected answer")
}
