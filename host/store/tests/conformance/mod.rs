//! What every store must do, as tests over the traits alone. A room's test crate says how to open an empty store
//! (`crate::open`) and takes this module in; the sentences are the same for all.
//!
//! Times that must have passed are set in the past (a lease of zero), so that nothing waits for a clock.

mod concurrency;
mod conversations;
mod idempotency;
pub(crate) mod identity;
mod jobs;
mod leases;
mod spending;
mod state;
mod turns;

pub(crate) use std::sync::Arc;
pub(crate) use std::time::Duration;

// Tests speak of little else, so they need not name it again.
pub(crate) use masque_store::*;
use serde_json::json;
pub(crate) use uuid::Uuid;

/// A lease that does not end during a test.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// A lease or a time to live that is over when it begins.
pub(crate) const OVER: Duration = Duration::ZERO;

pub(crate) fn owner(subject: &str) -> Owner {
    Owner { tenant: "default".into(), issuer: "local".into(), subject: subject.into() }
}

pub(crate) fn ada() -> Owner {
    owner("ada")
}

pub(crate) fn host() -> Uuid {
    Uuid::from_u128(1)
}

pub(crate) fn said(content: &str) -> NewMessage {
    NewMessage { id: MessageId::new(), content: content.into(), metadata: json!({ "of": content }) }
}

/// An admission of Ada's with no key and a long lease.
pub(crate) fn admission(target: Target, content: &str) -> Admission {
    Admission {
        owner: ada(),
        host: host(),
        lease: LONG,
        turn: TurnId::new(),
        target,
        companion: None,
        companions: Arc::new(["elara".to_owned()].into()),
        message: said(content),
        idempotency: None,
        resume: true,
        tail: TailLimit { messages: 64, bytes: 65536 },
    }
}

pub(crate) fn new_conversation() -> Target {
    Target::New { id: ConversationId::new(), companion: "elara".into(), title: "A title".into() }
}

pub(crate) fn key(key: &str) -> Option<Idempotency> {
    Some(Idempotency { route: "/chat".into(), key: key.into(), digest: vec![7], ttl: LONG })
}

/// Admits and waits for the disk.
pub(crate) async fn admit(store: &Arc<dyn Store>, admission: Admission) -> Outcome {
    let admitted = store.admit(admission).await.unwrap();
    admitted.durable.wait().await.unwrap();
    admitted.outcome
}

/// Admits what must start.
pub(crate) async fn start(store: &Arc<dyn Store>, admission: Admission) -> Started {
    match admit(store, admission).await {
        Outcome::Started(started) => started,
        other => panic!("did not start: {other:?}"),
    }
}

/// What [`Commit`] needs to end a turn of Ada's.
pub(crate) fn reply(started: &Started, content: &str) -> Commit {
    Commit {
        owner: ada(),
        conversation: started.conversation,
        turn: started.turn,
        epoch: started.epoch,
        reply: said(content),
        finish: "stop".into(),
        usage: UsageRecord { input_tokens: 11, output_tokens: 5, cached_tokens: 3 },
        response: json!({ "reply": content }),
        jobs: Vec::new(),
        charge: Charge::default(),
    }
}

pub(crate) fn interruption(started: &Started, content: Option<&str>) -> Interruption {
    Interruption {
        owner: ada(),
        conversation: started.conversation,
        turn: started.turn,
        epoch: started.epoch,
        reply: content.map(said),
        usage: UsageRecord::default(),
        jobs: Vec::new(),
        charge: Charge::default(),
    }
}

pub(crate) fn failure(started: &Started) -> Failed {
    Failed {
        owner: ada(),
        conversation: started.conversation,
        turn: started.turn,
        epoch: started.epoch,
        problem: json!({ "type": "upstream" }),
    }
}

/// Ends a turn that must be there to end.
pub(crate) fn kept(ending: Result<Ending, StoreError>) -> Option<MessageRecord> {
    match ending.unwrap() {
        Ending::Done { reply } => reply,
        Ending::LeaseLost => panic!("the lease was lost"),
    }
}

/// A whole exchange; the turn as it started.
pub(crate) async fn exchange(
    store: &Arc<dyn Store>,
    target: Target,
    question: &str,
    answer: &str,
) -> Started {
    let started = start(store, admission(target, question)).await;
    kept(store.commit(reply(&started, answer)).await);
    started
}

/// An empty conversation of Ada's.
pub(crate) async fn empty(store: &Arc<dyn Store>) -> ConversationId {
    let new =
        NewConversation { id: ConversationId::new(), companion: "elara".into(), title: None, greeting: None };
    store.create(&ada(), new).await.unwrap().id
}

pub(crate) fn job(plugin: &str) -> NewJob {
    NewJob {
        id: JobId::new(),
        plugin: plugin.into(),
        ability: Ability::Observe,
        payload: format!("for {plugin}"),
    }
}

/// All messages of a conversation of Ada's.
pub(crate) async fn transcript(store: &Arc<dyn Store>, id: ConversationId) -> Vec<MessageRecord> {
    let page = Page { limit: 1000, after: None };
    store.messages(&ada(), id, page).await.unwrap().expect("the conversation is there").items
}

/// Sequence, role, status and content of each: what a reader of the conversation sees.
pub(crate) fn seen(messages: &[MessageRecord]) -> Vec<(i64, &str, &str, &str)> {
    messages
        .iter()
        .map(|message| {
            (message.sequence, message.role.as_str(), message.status.as_str(), message.content.as_str())
        })
        .collect()
}

pub(crate) fn contents(messages: &[MessageRecord]) -> Vec<&str> {
    messages.iter().map(|message| message.content.as_str()).collect()
}
