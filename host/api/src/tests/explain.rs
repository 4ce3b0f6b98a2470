//! Explanations of turns over a real store: who sees what of a record, and what of it is deleted.

use masque_store::{Conversations as _, MessageId, RECORD_FORMAT, RecordedTurn, TurnId};
use serde_json::{Value, json};

use super::explain_setup::{
    ANSWER, QUESTION, api, begin, digest, exchange, explain, keep, owner, record, recorded,
};

#[tokio::test]
async fn the_user_of_a_turn_sees_own_messages_memories_counts_and_times() {
    let api = api().await;
    let turn = recorded(&api).await.turn;
    let answer = explain(&api, "ana chat", turn).await;
    assert_eq!(
        (answer.status.as_u16(), answer.headers["cache-control"].to_str().unwrap()),
        (200, "no-store")
    );
    let seen = answer.json();
    assert_eq!((&seen["shows_content"], &seen["recorded"]), (&json!(false), &json!("full")));
    assert_eq!((&seen["message"]["text"], &seen["reply"]["text"]), (&json!(QUESTION), &json!(ANSWER)));
    let memory = &seen["recalled"]["memories"][0];
    assert_eq!(
        (&memory["text"], &memory["score"], &memory["source"]),
        (&json!("likes green tea"), &json!(0.75), &json!("diary"))
    );
    assert_eq!(seen["recalled"]["budget_tokens"], 2048);
    let sources = json!([
        { "source": "card.scenario", "count": 1, "tokens": 40 },
        { "source": "conversation", "count": 2, "tokens": 11 },
        { "source": "tools", "count": 1, "tokens": 2 },
    ]);
    assert_eq!(seen["prompt"]["sources"], sources);
    assert_eq!(seen["prompt"]["messages"][2]["text"], QUESTION);
    let step = &seen["steps"][0];
    assert_eq!((&step["wall_ms"], &step["cpu_ms"]), (&json!(2.25), &json!(0.9)));
    assert_eq!((&step["plugin"], &step["digest"]), (&json!("diary"), &json!("sha256:component")));
    assert_eq!(step["host_calls"][0]["operation"], "get");
    assert_eq!((&seen["timing"]["total_ms"], &seen["usage"]["input_tokens"]), (&json!(9.0), &json!(53)));
}

#[tokio::test]
async fn without_the_scope_nothing_of_others_is_shown_and_nothing_is_audited() {
    let api = api().await;
    let turn = recorded(&api).await.turn;
    let seen = explain(&api, "ana chat", turn).await.json();
    let text = seen.to_string();
    for hidden in
        ["planted", "sha256:settings", "sha256:tool", &digest("planted-scenario"), "temperature", "cpu_us"]
    {
        assert!(!text.contains(hidden), "{hidden} is in {text}");
    }
    for (pointer, absent) in [
        ("/host", Value::Null),
        ("/generation", Value::Null),
        ("/steps/0/grants", Value::Null),
        ("/steps/0/limits", Value::Null),
        ("/steps/0/host_calls/0/detail", Value::Null),
        ("/prompt/options", Value::Null),
        ("/prompt/messages/0/parts", json!([])),
    ] {
        assert_eq!(seen.pointer(pointer), Some(&absent), "{pointer}");
    }
    assert_eq!(api.recorded().await, []);
}

#[tokio::test]
async fn with_the_scope_prompts_and_values_of_any_user_are_shown_after_an_audit_entry() {
    let api = api().await;
    let turn = recorded(&api).await.turn;
    let seen = explain(&api, "operator content:read", turn).await.json();
    let prompt = &seen["prompt"];
    assert_eq!(prompt["messages"][0]["parts"][0]["text"], "planted-scenario");
    assert_eq!(
        (&prompt["tools"][0]["name"], &prompt["options"]["temperature"]),
        (&json!("planted-tool"), &json!(0.5))
    );
    assert_eq!((&seen["host"], &seen["generation"]), (&json!("planted-host"), &json!(7)));
    assert_eq!(seen["steps"][0]["host_calls"][0]["detail"], json!({ "key": "planted-value" }));
    assert_eq!(
        (&seen["steps"][0]["settings_digest"], &seen["steps"][0]["grants"]),
        (&json!("sha256:settings"), &json!(["state"]))
    );
    let nested = &seen["steps"][3];
    assert_eq!((&nested["asked_by"], &nested["prompt"]["tokens"]), (&json!("diary"), &json!(53)));
    let entries = api.recorded().await;
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].action.as_str(), entries[0].actor.as_str()),
        ("turn.explained", "user:masque|operator")
    );
    assert!(entries[0].target.as_deref().unwrap().starts_with("user:"), "{entries:?}");
    assert!(!format!("{entries:?}").contains("ana"), "{entries:?}");
    assert_eq!(entries[0].detail, json!({ "turn": turn }));
}

