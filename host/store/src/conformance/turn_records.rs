//! Records of turns are found by their turn, go with it, its conversation and its user, and are kept within bounds.

use serde_json::json;

use super::fixtures::*;

/// The record of a turn of Ada's, with a text of `bytes` in it.
pub fn record(started: &Started, attempt: u32, bytes: usize) -> OwnedTurnRecord {
    let step = RecordedStep {
        function: "compose".into(),
        kind: "persona".into(),
        plugin: "elara".into(),
        version: "1.0.0".into(),
        digest: "sha256:1".into(),
        settings_digest: "sha256:2".into(),
        grants: vec!["state".into()],
        started_us: 1,
        duration_us: 2,
        instantiation_us: 3,
        cpu_us: 4,
        peak_memory_bytes: 5,
        limits: json!({ "cpu_us": 6 }),
        outcome: "ok".into(),
        received: json!({ "messages": 1 }),
        // A database that keeps texts without U+0000 has to keep this one.
        returned: json!({ "parts": [{ "text": format!("\0{}", "x".repeat(bytes)) }] }),
        host_calls: Vec::new(),
        host_calls_dropped: 0,
    };
    let record = RecordedTurn {
        format: RECORD_FORMAT,
        turn_id: started.turn,
        attempt,
        conversation_id: started.conversation,
        companion: "elara".into(),
        generation: 7,
        host: "host-1".into(),
        request_id: "r-1".into(),
        trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
        started_at: 1_700_000_000_000,
        content: "full".into(),
        outcome: "completed".into(),
        problem: None,
        timing: json!({ "total_ms": 12 }),
        usage: json!({ "input_tokens": 11 }),
        message: json!({ "id": started.message.id }),
        steps: vec![step],
        truncated: false,
    };
    OwnedTurnRecord { owner: ada(), record }
}

/// Bounds that keep everything.
pub const ALL: RecordBounds = RecordBounds { max_age_ms: u64::MAX, max_total_bytes: u64::MAX };

async fn keep(store: &Arc<dyn Store>, record: OwnedTurnRecord) -> bool {
    keep_all(store, &[record]).await == 1
}

/// Stores them as one batch; how many were stored.
async fn keep_all(store: &Arc<dyn Store>, records: &[OwnedTurnRecord]) -> u64 {
    let encoded = records.iter().map(|record| record.encode().unwrap()).collect();
    store.store_turn_records(encoded).await.unwrap()
}

async fn found(store: &Arc<dyn Store>, started: &Started) -> Option<OwnedTurnRecord> {
    store.turn_record(started.turn).await.unwrap()
}

/// Sweeps until nothing is left to delete; how many records went.
async fn sweep_all(store: &Arc<dyn Store>, bounds: RecordBounds) -> u64 {
    let mut swept = 0;
    loop {
        match store.sweep_turn_records(bounds).await.unwrap() {
            0 => return swept,
            records => swept += records,
        }
    }
}

pub async fn a_record_is_found_by_its_turn_as_it_was_stored_with_its_owner(store: &Arc<dyn Store>) {
    let first = exchange(store, new_conversation(), "Hello", "Hi").await;
    let second = exchange(store, Target::Existing(first.conversation), "And", "So").await;
    assert_eq!(found(store, &first).await, None);
    let records = vec![record(&first, 1, 10), record(&second, 1, 300_000)];
    assert_eq!(keep_all(store, &records).await, 2);
    assert_eq!(found(store, &first).await.as_ref(), records.first());
    assert_eq!(found(store, &second).await.as_ref(), records.last());
    assert_eq!(store.turn_record(TurnId::new()).await.unwrap(), None);
    assert_eq!(keep_all(store, &[]).await, 0);
}

pub async fn a_record_of_the_same_attempt_is_replaced_and_the_last_attempt_is_found(store: &Arc<dyn Store>) {
    let started = exchange(store, new_conversation(), "Hello", "Hi").await;
    assert!(keep(store, record(&started, 2, 20)).await);
    assert!(keep(store, record(&started, 2, 5)).await);
    assert_eq!(found(store, &started).await, Some(record(&started, 2, 5)));
    assert!(keep(store, record(&started, 1, 10)).await);
    assert_eq!(found(store, &started).await, Some(record(&started, 2, 5)), "an earlier attempt came later");
    keep_all(store, &[record(&started, 3, 1), record(&started, 3, 2)]).await;
    assert_eq!(found(store, &started).await, Some(record(&started, 3, 2)), "in one batch, too");
}

