//! One turn at a time in a conversation, and one end for each.

use super::*;

#[tokio::test]
async fn a_conversation_whose_lease_is_held_is_busy_for_as_long_as_the_lease_lasts() {
    let room = crate::open().await;
    let first = start(&room.store, admission(new_conversation(), "Hello")).await;
    match admit(&room.store, admission(Target::Existing(first.conversation), "Me too")).await {
        Outcome::Busy { retry_after } => {
            assert!(retry_after <= LONG && retry_after > LONG / 2, "{retry_after:?}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(transcript(&room.store, first.conversation).await.len(), 1);
}

#[tokio::test]
async fn every_end_of_a_turn_frees_its_lease() {
    let room = crate::open().await;
    let id = empty(&room.store).await;
    let first = start(&room.store, admission(Target::Existing(id), "One")).await;
    kept(room.store.commit(reply(&first, "First")).await);
    let second = start(&room.store, admission(Target::Existing(id), "Two")).await;
    kept(room.store.interrupt(interruption(&second, None)).await);
    let third = start(&room.store, admission(Target::Existing(id), "Three")).await;
    kept(room.store.fail(failure(&third)).await);
    let fourth = start(&room.store, admission(Target::Existing(id), "Four")).await;
    assert!(first.epoch < second.epoch && second.epoch < third.epoch && third.epoch < fourth.epoch);
}

#[tokio::test]
async fn a_turn_whose_lease_was_taken_is_interrupted_and_can_not_be_ended() {
    let room = crate::open().await;
    let slow = start(&room.store, Admission { lease: OVER, ..admission(new_conversation(), "Slow") }).await;
    let next = start(&room.store, admission(Target::Existing(slow.conversation), "Next")).await;

    let turn = room.store.turn(&ada(), slow.turn).await.unwrap().unwrap();
    assert_eq!(turn.status, TurnStatus::Interrupted);
    assert!(turn.ended_at.is_some());
    assert_eq!(contents(&next.tail), ["Slow"], "the question stays part of the past");
    assert_eq!(room.store.commit(reply(&slow, "Late")).await.unwrap(), Ending::LeaseLost);
    assert_eq!(room.store.interrupt(interruption(&slow, Some("L"))).await.unwrap(), Ending::LeaseLost);
    assert_eq!(room.store.fail(failure(&slow)).await.unwrap(), Ending::LeaseLost);
    kept(room.store.commit(reply(&next, "In time")).await);
    let messages = transcript(&room.store, slow.conversation).await;
    assert_eq!(
        seen(&messages),
        [
            (1, "user", "interrupted", "Slow"),
            (2, "user", "complete", "Next"),
            (3, "assistant", "complete", "In time"),
        ]
    );
}

#[tokio::test]
async fn a_turn_whose_lease_ran_out_still_commits_if_no_one_took_it() {
    let room = crate::open().await;
    let slow = start(&room.store, Admission { lease: OVER, ..admission(new_conversation(), "Slow") }).await;
    kept(room.store.commit(reply(&slow, "Just in time")).await);
}

#[tokio::test]
async fn an_epoch_that_is_not_the_turns_own_ends_nothing() {
    let room = crate::open().await;
    let mut started = start(&room.store, admission(new_conversation(), "Hello")).await;
    started.epoch += 1;
    assert_eq!(room.store.commit(reply(&started, "Hi")).await.unwrap(), Ending::LeaseLost);
    let turn = room.store.turn(&ada(), started.turn).await.unwrap().unwrap();
    assert_eq!(turn.status, TurnStatus::Running);
}

#[tokio::test]
async fn renewing_extends_the_leases_of_the_named_turns_of_one_host() {
    let room = crate::open().await;
    let brief = |content| Admission { lease: OVER, ..admission(new_conversation(), content) };
    let mine = start(&room.store, brief("Mine")).await;
    let other = start(&room.store, Admission { host: Uuid::from_u128(2), ..brief("Other") }).await;
    let ended = start(&room.store, brief("Ended")).await;
    kept(room.store.fail(failure(&ended)).await);
    let forgotten = start(&room.store, brief("Forgotten")).await;

    let named = [mine.turn, other.turn, ended.turn];
    assert_eq!(room.store.renew(host(), &named, LONG).await.unwrap(), [mine.turn]);
    start(&room.store, admission(Target::Existing(forgotten.conversation), "Its lease ran out")).await;
    let busy = admit(&room.store, admission(Target::Existing(mine.conversation), "Next")).await;
    assert!(matches!(busy, Outcome::Busy { .. }), "{busy:?}");
    start(&room.store, admission(Target::Existing(other.conversation), "Next")).await;
    assert_eq!(room.store.renew(Uuid::from_u128(2), &named, LONG).await.unwrap(), [], "its lease was taken");
}

#[tokio::test]
async fn recovery_interrupts_what_ran_out_and_what_a_lost_host_left_and_nothing_else() {
    let room = crate::open().await;
    let mine = start(&room.store, admission(new_conversation(), "Mine")).await;
    let over = start(&room.store, Admission { lease: OVER, ..admission(new_conversation(), "Over") }).await;
    let lost =
        start(&room.store, Admission { host: Uuid::from_u128(2), ..admission(new_conversation(), "Lost") })
            .await;

    assert_eq!(room.store.recover(host()).await.unwrap(), 2);
    assert_eq!(room.store.recover(host()).await.unwrap(), 0);
    for (turn, status) in
        [(&mine, TurnStatus::Running), (&over, TurnStatus::Interrupted), (&lost, TurnStatus::Interrupted)]
    {
        assert_eq!(room.store.turn(&ada(), turn.turn).await.unwrap().unwrap().status, status);
    }
    assert_eq!(transcript(&room.store, lost.conversation).await[0].status, "interrupted");
    assert_eq!(room.store.commit(reply(&lost, "Late")).await.unwrap(), Ending::LeaseLost);
    start(&room.store, admission(Target::Existing(lost.conversation), "The lease is free")).await;
}
