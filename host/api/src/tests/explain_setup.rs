//! Turns with records that have planted texts, and callers with scopes of the test's choice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Method;
use http::request::Parts;
use masque_auth::{Actor, Authenticator, DEFAULT_TENANT, Principal, Scopes};
use masque_problem::Problem;
use masque_store::{
    Admission, AdmissionOutcome, Commit, ConversationId, MessageId, NewMessage, OwnedTurnRecord, Owner,
    RECORD_FORMAT, RecordedHostCall, RecordedStep, RecordedTurn, Started, TailLimit, Target, TurnId,
    TurnRecords as _, Turns as _, UsageRecord, UserProfile,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::setup::{Answer, Api, request};

pub(super) const QUESTION: &str = "What did I tell you about tea?";
pub(super) const ANSWER: &str = "That you like it green.";

/// Takes the user and the scopes from the header: `authorization: ana chat content:read`.
struct ByHeader;

#[async_trait::async_trait]
impl Authenticator for ByHeader {
    async fn authenticate(&self, request: &Parts) -> Result<Principal, Problem> {
        let said = request.headers["authorization"].to_str().unwrap();
        let (user, scopes) = said.split_once(' ').unwrap_or((said, ""));
        Ok(Principal {
            owner: owner(user),
            actor: Actor::Token,
            scopes: Scopes::from_words(scopes.split(' ')),
            key: None,
            profile: UserProfile::default(),
        })
    }

    fn lets_everyone_in(&self) -> bool {
        false
    }
}

pub(super) fn owner(user: &str) -> Owner {
    Owner { tenant: DEFAULT_TENANT.into(), issuer: "masque".into(), subject: user.into() }
}

pub(super) async fn api() -> Api {
    Api::with(Arc::new(ByHeader), |_| {}).await
}

pub(super) async fn explain(api: &Api, caller: &str, turn: TurnId) -> Answer {
    let request = request(Method::GET, &format!("/turns/{turn}/explain")).header("authorization", caller);
    api.send(request.body(Body::empty()).unwrap()).await
}

fn said(text: &str) -> NewMessage {
    NewMessage { id: MessageId::new(), content: text.into(), metadata: json!({}) }
}

/// A completed turn of Ana's, without a record.
pub(super) async fn exchange(api: &Api) -> Started {
    let started = begin(api).await;
    let commit = Commit {
        owner: owner("ana"),
        conversation: started.conversation,
        turn: started.turn,
        epoch: started.epoch,
        reply: said(ANSWER),
        finish: "stop".into(),
        usage: UsageRecord::default(),
        response: json!({}),
        jobs: Vec::new(),
    };
    api.store.commit(commit).await.unwrap();
    started
}

pub(super) async fn begin(api: &Api) -> Started {
    let target = Target::New { id: ConversationId::new(), companion: "elara".into(), title: "Tea".into() };
    let admission = Admission {
        owner: owner("ana"),
        host: Uuid::from_u128(7),
        lease: Duration::from_secs(60),
        turn: TurnId::new(),
        target,
        companion: None,
        companions: Arc::new(BTreeSet::from(["elara".to_owned()])),
        message: said(QUESTION),
        idempotency: None,
        resume: true,
        tail: TailLimit { messages: 64, bytes: 65536 },
        waiting: None,
    };
    let admitted = api.store.admit(admission).await.unwrap();
    admitted.durable.wait().await.unwrap();
    match admitted.outcome {
        AdmissionOutcome::Started(started) => started,
        other => panic!("did not start: {other:?}"),
    }
}

pub(super) fn digest(text: &str) -> String {
    format!("sha256:{:x}", Sha256::digest(text))
}

fn stored(id: &str, text: &str) -> Value {
    json!({ "id": id, "role": "user", "digest": digest(text), "bytes": text.len(), "tokens": 8 })
}

fn step(function: &str, kind: &str, plugin: &str, received: Value, returned: Value) -> RecordedStep {
    RecordedStep {
        function: function.into(),
        kind: kind.into(),
        plugin: plugin.into(),
        version: "1.0.0".into(),
        digest: "sha256:component".into(),
        settings_digest: "sha256:settings".into(),
        grants: vec!["state".into()],
        started_us: 1_500,
        duration_us: 2_250,
        instantiation_us: 100,
        cpu_us: 900,
        peak_memory_bytes: 1 << 20,
        limits: json!({ "cpu_us": 100_000 }),
        outcome: "ok".into(),
        received,
        returned,
        host_calls: vec![RecordedHostCall {
            interface: "state".into(),
            operation: "get".into(),
            started_us: 1,
            duration_us: 20,
            outcome: "ok".into(),
            detail: json!({ "key": "planted-value" }),
        }],
        host_calls_dropped: 0,
    }
}

/// A full record. `forgotten` is the id of a message that the conversation does not have.
pub(super) fn record(started: &Started, forgotten: MessageId) -> RecordedTurn {
    let question = stored(&started.message.id.to_string(), QUESTION);
    let gone = json!({
        "id": forgotten, "role": "user", "digest": digest("planted-gone"), "bytes": 12, "tokens": 3,
        "parts": [{ "type": "text", "bytes": 12, "tokens": 3, "text": "planted-gone" }],
    });
    let scenario = json!({
        "role": "system", "source": "card.scenario", "digest": digest("planted-scenario"), "bytes": 16, "tokens": 40,
        "cache": true, "parts": [{ "type": "text", "bytes": 16, "tokens": 40, "text": "planted-scenario" }],
    });
    let mut asked = question.clone();
    asked["parts"] = json!([{ "type": "text", "bytes": 30, "tokens": 8, "text": QUESTION }]);
    let prompt = json!({
        "messages": [scenario, gone, asked],
        "tools": [{ "name": "planted-tool", "digest": "sha256:tool", "bytes": 9, "tokens": 2, "text": "planted-tool" }],
        "options": { "temperature": 0.5 },
        "tokens": 53,
    });
    let memory = |id: &str, source: String, text: &str| json!({ "id": id, "source": source, "score": 0.75, "digest": digest(text), "bytes": 9, "tokens": 3, "text": text });
    let recollection = json!({
        "messages": [question.clone(), { "id": forgotten, "role": "user", "digest": digest("planted-gone"), "tokens": 3, "bytes": 12 }],
        "memories": [
            memory("m1", "diary".into(), "likes green tea"),
            memory("m2", format!("message:{forgotten}"), "planted-gone-memory"),
        ],
        "tokens": 14,
    });
    let reply = json!({ "digest": digest(ANSWER), "bytes": ANSWER.len(), "tokens": 6, "text": ANSWER });
    let usage = json!({ "input_tokens": 53, "output_tokens": 6, "cached_tokens": 40, "estimated": false });
    RecordedTurn {
        format: RECORD_FORMAT,
        turn_id: started.turn,
        attempt: started.attempt,
        conversation_id: started.conversation,
        companion: "elara".into(),
        generation: 7,
        host: "planted-host".into(),
        request_id: "r-1".into(),
        trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        started_at: 1_764_000_000_123,
        content: "full".into(),
        outcome: "completed".into(),
        problem: None,
        timing: json!({ "first_content_ms": 5.5, "total_ms": 9.0, "host_ms": 1.0, "weather": "fine" }),
        usage: usage.clone(),
        message: question,
        steps: vec![
            step("recall", "memory", "diary", json!({ "budget_tokens": 2048 }), recollection),
            step("compose", "persona", "elara", json!({}), json!({ "prompt": prompt.clone() })),
            step(
                "generate",
                "model",
                "offline",
                json!({ "prompt": {} }),
                json!({ "finish": "stop", "usage": usage, "reply": reply }),
            ),
            step(
                "generate",
                "model",
                "offline",
                json!({ "asked_by": "diary", "prompt": prompt }),
                json!({ "reply": { "bytes": 1, "tokens": 1 } }),
            ),
        ],
        truncated: false,
    }
}

pub(super) async fn keep(api: &Api, record: RecordedTurn) {
    let owned = OwnedTurnRecord { owner: owner("ana"), record };
    assert_eq!(api.store.store_turn_records(vec![owned.encode().unwrap()]).await.unwrap(), 1);
}

/// A turn of Ana's with a full record.
pub(super) async fn recorded(api: &Api) -> Started {
    let started = exchange(api).await;
    keep(api, record(&started, MessageId::new())).await;
    started
}
