//! No store keeps the character U+0000 in a text, and all of them refuse it before anything is written.

use serde_json::{Value, json};

use super::fixtures::*;

fn is_refused<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::Refused(_))), "{answer:?}");
}

/// JSON values that have the character in a string or a key.
fn values() -> [Value; 3] {
    [json!({ "a": "\0" }), json!({ "a": [1, { "b": "x\0" }] }), json!({ "a\0": 1 })]
}

fn mine(key: &str) -> StateKey {
    let space =
        StateSpace { tenant: "default".into(), plugin: "window".into(), scope: StateScope::User(ada()) };
    StateKey { space, key: key.into() }
}

fn set(key: StateKey, value: Vec<u8>) -> StateWrite {
    StateWrite { key, change: StateChange::Set { value, if_version: None, ttl: None }, quota: None }
}

pub async fn a_conversation_with_the_character_zero_is_refused_and_changes_nothing(store: &Arc<dyn Store>) {
    let id = empty(store).await;
    is_refused(store.rename(&ada(), id, "a\0b".into()).await);
    let new = |title: Option<&str>, greeting| NewConversation {
        id: ConversationId::new(),
        companion: "elara".into(),
        title: title.map(str::to_owned),
        greeting,
    };
    is_refused(store.create(&ada(), new(Some("\0"), None)).await);
    is_refused(store.create(&ada(), new(None, Some(said("\0")))).await);
    is_refused(store.create(&owner("a\0da"), new(None, None)).await);

    let existing = || admission(Target::Existing(id), "Hello");
    is_refused(store.admit(admission(Target::Existing(id), "a\0b")).await);
    for metadata in values() {
        let message = NewMessage { metadata, ..said("Hello") };
        is_refused(store.admit(Admission { message, ..existing() }).await);
    }
    is_refused(store.admit(Admission { idempotency: key("a\0"), ..existing() }).await);
    let titled = Target::New { id: ConversationId::new(), companion: "elara".into(), title: "\0".into() };
    is_refused(store.admit(admission(titled, "Hello")).await);

    assert!(transcript(store, id).await.is_empty());
    assert_eq!(store.conversations(&ada(), Page { limit: 10, after: None }).await.unwrap().items.len(), 1);
    exchange(store, Target::Existing(id), "Hello", "Hi").await;
}

pub async fn an_end_of_a_turn_with_the_character_zero_is_refused_and_the_turn_can_still_end(
    store: &Arc<dyn Store>,
) {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    let commit = || reply(&started, "Hi");
    is_refused(store.commit(reply(&started, "a\0b")).await);
    is_refused(store.commit(Commit { finish: "st\0p".into(), ..commit() }).await);
    is_refused(
        store
            .commit(Commit { jobs: vec![NewJob { payload: "\0".into(), ..job("window") }], ..commit() })
            .await,
    );
    for value in values() {
        is_refused(store.commit(Commit { response: value.clone(), ..commit() }).await);
        let message = NewMessage { metadata: value.clone(), ..said("Hi") };
        is_refused(
            store.interrupt(Interruption { reply: Some(message), ..interruption(&started, None) }).await,
        );
        is_refused(store.fail(Failed { problem: value, ..failure(&started) }).await);
    }
    assert_eq!(transcript(store, started.conversation).await.len(), 1);
    assert_eq!(store.counts().await.unwrap(), JobCounts::default());
    kept(store.commit(commit()).await);
}

pub async fn an_error_of_a_job_with_the_character_zero_is_refused(store: &Arc<dyn Store>) {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    // The words for the character are not the character.
    let named = NewJob { payload: r#"{"text":"a\u0000b"}"#.into(), ..job("window") };
    kept(store.commit(Commit { jobs: vec![named.clone()], ..reply(&started, "Hi") }).await);
    let job = store.take(host(), LONG, JobLimits::total(1), None).await.unwrap().jobs.remove(0);
    assert_eq!(job.payload, named.payload);
    is_refused(store.retry(job.id, job.epoch, OVER, "a\0b").await);
    is_refused(store.park(job.id, job.epoch, "a\0b").await);
    assert_eq!(store.counts().await.unwrap().running, 1);
    store.park(job.id, job.epoch, "ab").await.unwrap();
}

pub async fn a_key_of_state_has_no_character_zero_and_a_value_may_have_any_bytes(store: &Arc<dyn Store>) {
    is_refused(store.state_write(None, vec![set(mine("k"), vec![1]), set(mine("a\0b"), vec![1])]).await);
    assert_eq!(store.state_get(&mine("k")).await.unwrap(), None, "none of several writes is applied");
    let bytes = vec![0, b'a', 0, 0xed, 0xa0, 0x80, 0xff];
    store.state_write(None, vec![set(mine("k"), bytes.clone())]).await.unwrap().unwrap();
    assert_eq!(store.state_get(&mine("k")).await.unwrap().map(|found| found.value), Some(bytes));
}

pub async fn keys_revocations_entries_and_accounts_have_no_character_zero(store: &Arc<dyn Store>) {
    let version = store.security_version().await.unwrap();
    is_refused(store.create_key(NewApiKey { name: "a\0".into(), ..new_key(1) }, entry("key.create")).await);
    let companions = Some(vec!["ela\0ra".to_owned()]);
    is_refused(store.create_key(NewApiKey { companions, ..new_key(1) }, entry("key.create")).await);
    let what = Revoked::User { subject: "a\0da".into(), tenant: None };
    let revocation = NewRevocation { issuer: "masque".into(), what };
    is_refused(store.revoke(revocation, entry("token.revoke")).await);
    for detail in values() {
        is_refused(store.record(AuditEntry { detail, ..entry("key.create") }).await);
    }
    let in_target = AuditEntry { target: Some("key:\0".into()), ..entry("key.create") };
    is_refused(store.create_key(new_key(1), in_target).await);
    let account = || "key:\0".to_owned();
    let (day, debited_at) = (SpendingDay(1), LATER);
    let used = UsedTokens { account: account(), day, debited_at, input_tokens: 1, output_tokens: 1 };
    is_refused(store.report_spending(report(1, vec![used], Vec::new())).await);
    let block = BlockRequest::Hold { account: account(), budget: 1, wanted: 1 };
    is_refused(store.report_spending(report(1, Vec::new(), vec![block])).await);
    let budgets = Budgets::new(Arc::clone(store) as Arc<dyn Spending>, host(), LONG);
    is_refused(budgets.debit(&[BudgetAccount { name: account(), tokens_per_day: None }], 1, 1).await);

    assert_eq!(store.security_version().await.unwrap(), version);
    assert!(store.audit(Page { limit: 10, after: None }).await.unwrap().items.is_empty());
}

pub async fn a_question_with_the_character_zero_finds_nothing(store: &Arc<dyn Store>) {
    let started = exchange(store, new_conversation(), "Hello", "Hi").await;
    store.state_write(None, vec![set(mine("k"), vec![1])]).await.unwrap().unwrap();
    assert_eq!(store.state_get(&mine("\0")).await.unwrap(), None);
    assert!(store.state_list(&mine("k").space, "\0", None, 10).await.unwrap().is_empty());
    assert_eq!(store.turn(&owner("ada\0"), started.turn).await.unwrap(), None);
    assert_eq!(store.keyed(&ada(), "/chat", "\0").await.unwrap(), None);
    assert!(!store.delete(&owner("ada\0"), started.conversation).await.unwrap());
}
