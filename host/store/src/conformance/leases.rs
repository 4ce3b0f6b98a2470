//! A conversation runs one turn at a time, and each turn ends once.

use super::fixtures::*;

pub async fn a_conversation_whose_lease_is_held_is_busy_for_as_long_as_the_lease_lasts(
    store: &Arc<dyn Store>,
) {
    let first = start(store, admission(new_conversation(), "Hello")).await;
    match admit(store, admission(Target::Existing(first.conversation), "Me too")).await {
        AdmissionOutcome::Busy { retry_after, is_waiting } => {
            assert!(retry_after <= LONG && retry_after > LONG / 2, "{retry_after:?}");
            assert!(!is_waiting, "it may not wait");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(transcript(store, first.conversation).await.len(), 1);
}

pub async fn every_end_of_a_turn_frees_its_lease(store: &Arc<dyn Store>) {
    let id = empty(store).await;
    let first = start(store, admission(Target::Existing(id), "One")).await;
    kept(store.commit(reply(&first, "First")).await);
    let second = start(store, admission(Target::Existing(id), "Two")).await;
    kept(store.interrupt(interruption(&second, None)).await);
    let third = start(store, admission(Target::Existing(id), "Three")).await;
    kept(store.fail(failure(&third)).await);
    let fourth = start(store, admission(Target::Existing(id), "Four")).await;
    assert!(first.epoch < second.epoch && second.epoch < third.epoch && third.epoch < fourth.epoch);
}

pub async fn a_turn_whose_lease_was_taken_is_interrupted_and_can_not_be_ended(store: &Arc<dyn Store>) {
    let slow = start(store, Admission { lease: OVER, ..admission(new_conversation(), "Slow") }).await;
    let next = start(store, admission(Target::Existing(slow.conversation), "Next")).await;

    let turn = store.turn(&ada(), slow.turn).await.unwrap().unwrap();
    assert_eq!(turn.status, TurnStatus::Interrupted);
    assert!(turn.ended_at.is_some());
    assert_eq!(contents(&next.tail), ["Slow"], "the question stays part of the past");
    assert_eq!(store.commit(reply(&slow, "Late")).await.unwrap(), Ending::LeaseLost);
    assert_eq!(store.interrupt(interruption(&slow, Some("L"))).await.unwrap(), Ending::LeaseLost);
    assert_eq!(store.fail(failure(&slow)).await.unwrap(), Ending::LeaseLost);
    kept(store.commit(reply(&next, "In time")).await);
    let messages = transcript(store, slow.conversation).await;
    assert_eq!(
        seen(&messages),
        [
            (1, "user", "interrupted", "Slow"),
            (2, "user", "complete", "Next"),
            (3, "assistant", "complete", "In time"),
        ]
    );
}

pub async fn an_epoch_that_is_not_the_turns_own_ends_nothing(store: &Arc<dyn Store>) {
    let mut started = start(store, admission(new_conversation(), "Hello")).await;
    started.epoch += 1;
    assert_eq!(store.commit(reply(&started, "Hi")).await.unwrap(), Ending::LeaseLost);
    let turn = store.turn(&ada(), started.turn).await.unwrap().unwrap();
    assert_eq!(turn.status, TurnStatus::Running);
}

pub async fn recovery_interrupts_what_ran_out_and_what_a_lost_host_left_and_nothing_else(
    store: &Arc<dyn Store>,
) {
    let mine = start(store, admission(new_conversation(), "Mine")).await;
    let over = start(store, Admission { lease: OVER, ..admission(new_conversation(), "Over") }).await;
    let lost =
        start(store, Admission { host: Uuid::from_u128(2), ..admission(new_conversation(), "Lost") }).await;

    leave(store, other_host()).await;
    assert_eq!(store.recover(host()).await.unwrap(), 2);
    assert_eq!(store.recover(host()).await.unwrap(), 0);
    for (turn, status) in
        [(&mine, TurnStatus::Running), (&over, TurnStatus::Interrupted), (&lost, TurnStatus::Interrupted)]
    {
        assert_eq!(store.turn(&ada(), turn.turn).await.unwrap().unwrap().status, status);
    }
    assert_eq!(transcript(store, lost.conversation).await[0].status, "interrupted");
    assert_eq!(store.commit(reply(&lost, "Late")).await.unwrap(), Ending::LeaseLost);
    start(store, admission(Target::Existing(lost.conversation), "The lease is free")).await;
}
