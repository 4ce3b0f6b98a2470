//! Whole turns over the real store, the real sandbox and the built-in components. Only the model's server is scripted.

use std::sync::Arc;

use masque_companions::Active;
use masque_problem::{Kind, Problem};
use masque_store::{
    ConversationId, Conversations, MessageRecord, Owner, Page, Shared, Store, TurnId, TurnRecord, TurnStatus,
    Turns as _, UserProfile,
};
use masque_store_sqlite::SqliteStore;
use masque_telemetry::trace::TraceContext;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{ChatRequest, Event, EventKind, EventReader, GreetingRequest, IdempotencyKey, Options, Turns};
use crate::test_support::{fixture, load_set, options};

mod ending;
mod hosts;
mod hosts_alone;
mod idempotency;
mod metering;
mod observed;
mod pipeline;
mod recorded;
mod repetition;
mod shared_memory;
mod upstream;
mod waiting;

use upstream::Upstream;

/// A host without a listener, whose only model is behind [`Upstream`] unless a test says otherwise.
struct TestHost {
    turns: Turns,
    store: Arc<SqliteStore>,
    active: Arc<Active>,
    upstream: Upstream,
    _folder: TempDir,
}

impl TestHost {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A host whose options are changed from the defaults.
    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        Self::start("[\"openai\"]", change).await
    }

    /// A host whose companion has these models, as a list in TOML.
    async fn with_models(models: &str) -> Self {
        Self::start(models, |_| {}).await
    }

    /// A host whose persona asks the model as well.
    async fn with_asking_persona() -> Self {
        Self::start_with("asking", "[\"openai\"]", |_| {}).await
    }

    async fn start(models: &str, change: impl FnOnce(&mut Options)) -> Self {
        Self::start_with("elara", models, change).await
    }

    async fn start_with(persona: &str, models: &str, change: impl FnOnce(&mut Options)) -> Self {
        Self::start_sharing(persona, models, change, Shared::in_process).await
    }

    /// A host with the memory that `share` gives it for its id.
    async fn start_sharing(
        persona: &str,
        models: &str,
        change: impl FnOnce(&mut Options),
        share: impl FnOnce(Uuid) -> Shared,
    ) -> Self {
        let upstream = Upstream::start().await;
        let config = configuration(persona, models, upstream.origin());
        Self::start_configured(&config, upstream, change, share).await
    }

    /// A host whose companion has this name: the values of metrics are shared by all tests of this process.
    async fn named(companion: &str, models: &str, change: impl FnOnce(&mut Options)) -> Self {
        let upstream = Upstream::start().await;
        let config = configuration("asking", models, upstream.origin())
            .replace("[companions.elara]", &format!("[companions.{companion}]"));
        Self::start_configured(&config, upstream, change, Shared::in_process).await
    }

    async fn start_configured(
        config: &str,
        upstream: Upstream,
        change: impl FnOnce(&mut Options),
        share: impl FnOnce(Uuid) -> Shared,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("data")).await.unwrap();
        let active = Arc::new(Active::new(load_set(folder.path(), config).await));
        let mut options = options();
        change(&mut options);
        let turns = start_turns(store.clone(), Arc::clone(&active), options, share);
        Self { turns, store, active, upstream, _folder: folder }
    }

    /// The turns of another host that uses the same store, plugins and model server.
    fn another(&self, share: impl FnOnce(Uuid) -> Shared) -> Turns {
        let options = self.turns.host().options.clone();
        start_turns(self.store.clone(), Arc::clone(&self.active), options, share)
    }

    /// Replaces the active set by one whose companion has this persona.
    async fn publish(&self, persona: &str) {
        let folder = tempfile::tempdir().unwrap();
        let config = configuration(persona, "[\"openai\"]", self.upstream.origin());
        let next = load_set(folder.path(), &config).await;
        self.active.publish(&self.active.current(), next, Vec::new()).unwrap();
    }

    /// Sends a request in a task of its own, since `chat` waits for the model, which the test plays.
    fn send(&self, request: ChatRequest) -> JoinHandle<Result<EventReader, Problem>> {
        send(&self.turns, request)
    }

    /// Runs a turn that the model answers with `reply`.
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

/// Turns of a host that handles its messages.
fn start_turns(
    store: Arc<dyn Store>,
    active: Arc<Active>,
    options: Options,
    share: impl FnOnce(Uuid) -> Shared,
) -> Turns {
    let id = Uuid::now_v7();
    let turns = Turns::new(store, active, options, share(id), id);
    let messages = turns.clone();
    tokio::spawn(async move { messages.follow_inbox(CancellationToken::new()).await });
    turns
}

/// Sends a request to one of several hosts, as [`TestHost::send`] does.
fn send(turns: &Turns, request: ChatRequest) -> JoinHandle<Result<EventReader, Problem>> {
    let turns = turns.clone();
    tokio::spawn(async move { turns.chat(request).await })
}

/// Resolves once `count` turns of this host wait for the conversation.
async fn until_waiting(turns: &Turns, conversation: ConversationId, count: usize) {
    while turns.host().waiters.count(conversation) != count {
        tokio::task::yield_now().await;
    }
}

/// A companion with this persona and these models, as a list in TOML, whose model server is at `origin`.
fn configuration(persona: &str, models: &str, origin: &str) -> String {
    format!(
        r#"
        [companions.elara]
        persona = "{persona}"
        memory = "window"
        models = {models}
        fallback = true

        [plugins.asking]
        source = "{asking}"
        grants = {{ models = true }}

        [plugins.openai]
        source = "builtin:openai"
        settings = {{ base_url = "{origin}/v1", model = "scripted" }}
        grants = {{ http = ["{origin}"] }}
        "#,
        asking = fixture("asks-the-model").display(),
    )
}

fn owner() -> Owner {
    Owner { tenant: "default".into(), issuer: "local".into(), subject: "local".into() }
}

/// A request for a greeting of Elara.
fn greeting(index: Option<usize>) -> GreetingRequest {
    GreetingRequest {
        owner: owner(),
        profile: UserProfile::default(),
        companion: "elara".into(),
        conversation: ConversationId::new(),
        index,
        accounts: Vec::new(),
        trace: TraceContext::root(),
    }
}

fn says(message: &str) -> ChatRequest {
    ChatRequest {
        owner: owner(),
        profile: UserProfile::default(),
        message: message.into(),
        companion: None,
        conversation: None,
        model: None,
        metadata: Map::new(),
        idempotency: None,
        request_id: "test".into(),
        trace: TraceContext::root(),
        allowed_companions: None,
        accounts: Vec::new(),
        place: None,
    }
}

fn says_in(conversation: ConversationId, message: &str) -> ChatRequest {
    ChatRequest { conversation: Some(conversation), ..says(message) }
}

fn keyed(key: &str, message: &str) -> ChatRequest {
    let idempotency = Some(IdempotencyKey { key: key.into(), digest: message.as_bytes().to_vec() });
    ChatRequest { idempotency, ..says(message) }
}

/// All events that are left to read.
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
