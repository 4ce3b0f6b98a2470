//! Fixtures of the suite: owners, admissions, ends of turns. Times that must have passed are set in the
//! past (a lease of zero), so that nothing waits for a clock.

pub use std::sync::Arc;
pub use std::time::Duration;

use serde_json::json;
pub use uuid::Uuid;

pub use crate::*;

/// A lease that does not end during a test.
pub const LONG: Duration = Duration::from_secs(3600);

/// A lease or a time to live that is over when it begins.
pub const OVER: Duration = Duration::ZERO;

pub fn owner(subject: &str) -> Owner {
    Owner { tenant: "default".into(), issuer: "local".into(), subject: subject.into() }
}

pub fn ada() -> Owner {
    owner("ada")
}

pub fn host() -> Uuid {
    Uuid::from_u128(1)
}

pub fn other_host() -> Uuid {
    Uuid::from_u128(2)
}

pub fn said(content: &str) -> NewMessage {
    NewMessage { id: MessageId::new(), content: content.into(), metadata: json!({ "of": content }) }
}

/// An admission of Ada's with no key and a long lease.
pub fn admission(target: Target, content: &str) -> Admission {
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
        waiting: None,
    }
}

pub fn new_conversation() -> Target {
    Target::New { id: ConversationId::new(), companion: "elara".into(), title: "A title".into() }
}

pub fn key(key: &str) -> Option<Idempotency> {
    Some(Idempotency { route: "/chat".into(), key: key.into(), digest: vec![7], ttl: LONG })
}

/// Lets the lease of a turn of [`host`] expire.
pub async fn expire(store: &Arc<dyn Store>, started: &Started) {
    let heartbeat = store.heartbeat(host(), &[started.turn], OVER).await.unwrap();
    assert_eq!(heartbeat.held, [started.turn]);
}

/// Lets a host say that it is gone.
pub async fn leave(store: &Arc<dyn Store>, host: Uuid) {
    store.heartbeat(host, &[], OVER).await.unwrap();
}

/// Admits and waits for the disk.
pub async fn admit(store: &Arc<dyn Store>, admission: Admission) -> AdmissionOutcome {
    let admitted = store.admit(admission).await.unwrap();
    admitted.durable.wait().await.unwrap();
    admitted.outcome
}

/// Admits what must start.
pub async fn start(store: &Arc<dyn Store>, admission: Admission) -> Started {
    match admit(store, admission).await {
        AdmissionOutcome::Started(started) => started,
        other => panic!("did not start: {other:?}"),
    }
}

/// What [`Commit`] needs to end a turn of Ada's.
pub fn reply(started: &Started, content: &str) -> Commit {
    Commit {
        owner: ada(),
        conversation: started.conversation,
        turn: started.turn,
        epoch: started.epoch,
        reply: said(content),
        finish: "stop".into(),
        usage: UsageRecord { input_tokens: 11, output_tokens: 5, cached_tokens: 3, estimated: false },
        response: json!({ "reply": content }),
        jobs: Vec::new(),
    }
}

pub fn interruption(started: &Started, content: Option<&str>) -> Interruption {
    Interruption {
        owner: ada(),
        conversation: started.conversation,
        turn: started.turn,
        epoch: started.epoch,
        reply: content.map(said),
        usage: UsageRecord::default(),
        jobs: Vec::new(),
    }
}

pub fn failure(started: &Started) -> Failed {
    Failed {
        owner: ada(),
        conversation: started.conversation,
        turn: started.turn,
        epoch: started.epoch,
        problem: json!({ "type": "upstream" }),
    }
}

/// Ends a turn that must be there to end.
pub fn kept(ending: Result<Ending, StoreError>) -> Option<MessageRecord> {
    match ending.unwrap() {
        Ending::Done { reply, .. } => reply,
        Ending::LeaseLost => panic!("the lease was lost"),
    }
}

