//! A user's data is exported whole and erased whole, and nothing is written under an erased id.

use std::collections::BTreeMap;

use super::fixtures::*;
use super::turn_records;

/// All items of an export, by section.
pub(super) async fn exported(store: &Arc<dyn Store>, owner: &Owner) -> BTreeMap<String, Vec<ExportItem>> {
    let mut sections = BTreeMap::new();
    for section in ExportSection::ALL {
        let (mut items, mut after) = (Vec::new(), None);
        loop {
            let page = store.export(owner, section, after.as_deref()).await.unwrap();
            items.extend(page.items);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        sections.insert(format!("{section:?}"), items);
    }
    sections
}

pub(super) fn counts(sections: &BTreeMap<String, Vec<ExportItem>>) -> Vec<(&str, usize)> {
    let filled = sections.iter().filter(|(_, items)| !items.is_empty());
    filled.map(|(name, items)| (name.as_str(), items.len())).collect()
}

fn space(scope: StateScope) -> StateSpace {
    StateSpace { tenant: "default".into(), plugin: "window".into(), scope }
}

fn set(scope: StateScope, key: &str) -> StateWrite {
    let key = StateKey { space: space(scope), key: key.into() };
    let change = StateChange::Set { value: b"kept".to_vec(), if_version: None, ttl: None };
    StateWrite { key, change, quota: None }
}

async fn request(store: &Arc<dyn Store>, owner: Owner) -> ErasureRequest {
    let name = store.installation().await.unwrap().erased_name(&owner);
    ErasureRequest { receipt: Uuid::now_v7(), owner, name, entry: entry("user.erase") }
}

pub(super) async fn begin(store: &Arc<dyn Store>, owner: Owner) -> Erasure {
    let request = request(store, owner).await;
    store.begin_erasure(request).await.unwrap()
}

pub(super) async fn complete(store: &Arc<dyn Store>, erasure: &Erasure) -> Erasure {
    while store.erase_some(erasure.receipt).await.unwrap() {}
    assert!(store.clear_traces().await.unwrap());
    store.finish_erasure(erasure.receipt, entry("user.erased")).await.unwrap().expect("it was not complete")
}

/// Something of every kind, of Ada: two conversations, one of them with state, a job and a key.
pub(super) async fn plant(store: &Arc<dyn Store>) -> Started {
    let keyed = Admission { idempotency: key("once"), ..admission(new_conversation(), "Hello") };
    let started = start(store, keyed).await;
    kept(store.commit(Commit { jobs: vec![job("window")], ..reply(&started, "Hi") }).await);
    exchange(store, new_conversation(), "Again", "Yes").await;
    let writes = vec![
        set(StateScope::User(ada()), "a"),
        set(StateScope::User(ada()), "b"),
        set(StateScope::Conversation(started.conversation), "c"),
    ];
    store.state_write(None, writes).await.unwrap().unwrap();
    let account = user_account(&ada());
    let now = store.report_spending(report(0, Vec::new(), Vec::new())).await.unwrap().now;
    let day = SpendingDay(now / 86_400_000);
    let used = UsedTokens { account, day, debited_at: LATER, input_tokens: 11, output_tokens: 5 };
    store.report_spending(report(1, vec![used], Vec::new())).await.unwrap();
    store.record(AuditEntry { actor: "user:local|ada".into(), ..entry("key.create") }).await.unwrap();
    assert_eq!(
        store
            .store_turn_records(vec![turn_records::record(&started, 1, 10).encode().unwrap()])
            .await
            .unwrap(),
        1
    );
    started
}

const PLANTED: [(&str, usize); 10] = [
    ("Audit", 1),
    ("ConversationState", 1),
    ("Conversations", 2),
    ("IdempotencyKeys", 1),
    ("Jobs", 1),
    ("Messages", 4),
    ("Spending", 1),
    ("TurnRecords", 1),
    ("Turns", 2),
    ("UserState", 2),
];

pub async fn an_export_has_everything_of_a_user_and_nothing_of_others(store: &Arc<dyn Store>) {
    assert_eq!(counts(&exported(store, &ada()).await), []);
    let started = plant(store).await;
    let sections = exported(store, &ada()).await;
    assert_eq!(counts(&sections), PLANTED);
    let ExportItem::Turn(turn) = &sections["Turns"][0] else { panic!("{sections:?}") };
    assert_eq!((turn.id, turn.finish.as_deref(), &turn.reply), (started.turn, Some("stop"), &None));
    assert_eq!(turn.usage.map(|usage| usage.input_tokens), Some(11));
    let ExportItem::Message { conversation, message } = &sections["Messages"][1] else {
        panic!("{sections:?}")
    };
    assert_eq!((*conversation, &*message.content), (started.conversation, "Hi"));
    let ExportItem::State(state) = &sections["ConversationState"][0] else { panic!("{sections:?}") };
    assert_eq!(
        (state.conversation, &*state.key, &*state.value),
        (Some(started.conversation), "c", &b"kept"[..])
    );
    assert_eq!(counts(&exported(store, &owner("ben")).await), []);
    store.delete(&ada(), started.conversation).await.unwrap();
    let sections = exported(store, &ada()).await;
    assert_eq!(sections["Conversations"].len(), 1, "what the user deleted is not in it");
    assert!(sections["Jobs"].is_empty() && sections["ConversationState"].is_empty());
}

pub async fn the_pages_of_an_export_meet(store: &Arc<dyn Store>) {
    let mut conversations = Vec::new();
    for number in 0..3 {
        let id = empty(store).await;
        conversations.push(id);
        for place in 0..18 {
            exchange(store, Target::Existing(id), &format!("q{number}-{place}"), "a").await;
        }
        let writes = (0..20).map(|key| set(StateScope::Conversation(id), &format!("{key:02}"))).collect();
        store.state_write(None, writes).await.unwrap().unwrap();
    }
    let writes = (0..40).map(|key| set(StateScope::User(ada()), &format!("{key:02}"))).collect();
    store.state_write(None, writes).await.unwrap().unwrap();
    let sections = exported(store, &ada()).await;
    let places: Vec<(ConversationId, i64)> = sections["Messages"]
        .iter()
        .map(|item| match item {
            ExportItem::Message { conversation, message } => (*conversation, message.sequence),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected: Vec<_> =
        conversations.iter().flat_map(|id| (1..=36).map(|sequence| (*id, sequence))).collect();
    assert_eq!(places, expected);
    assert_eq!(sections["Turns"].len(), 54);
    assert_eq!((sections["UserState"].len(), sections["ConversationState"].len()), (40, 60));
    let refused = store.export(&ada(), ExportSection::Messages, Some("nonsense")).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
}

pub async fn a_cursor_that_is_none_is_refused_in_every_section_for_anyone(store: &Arc<dyn Store>) {
    plant(store).await;
    for owner in [ada(), owner("nobody")] {
        for section in ExportSection::ALL {
            let refused = store.export(&owner, section, Some("nonsense")).await;
            assert!(matches!(refused, Err(StoreError::Refused(_))), "{section:?}: {refused:?}");
        }
    }
}

pub async fn an_erasure_takes_the_tickets_of_its_conversations(store: &Arc<dyn Store>) {
    let running = start(store, admission(new_conversation(), "First")).await;
    let id = running.conversation;
    let waiting = Some(Waiting { max: 4, ttl: LONG });
    let waits = Admission { waiting, ..admission(Target::Existing(id), "Waits") };
    let outcome = admit(store, waits).await;
    assert!(matches!(outcome, AdmissionOutcome::Busy { is_waiting: true, .. }), "{outcome:?}");
    let erasure = begin(store, ada()).await;
    complete(store, &erasure).await;
    let target = Target::New { id, companion: "elara".into(), title: "Again".into() };
    let again = start(store, admission(target, "Hello")).await;
    assert_eq!(next(store.commit(reply(&again, "Hi")).await), None);
}

pub async fn an_erasure_leaves_nothing_and_takes_nothing_of_others(store: &Arc<dyn Store>) {
    plant(store).await;
    let bens = Admission { owner: owner("ben"), ..admission(new_conversation(), "I am Ben") };
    let ben = start(store, bens).await;
    kept(store.commit(Commit { owner: owner("ben"), ..reply(&ben, "Hi") }).await);
    let deleted = exchange(store, new_conversation(), "Gone", "Gone").await;
    store.delete(&ada(), deleted.conversation).await.unwrap();

    let user = store.user_id(&ada()).await.unwrap().unwrap();
    let erasure = begin(store, ada()).await;
    assert_eq!((erasure.user, erasure.done_at), (user, None));
    assert_eq!(store.running_erasures().await.unwrap().len(), 1);
    let done = complete(store, &erasure).await;
    assert!(done.done_at >= Some(done.begun_at));
    let ErasedRows { conversations, messages, turns, idempotency_keys, jobs, state_values, spending_days } =
        done.rows;
    assert_eq!((conversations, messages, turns, idempotency_keys), (3, 6, 3, 1));
    assert_eq!((jobs, state_values, spending_days), (1, 3, 1));
    assert_eq!(store.erasure(erasure.receipt).await.unwrap(), Some(done.clone()));
    assert_eq!(store.erasure_of_user(user).await.unwrap(), Some(done));
    assert!(store.running_erasures().await.unwrap().is_empty());
    assert_eq!(store.finish_erasure(erasure.receipt, entry("user.erased")).await.unwrap(), None);

    assert_eq!(counts(&exported(store, &ada()).await), [("Audit", 1)], "the audit log keeps its entries");
    assert_eq!((store.user_id(&ada()).await.unwrap(), store.user(user).await.unwrap()), (None, None));
    assert_eq!(store.state_bytes(&space(StateScope::User(ada()))).await.unwrap(), 0);
    assert_eq!(store.counts().await.unwrap(), JobCounts::default());
    let sections = exported(store, &owner("ben")).await;
    assert_eq!(counts(&sections), [("Conversations", 1), ("Messages", 2), ("Turns", 1)]);
    let actions: Vec<String> = store
        .audit(Page { limit: 10, after: None })
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|record| record.entry.action)
        .collect();
    assert_eq!(actions, ["user.erased", "user.erase", "key.create"]);
}

pub async fn nothing_is_written_under_an_erased_id(store: &Arc<dyn Store>) {
    let conversation = empty(store).await;
    let admitted =
        Admission { idempotency: key("late"), ..admission(Target::Existing(conversation), "Hello") };
    let running = start(store, admitted.clone()).await;
    let before = exchange(store, new_conversation(), "Before", "Yes").await;
    let fence = StateFence::Turn { turn: running.turn, epoch: running.epoch };
    let with_jobs = start(store, admission(new_conversation(), "Work")).await;
    let jobs = vec![job("window"), job("window")];
    kept(store.commit(Commit { jobs, ..reply(&with_jobs, "Yes") }).await);
    let taken = take_job(store).await.unwrap();
    let erasure = begin(store, ada()).await;

    assert_eq!(store.heartbeat(host(), &[running.turn], LONG).await.unwrap().held, []);
    assert_eq!(store.commit(reply(&running, "Too late")).await.unwrap(), Ending::LeaseLost);
    assert_eq!(store.interrupt(interruption(&running, Some("Too"))).await.unwrap(), Ending::LeaseLost);
    assert_eq!(store.fail(failure(&running)).await.unwrap(), Ending::LeaseLost);
    for scope in [StateScope::User(ada()), StateScope::Conversation(conversation)] {
        let refused = store.state_write(Some(fence), vec![set(scope, "k")]).await;
        assert!(matches!(refused, Err(StoreError::FenceEnded)), "{refused:?}");
    }
    let completion = JobCompletion { writes: vec![set(StateScope::User(ada()), "k")] };
    assert!(!store.complete(taken.id, taken.epoch, completion).await.unwrap());
    assert!(take_job(store).await.is_none(), "the job behind it does not run");
    let existing = admission(Target::Existing(before.conversation), "And now?");
    assert_eq!(admit(store, existing).await, AdmissionOutcome::UnknownConversation);

    let done = complete(store, &erasure).await;
    assert_eq!((done.rows.conversations, done.rows.jobs), (3, 2));
    assert_eq!(store.commit(reply(&running, "Too late")).await.unwrap(), Ending::LeaseLost);
    assert_eq!(store.user_id(&ada()).await.unwrap(), None, "no late write made a new user");
}

pub async fn an_erased_person_comes_back_as_a_new_user(store: &Arc<dyn Store>) {
    let old = exchange(store, new_conversation(), "Hello", "Hi").await;
    let erasure = begin(store, ada()).await;
    // Already while the rows are being removed.
    let again = Admission { idempotency: key("once"), ..admission(new_conversation(), "I am back") };
    let new = start(store, again).await;
    kept(store.commit(reply(&new, "Welcome")).await);
    let user = store.user_id(&ada()).await.unwrap().unwrap();
    assert_ne!(user, erasure.user);
    complete(store, &erasure).await;
    assert_eq!(transcript(store, new.conversation).await.len(), 2);
    assert_eq!(store.conversation(&ada(), old.conversation).await.unwrap(), None);
    assert_eq!(store.user(user).await.unwrap(), Some(ada()));
    let second = begin(store, ada()).await;
    assert_eq!((second.user, &second.name), (user, &erasure.name));
    complete(store, &second).await;
    let nothing = begin(store, ada()).await;
    let done = complete(store, &nothing).await;
    assert_eq!(done.rows, ErasedRows::default(), "without data there is a receipt, too");
}

pub async fn a_long_erasure_is_removed_in_batches_and_is_not_finished_before(store: &Arc<dyn Store>) {
    for _ in 0..3 {
        let id = empty(store).await;
        for _ in 0..60 {
            exchange(store, Target::Existing(id), "q", "a").await;
        }
    }
    let erasure = begin(store, ada()).await;
    let early = store.finish_erasure(erasure.receipt, entry("user.erased")).await;
    assert!(matches!(early, Err(StoreError::Refused(_))), "{early:?}");
    assert!(store.erase_some(erasure.receipt).await.unwrap(), "one batch is not enough");
    assert_eq!(store.running_erasures().await.unwrap().len(), 1);
    assert_eq!(complete(store, &erasure).await.rows.messages, 360);
    assert!(!store.erase_some(erasure.receipt).await.unwrap());
    assert!(!store.erase_some(Uuid::now_v7()).await.unwrap());
}
