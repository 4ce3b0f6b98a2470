//! Turns whose admission was not confirmed, over the real store.

use std::sync::Arc;
use std::time::Duration;

use masque_problem::Kind;
use masque_store::{
    Admission, AdmissionOutcome, ConversationId, MessageId, NewMessage, Owner, Shared, Started,
    StoreConnection as _, StoreError, Target, TurnId, TurnStatus, Turns as _, UserProfile,
};
use masque_store_sqlite::SqliteStore;
use masque_telemetry::trace::TraceContext;
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::contract;
use crate::draft::ReplyDraft;
use crate::log::TurnEnd;
use crate::timing::TurnTiming;
use crate::waiters::WakeUps;

fn owner() -> Owner {
    Owner { tenant: "default".into(), issuer: "local".into(), subject: "local".into() }
}

async fn open() -> (TempDir, Arc<SqliteStore>, Finalizer) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    let host = Uuid::from_u128(1);
    let inbox = Shared::in_process(host).inbox;
    let finalizer = Finalizer::new(store.clone(), WakeUps { host, waiters: Arc::default(), inbox });
    (folder, store, finalizer)
}

async fn start(store: &SqliteStore, conversation: Option<ConversationId>) -> Started {
    let admission = Admission {
        owner: owner(),
        host: Uuid::from_u128(1),
        lease: Duration::from_secs(3600),
        turn: TurnId::new(),
        target: match conversation {
            Some(id) => Target::Existing(id),
            None => {
                Target::New { id: ConversationId::new(), companion: "elara".into(), title: String::new() }
            }
        },
        companion: None,
        companions: Arc::new(["elara".to_owned()].into()),
        message: NewMessage { id: MessageId::new(), content: "Hello.".into(), metadata: json!({}) },
        idempotency: None,
        resume: false,
        waiting: None,
        tail: contract::TAIL,
    };
    let admitted = store.admit(admission).await.unwrap();
    admitted.durable.wait().await.unwrap();
    match admitted.outcome {
        AdmissionOutcome::Started(started) => started,
        other => panic!("{other:?}"),
    }
}

/// Finalizes a turn whose admission ended with `error`, and asserts that its readers are told that the store is away.
async fn finalize(finalizer: &Finalizer, started: &Started, error: StoreError) {
    let finished = FinishedTurn {
        owner: &owner(),
        profile: &UserProfile::default(),
        companion: None,
        started,
        draft: &ReplyDraft::default(),
        timing: &TurnTiming::default(),
        request_id: "test",
        accounts: &[],
        trace: TraceContext::root(),
    };
    match finalizer.finalize(finished, TurnOutcome::NotAdmitted(error)).await.end {
        TurnEnd::Failed(problem) => assert_eq!(problem.kind, Kind::StorageUnavailable),
        other => panic!("{other:?}"),
    }
}

fn unknown() -> StoreError {
    StoreError::OutcomeUnknown("the disk failed".into())
}

#[tokio::test]
async fn a_turn_that_was_stored_with_an_unknown_outcome_is_ended_and_frees_its_conversation() {
    let (_folder, store, finalizer) = open().await;
    let started = start(&store, None).await;
    finalize(&finalizer, &started, unknown()).await;
    let record = store.turn(&owner(), started.turn).await.unwrap().unwrap();
    assert_eq!(record.status, TurnStatus::Failed);
    start(&store, Some(started.conversation)).await;
}

#[tokio::test]
async fn a_turn_that_was_not_stored_ends_nothing() {
    let (_folder, store, finalizer) = open().await;
    let running = start(&store, None).await;
    let not_stored = Started { turn: TurnId::new(), ..running.clone() };
    finalize(&finalizer, &not_stored, unknown()).await;
    // An attempt that was not stored does not end the attempt that was.
    finalize(&finalizer, &Started { attempt: 2, ..running.clone() }, unknown()).await;
    assert_eq!(store.turn(&owner(), not_stored.turn).await.unwrap(), None);
    let record = store.turn(&owner(), running.turn).await.unwrap().unwrap();
    assert_eq!(record.status, TurnStatus::Running);
    assert_eq!(finalizer.pending_turns(), []);
}

#[tokio::test]
async fn a_first_attempt_that_can_not_be_looked_up_is_ended_later_and_a_later_one_is_not() {
    let (_folder, store, finalizer) = open().await;
    let started = start(&store, None).await;
    store.close().await;
    finalize(&finalizer, &Started { attempt: 2, ..started.clone() }, unknown()).await;
    assert_eq!(finalizer.pending_turns(), []);
    finalize(&finalizer, &started, unknown()).await;
    assert_eq!(finalizer.pending_turns(), [started.turn]);
}

/// The host drains while the store is away: the end is tried until the store is back.
#[tokio::test]
async fn an_end_that_can_not_be_stored_is_tried_until_the_host_gives_up() {
    let (_folder, store, finalizer) = open().await;
    let started = start(&store, None).await;
    store.close().await;
    finalize(&finalizer, &started, unknown()).await;
    let mut waiting = Box::pin(finalizer.wait_for_writes());
    assert!(futures::poll!(&mut waiting).is_pending(), "the end is still tried");
    assert_eq!(finalizer.pending_turns(), [started.turn]);
    finalizer.give_up();
    waiting.await;
    assert_eq!(finalizer.pending_turns(), []);
}
