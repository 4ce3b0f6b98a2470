//! Whole turns over the real store, the real sandbox and the components that ship; only the model's server is a script.

use std::path::Path;
use std::sync::Arc;

use masque_runtime::Sandbox;
use masque_store::{
    ConversationId, Conversations, MessageRecord, Owner, Page, Store, TurnId, TurnRecord, TurnStatus,
    Turns as _,
};
use masque_store_sqlite::SqliteStore;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{ChatRequest, Event, EventKind, EventReader, IdempotencyKey, Turns};
use crate::active::{self, Active};
use crate::builtin;
use crate::config::{self, Environment, Flags};
use crate::convert::turn_options;
use crate::problem::{Kind, Problem};

mod ending;
mod idempotency;
mod pipeline;
mod upstream;
mod waiting;

use upstream::Upstream;

/// A host without its listener, whose only model is [`Upstream`] unless a test says otherwise.
struct Stage {
    turns: Turns,
    store: Arc<SqliteStore>,
    upstream: Upstream,
    _folder: TempDir,
}

impl Stage {
    async fn new() -> Self {
        Self::with("").await
    }

    /// `more` is added to the configuration: sections other than `companions.elara` and `plugins.openai`.
    async fn with(more: &str) -> Self {
        Self::cast("[\"openai\"]", more).await
    }

    async fn cast(models: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::start().await;
        let text = format!(
            r#"
            [companions.elara]
            persona = "elara"
            memory = "window"
            models = {models}
            fallback = true

            [plugins.openai]
            source = "builtin:openai"
            settings = {{ base_url = "{origin}/v1", model = "scripted" }}
            grants = {{ http = ["{origin}"] }}
            {more}
            "#,
            origin = upstream.origin(),
        );
        let file = folder.path().join("masque.toml");
        std::fs::write(&file, text).unwrap();
        let flags = Flags { config: Some(file), data: Some(folder.path().join("data")), ..Flags::default() };
        let loaded = config::load(&flags, &Environment::default(), Path::new("")).unwrap();
        let config = loaded.config;
        let store = SqliteStore::open(&config.data.folder).await.unwrap();
        let sandbox = Sandbox::new(&active::sandbox_config(&config.sandbox)).unwrap();
        let set = active::load(&config, &sandbox, builtin::component).await.unwrap();
        let shared: Arc<dyn Store> = store.clone();
        let turns = Turns::new(shared, Arc::new(Active::new(set)), turn_options(&config), Uuid::now_v7());
        Self { turns, store, upstream, _folder: folder }
    }

    /// Sends in a task of its own: `chat` waits for the model, which is the test's to play.
    fn send(&self, request: ChatRequest) -> JoinHandle<Result<EventReader, Problem>> {
        let turns = self.turns.clone();
        tokio::spawn(async move { turns.chat(request).await })
    }

    /// A turn that is answered with `reply`.
    async fn exchange(&mut self, request: ChatRequest, reply: &str) -> Vec<Arc<Event>> {
        let sent = self.send(request);
        self.upstream.next().await.reply(reply).await;
        all(sent.await.unwrap().unwrap()).await
    }

    async fn record(&self, turn: TurnId) -> TurnRecord {
        self.store.turn(&owner(), turn).await.unwrap().unwrap()
    }

    async fn messages(&self, conversation: ConversationId) -> Vec<MessageRecord> {
        let page = Page { limit: 100, after: None };
        self.store.messages(&owner(), conversation, page).await.unwrap().unwrap().items
    }
}

fn owner() -> Owner {
    Owner { tenant: "default".into(), issuer: "local".into(), subject: "local".into() }
}

fn says(message: &str) -> ChatRequest {
    ChatRequest {
        owner: owner(),
        message: message.into(),
        companion: None,
        conversation: None,
        model: None,
        metadata: Map::new(),
        idempotency: None,
        request_id: "test".into(),
        allowed_companions: None,
        accounts: Vec::new(),
    }
}

fn says_in(conversation: ConversationId, message: &str) -> ChatRequest {
    ChatRequest { conversation: Some(conversation), ..says(message) }
}

fn keyed(key: &str, message: &str) -> ChatRequest {
    let idempotency = Some(IdempotencyKey { key: key.into(), digest: message.as_bytes().to_vec() });
    ChatRequest { idempotency, ..says(message) }
}

/// Everything the reader has to give.
async fn all(mut reader: EventReader) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    while let Some(more) = reader.next().await {
        events.extend(more);
    }
    events
}

fn created(events: &[Arc<Event>]) -> (TurnId, ConversationId) {
    match &events[0].kind {
        EventKind::Created { turn_id, conversation_id, .. } => (*turn_id, *conversation_id),
        other => panic!("the first event is {other:?}"),
    }
}

fn text(events: &[Arc<Event>]) -> String {
    let texts = events.iter().map(|event| match &event.kind {
        EventKind::Delta { text } => text.as_str(),
        _ => "",
    });
    texts.collect()
}

fn completed(events: &[Arc<Event>]) -> &Value {
    match &events.last().unwrap().kind {
        EventKind::Completed(response) => response,
        other => panic!("the last event is {other:?}"),
    }
}

fn failed(events: &[Arc<Event>]) -> &Problem {
    match &events.last().unwrap().kind {
        EventKind::Failed(problem) => problem,
        other => panic!("the last event is {other:?}"),
    }
}