#[tokio::test]
async fn an_access_of_ones_own_with_the_scope_is_audited_without_a_name() {
    let api = api().await;
    let turn = recorded(&api).await.turn;
    assert_eq!(explain(&api, "ana chat content:read", turn).await.json()["shows_content"], true);
    let entries = api.recorded().await;
    assert_eq!(entries[0].target.as_ref(), Some(&entries[0].actor));
    assert!(!format!("{entries:?}").contains("ana"), "{entries:?}");
}

#[tokio::test]
async fn a_turn_of_another_user_is_unknown_without_the_scope() {
    let api = api().await;
    let (with, without) = (recorded(&api).await.turn, exchange(&api).await.turn);
    for turn in [with, without, TurnId::new()] {
        assert_eq!(explain(&api, "ben chat", turn).await.problem(), "turn-not-found");
        let refused = explain(&api, "ana admin:read admin:write", turn).await;
        assert_eq!(refused.problem(), "insufficient-scope", "no other scope contains it");
    }
    // Nor does the scope tell turns without a record from those that never were.
    let [one, other] = [without, TurnId::new()].map(|turn| explain(&api, "operator content:read", turn));
    let (one, other) = (one.await, other.await);
    assert_eq!(
        (one.problem().as_str(), one.json()["detail"].clone()),
        ("turn-not-found", other.json()["detail"].clone())
    );
    assert_eq!(api.recorded().await, []);
}

#[tokio::test]
async fn the_user_of_a_turn_without_a_record_is_told_why() {
    let api = api().await;
    let running = begin(&api).await.turn;
    let ended = exchange(&api).await.turn;
    for (turn, words) in [(running, "still runs"), (ended, "ask again")] {
        let answer = explain(&api, "ana chat", turn).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (404, "explanation-not-found"));
        assert!(answer.json()["detail"].as_str().unwrap().contains(words), "{}", answer.json());
    }
}

#[tokio::test]
async fn a_message_that_is_deleted_is_shown_as_that_and_never_from_the_record() {
    let api = api().await;
    let started = recorded(&api).await;
    for caller in ["ana chat", "operator content:read"] {
        let seen = explain(&api, caller, started.turn).await.json();
        assert!(!seen.to_string().contains("planted-gone"), "{seen}");
        for pointer in [
            "/prompt/messages/1",
            "/recalled/messages/1",
            "/recalled/memories/1",
            "/steps/3/prompt/messages/1",
        ] {
            let message = seen.pointer(pointer).unwrap();
            assert_eq!((&message["deleted"], &message["text"]), (&json!(true), &Value::Null), "{pointer}");
        }
    }
    api.store.delete(&owner("ana"), started.conversation).await.unwrap();
    for caller in ["ana chat", "operator content:read"] {
        assert_eq!(explain(&api, caller, started.turn).await.problem(), "turn-not-found");
    }
}

#[tokio::test]
async fn a_memory_of_another_conversation_is_shown_until_its_message_is_deleted() {
    let api = api().await;
    let (started, other) = (exchange(&api).await, exchange(&api).await);
    // The source of a memory, and a message of the prompt.
    keep(&api, record(&started, other.message.id)).await;
    let seen = async || explain(&api, "ana chat", started.turn).await.json();
    let before = seen().await;
    let memory = &before["recalled"]["memories"][1];
    assert_eq!((&memory["deleted"], &memory["text"]), (&json!(false), &json!("planted-gone-memory")));
    assert_eq!(before["prompt"]["messages"][1]["deleted"], false);
    api.store.delete(&owner("ana"), other.conversation).await.unwrap();
    let after = seen().await;
    let memory = &after["recalled"]["memories"][1];
    assert_eq!((&memory["deleted"], &memory["text"]), (&json!(true), &Value::Null));
    assert_eq!(after["prompt"]["messages"][1]["deleted"], true);
}

