//! Capabilities in memory, which replace the host's own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed precondition fails the test")]
#![allow(dead_code, reason = "no test target uses all of them")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use masque_runtime::contract::{Failure, Finish, Message, Part, Prompt, Reply, Usage};
use masque_runtime::{Call, History, Models, NestedCall, PluginStateScope, State, StateEntry};

use crate::fixtures::{call, prompt};

/// The state, history and models of one conversation.
#[derive(Default)]
pub(crate) struct InMemoryCapabilities {
    values: Mutex<BTreeMap<(String, String), StateEntry>>,
    earlier: Vec<Message>,
    /// The questions that models were asked.
    pub(crate) asked: Mutex<Vec<String>>,
}

impl InMemoryCapabilities {
    /// With messages `m-0`, `m-1`, … before the turn.
    pub(crate) fn with_history(messages: usize) -> Arc<Self> {
        let earlier =
            (0..messages).map(|index| message_with_id(&format!("m-{index}"), "user", "Earlier.")).collect();
        Arc::new(Self { earlier, ..Self::default() })
    }

    pub(crate) fn call(self: &Arc<Self>) -> Call {
        let lent = self.clone();
        Call { state: Some(lent.clone()), history: Some(lent.clone()), models: Some(lent), ..call() }
    }

    pub(crate) fn bytes(&self, scope: PluginStateScope, key: &str) -> Vec<u8> {
        self.values.lock().unwrap()[&state_key(scope, key)].value.clone()
    }

    pub(crate) fn value(&self, scope: PluginStateScope, key: &str) -> String {
        let entry = self.values.lock().unwrap()[&state_key(scope, key)].clone();
        String::from_utf8(entry.value).unwrap()
    }
}

fn state_key(scope: PluginStateScope, key: &str) -> (String, String) {
    (format!("{scope:?}"), key.to_owned())
}

#[async_trait]
impl State for InMemoryCapabilities {
    async fn get(&self, scope: PluginStateScope, key: &str) -> Result<Option<StateEntry>, Failure> {
        Ok(self.values.lock().unwrap().get(&state_key(scope, key)).cloned())
    }

    async fn set(
        &self,
        scope: PluginStateScope,
        key: &str,
        value: Vec<u8>,
        if_version: Option<u64>,
        _: Option<Duration>,
    ) -> Result<u64, Failure> {
        let mut values = self.values.lock().unwrap();
        let version = values.get(&state_key(scope, key)).map_or(0, |entry| entry.version);
        if if_version.is_some_and(|wanted| wanted != version) {
            return Err(Failure::new("conflict", "another version"));
        }
        values.insert(state_key(scope, key), StateEntry { value, version: version + 1 });
        Ok(version + 1)
    }

    async fn delete(&self, scope: PluginStateScope, key: &str, _: Option<u64>) -> Result<(), Failure> {
        self.values.lock().unwrap().remove(&state_key(scope, key));
        Ok(())
    }

    async fn add(&self, scope: PluginStateScope, key: &str, amount: i64) -> Result<i64, Failure> {
        let held = self
            .get(scope, key)
            .await?
            .map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse::<i64>().unwrap());
        self.set(scope, key, (held + amount).to_string().into_bytes(), None, None).await?;
        Ok(held + amount)
    }

    async fn list(
        &self,
        scope: PluginStateScope,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, Failure> {
        let values = self.values.lock().unwrap();
        let (scope, _) = state_key(scope, "");
        let keys = values.keys().filter(|(of, _)| *of == scope).map(|(_, key)| key.clone());
        let wanted =
            keys.filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        Ok(wanted.take(limit as usize).collect())
    }
}

#[async_trait]
impl History for InMemoryCapabilities {
    async fn page(&self, before: Option<&str>, limit: u32) -> Result<Vec<Message>, Failure> {
        let earlier = self.earlier.iter().take_while(|message| message.id.as_deref() != before);
        let earlier: Vec<_> = earlier.cloned().collect();
        let skipped = earlier.len().saturating_sub(limit as usize);
        Ok(earlier.into_iter().skip(skipped).collect())
    }
}

#[async_trait]
impl Models for InMemoryCapabilities {
    fn weight(&self) -> u32 {
        1
    }

    async fn ask(&self, prompt: Prompt, _: NestedCall) -> Result<Reply, Failure> {
        self.asked.lock().unwrap().extend(prompt.messages.iter().map(text_of));
        let message = message_with_id("reply", "assistant", "sailing");
        let finish = Finish { reason: "stop".into(), metadata: Vec::new() };
        Ok(Reply { message, usage: usage(1, 1), finish, metadata: Vec::new() })
    }
}

/// The texts of a message, joined.
pub(crate) fn text_of(message: &Message) -> String {
    let texts = message.parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(&**text),
        _ => None,
    });
    texts.collect()
}

pub(crate) fn message_with_id(id: &str, role: &str, text: &str) -> Message {
    let mut message = prompt(text).messages.remove(0);
    (message.id, message.role) = (Some(id.into()), role.into());
    message
}

pub(crate) fn usage(input_tokens: u64, output_tokens: u64) -> Usage {
    Usage { input_tokens, output_tokens, ..Usage::default() }
}