/// The turn that waits first after a turn has ended.
pub fn next(ending: Result<Ending, StoreError>) -> Option<Waiter> {
    match ending.unwrap() {
        Ending::Done { next, .. } => next,
        Ending::LeaseLost => panic!("the lease was lost"),
    }
}

/// A whole exchange; the turn as it started.
pub async fn exchange(store: &Arc<dyn Store>, target: Target, question: &str, answer: &str) -> Started {
    let started = start(store, admission(target, question)).await;
    kept(store.commit(reply(&started, answer)).await);
    started
}

/// An empty conversation of Ada's.
pub async fn empty(store: &Arc<dyn Store>) -> ConversationId {
    let new =
        NewConversation { id: ConversationId::new(), companion: "elara".into(), title: None, greeting: None };
    store.create(&ada(), new).await.unwrap().id
}

pub fn job(plugin: &str) -> NewJob {
    NewJob {
        id: JobId::new(),
        plugin: plugin.into(),
        ability: Ability::Observe,
        payload: format!("for {plugin}"),
    }
}

/// Stores an exchange of Ada's with one job of the plugin `window`.
pub async fn enqueue_job(store: &Arc<dyn Store>) -> JobId {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    let job = job("window");
    let id = job.id;
    kept(store.commit(Commit { jobs: vec![job], ..reply(&started, "Hi") }).await);
    id
}

/// Takes one job, if one is due.
pub async fn take_job(store: &Arc<dyn Store>) -> Option<JobRecord> {
    store.take(host(), LONG, JobLimits::total(1), None).await.unwrap().jobs.pop()
}

/// How long until a job can be taken.
pub async fn next_due(store: &Arc<dyn Store>) -> Option<Duration> {
    store.take(host(), LONG, JobLimits::total(0), None).await.unwrap().next_due
}

/// All messages of a conversation of Ada's.
pub async fn transcript(store: &Arc<dyn Store>, id: ConversationId) -> Vec<MessageRecord> {
    let page = Page { limit: 1000, after: None };
    store.messages(&ada(), id, page).await.unwrap().expect("the conversation is there").items
}

/// Sequence, role, status and content of each: what a reader of the conversation sees.
pub fn seen(messages: &[MessageRecord]) -> Vec<(i64, &str, &str, &str)> {
    messages
        .iter()
        .map(|message| {
            (message.sequence, message.role.as_str(), message.status.as_str(), message.content.as_str())
        })
        .collect()
}

pub fn contents(messages: &[MessageRecord]) -> Vec<&str> {
    messages.iter().map(|message| message.content.as_str()).collect()
}

pub fn entry(action: &str) -> AuditEntry {
    AuditEntry {
        tenant: "default".into(),
        actor: "cli".into(),
        action: action.into(),
        target: Some("key:x".into()),
        outcome: AuditOutcome::Ok,
        request_id: Some("r-1".into()),
        address: Some("127.0.0.1".into()),
        detail: json!({ "scopes": ["chat"] }),
    }
}

pub fn new_key(number: u8) -> NewApiKey {
    NewApiKey {
        id: KeyId::from_bytes([number; 8]),
        tenant: "default".into(),
        name: format!("key {number}"),
        hash: KeyHash([number; 32]),
        scopes: vec!["chat".into(), "tokens:mint".into()],
        companions: Some(vec!["elara".into()]),
        requests_per_minute: Some(60),
        tokens_per_day: Some(1_000_000),
        created_by: "cli".into(),
        expires_at: None,
    }
}

/// After every erasure of a test.
pub const LATER: DebitTime = DebitTime(i64::MAX);

/// A report of the fixture's host, whose blocks have a long lease.
pub fn report(revision: u64, used: Vec<UsedTokens>, blocks: Vec<BlockRequest>) -> SpendingReport {
    SpendingReport { host: host(), revision, lease: LONG, sent_at: LATER.0, used, blocks }
}