#[tokio::test]
async fn a_message_that_was_not_looked_up_is_not_said_to_be_deleted_and_has_no_text() {
    let api = api().await;
    let started = exchange(&api).await;
    let mut many = record(&started, MessageId::new());
    let memory =
        |source: String| json!({ "id": "m", "source": source, "text": "planted", "bytes": 7, "tokens": 2 });
    let mut memories: Vec<_> = (0..1100).map(|_| memory(format!("message:{}", MessageId::new()))).collect();
    memories.push(memory(format!("message:{}", started.message.id)));
    many.steps[0].returned["memories"] = json!(memories);
    keep(&api, many).await;
    let seen = explain(&api, "ana chat", started.turn).await.json();
    let shown = |index: usize| {
        let memory = &seen["recalled"]["memories"][index];
        (memory["deleted"].clone(), memory["not_looked_up"].clone(), memory["text"].clone())
    };
    assert_eq!(shown(0), (json!(true), json!(false), Value::Null));
    assert_eq!(shown(1099), (json!(false), json!(true), Value::Null));
    assert_eq!(shown(1100), (json!(false), json!(false), json!("planted")), "it is the turn's own");
}

#[tokio::test]
async fn a_message_that_a_plugin_changed_is_not_shown_as_the_users() {
    let api = api().await;
    let started = exchange(&api).await;
    let mut changed = record(&started, MessageId::new());
    let message = changed.steps[1].returned.pointer_mut("/prompt/messages/2").unwrap();
    message["digest"] = json!(digest("planted-change"));
    message["parts"][0]["text"] = json!("planted-change");
    keep(&api, changed).await;
    let own = explain(&api, "ana chat", started.turn).await.json();
    assert_eq!(own["prompt"]["messages"][2]["text"], Value::Null);
    assert!(!own.to_string().contains("planted-change"), "{own}");
    let all = explain(&api, "operator content:read", started.turn).await.json();
    assert_eq!(all["prompt"]["messages"][2]["parts"][0]["text"], "planted-change");
}

#[tokio::test]
async fn a_record_of_digests_is_explained_without_texts_but_those_of_the_conversation() {
    let api = api().await;
    let started = exchange(&api).await;
    let digests = without_texts(serde_json::to_value(record(&started, MessageId::new())).unwrap());
    let digests = RecordedTurn { content: "digests".into(), ..serde_json::from_value(digests).unwrap() };
    keep(&api, digests).await;
    let seen = explain(&api, "operator content:read", started.turn).await.json();
    assert_eq!((&seen["recorded"], &seen["message"]["text"]), (&json!("digests"), &json!(QUESTION)));
    assert_eq!(seen["reply"]["text"], ANSWER);
    assert_eq!(seen["recalled"]["memories"][0]["text"], Value::Null);
    assert_eq!(seen["prompt"]["messages"][0]["parts"][0]["text"], Value::Null);
    assert_eq!(seen["prompt"]["messages"][0]["digest"], digest("planted-scenario"));
}

/// The value without each member `text`.
fn without_texts(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(name, _)| name != "text");
            Value::Object(kept.map(|(name, value)| (name, without_texts(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(without_texts).collect(),
        other => other,
    }
}

#[tokio::test]
async fn a_record_of_a_later_format_is_named_as_such_and_not_read() {
    let api = api().await;
    let started = exchange(&api).await;
    keep(&api, RecordedTurn { format: RECORD_FORMAT + 1, ..record(&started, MessageId::new()) }).await;
    for caller in ["ana chat", "operator content:read"] {
        let answer = explain(&api, caller, started.turn).await;
        assert_eq!(answer.problem(), "explanation-not-found");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("format 2") && detail.contains("up to 1"), "{detail}");
    }
}