pub async fn a_record_of_a_turn_that_is_not_the_owners_is_left_out(store: &Arc<dyn Store>) {
    let started = exchange(store, new_conversation(), "Hello", "Hi").await;
    let other = exchange(store, new_conversation(), "Hello", "Hi").await;
    let bens = OwnedTurnRecord { owner: owner("ben"), ..record(&started, 1, 1) };
    assert!(!keep(store, bens).await);
    let mut elsewhere = record(&started, 1, 1);
    elsewhere.record.conversation_id = other.conversation;
    assert!(!keep(store, elsewhere).await);
    let mut unknown = record(&started, 1, 1);
    unknown.record.turn_id = TurnId::new();
    assert_eq!(keep_all(store, &[unknown, record(&other, 1, 1)]).await, 1);
    assert_eq!(found(store, &started).await, None);
    assert!(found(store, &other).await.is_some(), "those beside it are stored");
}

pub async fn a_record_goes_with_its_conversation_and_comes_back_with_none(store: &Arc<dyn Store>) {
    let gone = exchange(store, new_conversation(), "Hello", "Hi").await;
    let stays = exchange(store, new_conversation(), "Hello", "Hi").await;
    for started in [&gone, &stays] {
        assert!(keep(store, record(started, 1, 1000)).await);
    }
    assert!(!store.delete(&owner("ben"), gone.conversation).await.unwrap());
    assert!(found(store, &gone).await.is_some());
    assert!(store.delete(&ada(), gone.conversation).await.unwrap());
    assert_eq!(found(store, &gone).await, None, "at once");
    assert!(!keep(store, record(&gone, 2, 1)).await, "a late record is left out");
    while store.sweep().await.unwrap() > 0 {}
    assert!(!keep(store, record(&gone, 2, 1)).await, "also when the rows are gone");
    // Neither an id that is used again nor its turn finds it.
    let target = Target::New { id: gone.conversation, companion: "elara".into(), title: "Again".into() };
    let again = Admission { turn: gone.turn, ..admission(target, "Again") };
    let again = start(store, again).await;
    assert_eq!(found(store, &again).await, None);
    assert!(found(store, &stays).await.is_some());
}

pub async fn a_record_of_an_erased_user_is_gone_and_a_late_one_is_left_out(store: &Arc<dyn Store>) {
    let started = exchange(store, new_conversation(), "Hello", "Hi").await;
    assert!(keep(store, record(&started, 1, 1000)).await);
    let bens = Admission { owner: owner("ben"), ..admission(new_conversation(), "I am Ben") };
    let ben = start(store, bens).await;
    let bens = OwnedTurnRecord { owner: owner("ben"), ..record(&ben, 1, 1) };
    assert!(keep(store, bens.clone()).await);

    let name = store.installation().await.unwrap().erased_name(&ada());
    let request = ErasureRequest { receipt: Uuid::now_v7(), owner: ada(), name, entry: entry("user.erase") };
    let erasure = store.begin_erasure(request).await.unwrap();
    assert_eq!(found(store, &started).await, None, "as soon as the erasure has begun");
    assert!(!keep(store, record(&started, 2, 1)).await);
    let early = store.finish_erasure(erasure.receipt, entry("user.erased")).await;
    assert!(matches!(early, Err(StoreError::Refused(_))), "{early:?}");
    // The person comes back as a new user, to whom nothing of the old one belongs.
    exchange(store, new_conversation(), "I am back", "Welcome").await;
    assert!(!keep(store, record(&started, 2, 1)).await);
    while store.erase_some(erasure.receipt).await.unwrap() {}
    assert!(store.clear_traces().await.unwrap());
    store.finish_erasure(erasure.receipt, entry("user.erased")).await.unwrap().unwrap();
    assert!(!keep(store, record(&started, 2, 1)).await);
    assert_eq!(found(store, &started).await, None);
    assert_eq!(store.turn_record(ben.turn).await.unwrap(), Some(bens), "others keep theirs");
}

