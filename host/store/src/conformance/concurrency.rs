//! Concurrent operations: none is lost, none applied twice, and a failing one does not affect others.

use std::future::{Future, poll_fn};
use std::task::Poll;

use futures::future::join_all;

use super::fixtures::*;

/// Takes turns in a conversation until one starts, as clients in a queue do.
async fn exchange_when_free(store: Arc<dyn Store>, id: ConversationId, number: usize) {
    loop {
        match admit(&store, admission(Target::Existing(id), &format!("q{number}"))).await {
            AdmissionOutcome::Started(started) => {
                kept(store.commit(reply(&started, &format!("a{number}"))).await);
                return;
            }
            AdmissionOutcome::Busy { .. } => tokio::task::yield_now().await,
            other => panic!("{other:?}"),
        }
    }
}

pub async fn sixty_four_turns_at_once_in_one_conversation_leave_no_gap_and_mix_no_exchange(
    store: &Arc<dyn Store>,
) {
    let id = empty(store).await;
    let turns = (0..64).map(|number| tokio::spawn(exchange_when_free(Arc::clone(store), id, number)));
    for turn in join_all(turns).await {
        turn.unwrap();
    }
    let messages = transcript(store, id).await;
    let sequences: Vec<i64> = messages.iter().map(|message| message.sequence).collect();
    assert_eq!(sequences, (1..=128).collect::<Vec<_>>());
    for pair in messages.chunks(2) {
        assert_eq!(pair[0].turn, pair[1].turn);
        assert_eq!(pair[0].content[1..], pair[1].content[1..]);
    }
}

pub async fn sixty_four_turns_at_once_in_as_many_conversations_all_commit(store: &Arc<dyn Store>) {
    let turns = (0..64).map(|number| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            exchange(&store, new_conversation(), &format!("q{number}"), &format!("a{number}"))
                .await
                .conversation
        })
    });
    for (number, turn) in join_all(turns).await.into_iter().enumerate() {
        let messages = transcript(store, turn.unwrap()).await;
        assert_eq!(contents(&messages), [format!("q{number}"), format!("a{number}")]);
    }
}

pub async fn of_many_requests_with_one_key_one_starts_and_the_rest_join_it(store: &Arc<dyn Store>) {
    let requests = (0..32).map(|_| {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            admit(&store, Admission { idempotency: key("k"), ..admission(new_conversation(), "Hello") }).await
        })
    });
    let outcomes: Vec<AdmissionOutcome> = join_all(requests).await.into_iter().map(Result::unwrap).collect();
    let started: Vec<TurnId> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            AdmissionOutcome::Started(started) => Some(started.turn),
            _ => None,
        })
        .collect();
    assert_eq!(started.len(), 1);
    let joined = AdmissionOutcome::Running { turn: started[0], host: host(), companion: "elara".into() };
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == joined).count(), 31);
}

pub async fn a_failed_operation_does_not_undo_others_in_its_batch(store: &Arc<dyn Store>) {
    let taken = start(store, admission(new_conversation(), "Hello")).await.message.id;
    let attempts = (0..40).map(|number| {
        let mut admission = admission(new_conversation(), "Hello");
        if number % 4 == 3 {
            admission.message.id = taken;
        }
        async { (admission.turn, store.admit(admission).await) }
    });
    // Polled together, they stand in the queue together and share transactions.
    for (number, (turn, result)) in join_all(attempts).await.into_iter().enumerate() {
        let stored = if number % 4 == 3 {
            assert!(matches!(result, Err(StoreError::Refused(_))), "{result:?}");
            false
        } else {
            result.unwrap().durable.wait().await.unwrap();
            true
        };
        assert_eq!(store.turn(&ada(), turn).await.unwrap().is_some(), stored, "admission {number}");
    }
}

pub async fn a_caller_that_goes_away_takes_nothing_back(store: &Arc<dyn Store>) {
    let started = start(store, admission(new_conversation(), "Hello")).await;
    let mut commit = Box::pin(store.commit(reply(&started, "Hi")));
    // One poll hands the operation over; then its caller is gone.
    let pending = poll_fn(|context| Poll::Ready(commit.as_mut().poll(context).is_pending())).await;
    assert!(pending);
    drop(commit);
    // A store with several connections may do it later than what is asked for next.
    let is_stored = async {
        while contents(&transcript(store, started.conversation).await) != ["Hello", "Hi"] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_stored).await.expect("the commit was not stored");
}