pub async fn an_export_has_all_attempts_of_a_user_in_pages_and_none_of_others(store: &Arc<dyn Store>) {
    let mut expected = Vec::new();
    for _ in 0..3 {
        let started = exchange(store, new_conversation(), "Hello", "Hi").await;
        for attempt in 1..=2 {
            // More than a page has, all together.
            let record = record(&started, attempt, 250_000);
            assert!(keep(store, record.clone()).await);
            expected.push(record.record);
        }
    }
    let deleted = exchange(store, new_conversation(), "Hello", "Hi").await;
    assert!(keep(store, record(&deleted, 1, 1)).await);
    store.delete(&ada(), deleted.conversation).await.unwrap();
    let bens = Admission { owner: owner("ben"), ..admission(new_conversation(), "I am Ben") };
    let ben = start(store, bens).await;
    assert!(keep(store, OwnedTurnRecord { owner: owner("ben"), ..record(&ben, 1, 1) }).await);

    let (mut exported, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let page = store.export(&ada(), ExportSection::TurnRecords, after.as_deref()).await.unwrap();
        exported.extend(page.items.into_iter().map(|item| match item {
            ExportItem::TurnRecord(record) => *record,
            other => panic!("{other:?}"),
        }));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(exported == expected, "{} of {} records", exported.len(), expected.len());
    assert!(pages > 1);
}

pub async fn a_record_of_a_later_format_is_in_an_export_as_such_and_does_not_end_it(store: &Arc<dyn Store>) {
    let started = exchange(store, new_conversation(), "Hello", "Hi").await;
    let mut later = record(&started, 1, 10);
    later.record.format = RECORD_FORMAT + 1;
    let readable = record(&started, 2, 10);
    assert!(keep(store, later).await && keep(store, readable.clone()).await);
    let page = store.export(&ada(), ExportSection::TurnRecords, None).await.unwrap();
    let stub = UnreadableTurnRecord {
        turn: started.turn,
        attempt: 1,
        conversation: started.conversation,
        newer_format: Some(RECORD_FORMAT + 1),
    };
    let expected =
        [ExportItem::UnreadableTurnRecord(stub), ExportItem::TurnRecord(Box::new(readable.record))];
    assert_eq!(page.items, expected);
    store.delete(&ada(), started.conversation).await.unwrap();
    let page = store.export(&ada(), ExportSection::TurnRecords, None).await.unwrap();
    assert_eq!(page.items, [], "it goes with its conversation");
}

pub async fn records_past_their_age_are_removed_in_batches(store: &Arc<dyn Store>) {
    let started = exchange(store, new_conversation(), "Hello", "Hi").await;
    let records: Vec<_> = (1..=300).map(|attempt| record(&started, attempt, 10)).collect();
    assert_eq!(keep_all(store, &records).await, 300);
    assert_eq!(store.sweep_turn_records(ALL).await.unwrap(), 0);
    let day = RecordBounds { max_age_ms: 86_400_000, ..ALL };
    assert_eq!(store.sweep_turn_records(day).await.unwrap(), 0);
    let over = RecordBounds { max_age_ms: 0, ..ALL };
    let first = store.sweep_turn_records(over).await.unwrap();
    assert!((1..300).contains(&first), "{first} in one batch");
    assert_eq!(first + sweep_all(store, over).await, 300);
    assert_eq!(found(store, &started).await, None);
}

pub async fn of_more_bytes_than_may_be_kept_the_oldest_records_go(store: &Arc<dyn Store>) {
    const KILOBYTES: usize = 100_000;
    let mut turns = Vec::new();
    for _ in 0..12 {
        let started = exchange(store, new_conversation(), "Hello", "Hi").await;
        assert!(keep(store, record(&started, 1, KILOBYTES)).await);
        turns.push(started);
    }
    // A record that was stored first counts as old as it is when it is replaced.
    assert!(keep(store, record(&turns[0], 1, KILOBYTES)).await);
    let bounds = RecordBounds { max_total_bytes: 650_000, ..ALL };
    let swept = sweep_all(store, bounds).await;
    assert!((5..=8).contains(&swept), "{swept} of 12 went");
    let mut kept = Vec::new();
    for started in &turns {
        kept.push(found(store, started).await.is_some());
    }
    let (gone, left) = kept[1..].split_at(usize::try_from(swept).unwrap());
    assert!(gone.iter().all(|kept| !kept) && left.iter().all(|kept| *kept) && kept[0], "{kept:?}");
    assert_eq!(sweep_all(store, bounds).await, 0);
    let nothing = RecordBounds { max_total_bytes: 0, ..ALL };
    assert_eq!(sweep_all(store, nothing).await, 12 - swept);
    assert_eq!(found(store, &turns[0]).await, None);
}
