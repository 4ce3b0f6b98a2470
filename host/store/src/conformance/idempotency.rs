//! Requests with the same idempotency key have one turn, which is replayed, joined or run again.

use super::fixtures::*;

/// An admission with the key `k`, otherwise new each time, as a client's repeated request makes it.
fn keyed(target: Target) -> Admission {
    Admission { idempotency: key("k"), ..admission(target, "Hello") }
}

pub async fn a_completed_turn_is_replayed_and_not_run(store: &Arc<dyn Store>) {
    let first = start(store, keyed(new_conversation())).await;
    let kept = kept(store.commit(reply(&first, "Hi")).await);
    match admit(store, keyed(new_conversation())).await {
        AdmissionOutcome::Completed(turn) => {
            assert_eq!((turn.id, turn.reply), (first.turn, kept));
            assert_eq!(turn.response, Some(serde_json::json!({ "reply": "Hi" })));
        }
        other => panic!("{other:?}"),
    }
    let all = store.conversations(&ada(), Page { limit: 10, after: None }).await.unwrap();
    assert_eq!(all.items.len(), 1, "the second request made no conversation");
}

pub async fn a_key_tells_of_its_turn_without_an_admission(store: &Arc<dyn Store>) {
    assert_eq!(store.keyed(&ada(), "/chat", "k").await.unwrap(), None);
    let first = start(store, keyed(new_conversation())).await;
    let expected = |status| KeyedTurn {
        turn: first.turn,
        conversation: first.conversation,
        companion: "elara".into(),
        digest: keyed(new_conversation()).idempotency.unwrap().digest,
        status,
    };
    let found = store.keyed(&ada(), "/chat", "k").await.unwrap();
    assert_eq!(found, Some(expected(TurnStatus::Running)));
    kept(store.commit(reply(&first, "Hi")).await);
    let found = store.keyed(&ada(), "/chat", "k").await.unwrap();
    assert_eq!(found, Some(expected(TurnStatus::Completed)));
    for (owner, route, key) in
        [(owner("eve"), "/chat", "k"), (ada(), "/other", "k"), (ada(), "/chat", "other")]
    {
        assert_eq!(store.keyed(&owner, route, key).await.unwrap(), None);
    }
}

pub async fn a_request_that_is_not_to_be_resumed_is_told_that_it_was_seen_and_changes_nothing(
    store: &Arc<dyn Store>,
) {
    let once = |target| Admission { resume: false, ..keyed(target) };
    let first = start(store, once(new_conversation())).await;
    let elsewhere = start(store, admission(new_conversation(), "Hello")).await.conversation;
    for _ in 0..2 {
        for target in [new_conversation(), Target::Existing(elsewhere), Target::Existing(first.conversation)]
        {
            assert_eq!(admit(store, once(target)).await, AdmissionOutcome::Seen);
        }
        // And again when it has ended.
        kept(store.commit(reply(&first, "Hi")).await);
    }
    let all = store.conversations(&ada(), Page { limit: 10, after: None }).await.unwrap();
    assert_eq!(all.items.len(), 2);
    let other =
        Admission { idempotency: key("other"), resume: false, ..admission(new_conversation(), "Hello") };
    start(store, other).await;
}

pub async fn a_later_attempt_learns_which_reply_it_takes_the_place_of(store: &Arc<dyn Store>) {
    let first = start(store, keyed(new_conversation())).await;
    assert_eq!(first.kept, None);
    let fragment = kept(store.interrupt(interruption(&first, Some("H"))).await).unwrap();
    let second = start(store, keyed(new_conversation())).await;
    assert_eq!(second.kept, Some(fragment.id));
    let whole = kept(store.commit(reply(&second, "Hi")).await).unwrap();
    assert_eq!(whole.id, fragment.id);
}

pub async fn a_conversation_whose_companion_is_gone_gets_no_turn(store: &Arc<dyn Store>) {
    let first = start(store, keyed(new_conversation())).await;
    kept(store.fail(failure(&first)).await);
    let none = |admission| Admission { companions: Arc::default(), ..admission };
    let gone = AdmissionOutcome::CompanionGone { companion: "elara".into() };
    assert_eq!(admit(store, none(keyed(new_conversation()))).await, gone);
    assert_eq!(admit(store, none(admission(Target::Existing(first.conversation), "Hello"))).await, gone);
    assert_eq!(transcript(store, first.conversation).await.len(), 1, "nothing was stored");
}

pub async fn a_running_turn_is_joined(store: &Arc<dyn Store>) {
    let first = start(store, keyed(new_conversation())).await;
    let outcome = admit(store, Admission { host: Uuid::from_u128(2), ..keyed(new_conversation()) }).await;
    assert_eq!(
        outcome,
        AdmissionOutcome::Running { turn: first.turn, host: host(), companion: "elara".into() }
    );
}

pub async fn another_body_under_the_same_key_is_refused_however_the_turn_stands(store: &Arc<dyn Store>) {
    let other = || {
        let mut other = keyed(new_conversation());
        other.idempotency.as_mut().unwrap().digest = vec![8];
        other
    };
    let refused = AdmissionOutcome::OtherBody { companion: "elara".into() };
    let first = start(store, keyed(new_conversation())).await;
    assert_eq!(admit(store, other()).await, refused);
    kept(store.commit(reply(&first, "Hi")).await);
    assert_eq!(admit(store, other()).await, refused);
}

pub async fn an_earlier_turn_names_its_companion_also_to_a_request_that_may_not_talk_to_it(
    store: &Arc<dyn Store>,
) {
    let other_companion = |digest| {
        let id = ConversationId::new();
        let target = Target::New { id, companion: "two".into(), title: "A title".into() };
        let mut other = Admission { companions: Arc::new(["two".to_owned()].into()), ..keyed(target) };
        other.idempotency.as_mut().unwrap().digest = digest;
        other
    };
    let companion = || "elara".to_owned();
    let first = start(store, keyed(new_conversation())).await;
    assert_eq!(
        admit(store, other_companion(vec![7])).await,
        AdmissionOutcome::Running { turn: first.turn, host: host(), companion: companion() }
    );
    let refused = AdmissionOutcome::OtherBody { companion: companion() };
    assert_eq!(admit(store, other_companion(vec![8])).await, refused);
    kept(store.interrupt(interruption(&first, Some("H"))).await);
    let beyond = AdmissionOutcome::CompanionGone { companion: companion() };
    assert_eq!(admit(store, other_companion(vec![7])).await, beyond);
    assert_eq!(admit(store, other_companion(vec![8])).await, refused);
}

pub async fn a_key_is_its_owners_and_its_routes(store: &Arc<dyn Store>) {
    start(store, keyed(new_conversation())).await;
    for stranger in
        [owner("eve"), Owner { tenant: "other".into(), ..ada() }, Owner { issuer: "other".into(), ..ada() }]
    {
        start(store, Admission { owner: stranger, ..keyed(new_conversation()) }).await;
    }
    let mut elsewhere = keyed(new_conversation());
    elsewhere.idempotency.as_mut().unwrap().route = "/other".into();
    start(store, elsewhere).await;
}

pub async fn an_interrupted_turn_runs_again_under_its_id_and_its_reply_takes_the_fragments_place(
    store: &Arc<dyn Store>,
) {
    let first = start(store, keyed(new_conversation())).await;
    kept(store.interrupt(interruption(&first, Some("Once"))).await);
    // The conversation goes on before the client tries again.
    exchange(store, Target::Existing(first.conversation), "Meanwhile", "Indeed").await;

    let second = start(store, keyed(new_conversation())).await;
    assert_eq!((second.turn, second.attempt, second.created), (first.turn, 2, false));
    assert_eq!(second.conversation, first.conversation);
    assert!(second.epoch > first.epoch);
    assert_eq!(second.message.id, first.message.id);
    assert_eq!(second.message.status, "running");
    assert!(second.tail.is_empty(), "the past of the turn is what came before its message");
    let turn = store.turn(&ada(), first.turn).await.unwrap().unwrap();
    assert_eq!((turn.status, turn.attempt, turn.ended_at), (TurnStatus::Running, 2, None));

    kept(store.commit(reply(&second, "Once upon a time")).await);
    let messages = transcript(store, first.conversation).await;
    assert_eq!(
        seen(&messages),
        [
            (1, "user", "complete", "Hello"),
            (2, "assistant", "complete", "Once upon a time"),
            (3, "user", "complete", "Meanwhile"),
            (4, "assistant", "complete", "Indeed"),
        ]
    );
    assert_eq!(messages[2].parent, Some(messages[1].id));
}

pub async fn a_failed_turn_runs_again_and_its_message_is_not_doubled(store: &Arc<dyn Store>) {
    let first = start(store, keyed(new_conversation())).await;
    kept(store.fail(failure(&first)).await);
    let second = start(store, keyed(new_conversation())).await;
    assert_eq!((second.turn, second.attempt), (first.turn, 2));
    assert!(second.tail.is_empty());
    kept(store.commit(reply(&second, "Hi")).await);
    let messages = transcript(store, first.conversation).await;
    assert_eq!(seen(&messages), [(1, "user", "complete", "Hello"), (2, "assistant", "complete", "Hi")]);
    let turn = store.turn(&ada(), first.turn).await.unwrap().unwrap();
    assert_eq!((turn.status, turn.problem), (TurnStatus::Completed, None));
}

pub async fn a_fragment_goes_out_of_the_tail_when_its_turn_fails_in_the_end(store: &Arc<dyn Store>) {
    let first = start(store, keyed(new_conversation())).await;
    kept(store.interrupt(interruption(&first, Some("Once"))).await);
    let second = start(store, keyed(new_conversation())).await;
    kept(store.fail(failure(&second)).await);
    let next = start(store, admission(Target::Existing(first.conversation), "Next")).await;
    assert!(next.tail.is_empty(), "{:?}", next.tail);
}

pub async fn a_running_turn_whose_lease_ran_out_runs_again_and_its_first_runner_can_end_nothing(
    store: &Arc<dyn Store>,
) {
    let first = start(store, Admission { lease: OVER, ..keyed(new_conversation()) }).await;
    let second = start(store, keyed(new_conversation())).await;
    assert_eq!((second.turn, second.attempt), (first.turn, 2));
    assert_eq!(store.commit(reply(&first, "Late")).await.unwrap(), Ending::LeaseLost);
    assert_eq!(store.interrupt(interruption(&first, Some("L"))).await.unwrap(), Ending::LeaseLost);
    assert_eq!(store.fail(failure(&first)).await.unwrap(), Ending::LeaseLost);
    kept(store.commit(reply(&second, "In time")).await);
    assert_eq!(contents(&transcript(store, first.conversation).await), ["Hello", "In time"]);
}

pub async fn a_turn_that_would_run_again_waits_for_the_conversations_lease(store: &Arc<dyn Store>) {
    let first = start(store, keyed(new_conversation())).await;
    kept(store.fail(failure(&first)).await);
    start(store, admission(Target::Existing(first.conversation), "Me first")).await;
    assert!(matches!(admit(store, keyed(new_conversation())).await, AdmissionOutcome::Busy { .. }));
}

pub async fn a_key_past_its_time_is_a_new_one(store: &Arc<dyn Store>) {
    let mut forgotten = keyed(new_conversation());
    forgotten.idempotency = Some(Idempotency { ttl: OVER, ..forgotten.idempotency.unwrap() });
    let first = start(store, forgotten).await;
    let second = start(store, keyed(new_conversation())).await;
    assert_ne!(first.turn, second.turn);
    assert!(matches!(admit(store, keyed(new_conversation())).await, AdmissionOutcome::Running { .. }));
}

pub async fn only_a_turn_that_began_is_remembered(store: &Arc<dyn Store>) {
    let busy = start(store, admission(new_conversation(), "Hello")).await;
    let outcome = admit(store, keyed(Target::Existing(busy.conversation))).await;
    assert!(matches!(outcome, AdmissionOutcome::Busy { .. }), "{outcome:?}");
    kept(store.commit(reply(&busy, "Hi")).await);
    let started = start(store, keyed(Target::Existing(busy.conversation))).await;
    assert_eq!(started.attempt, 1);
}

pub async fn a_key_goes_with_its_conversation(store: &Arc<dyn Store>) {
    let first = start(store, keyed(new_conversation())).await;
    assert!(store.delete(&ada(), first.conversation).await.unwrap());
    let second = start(store, keyed(new_conversation())).await;
    assert_ne!(first.turn, second.turn);
}

pub async fn a_sweep_removes_keys_past_their_time_and_no_others(store: &Arc<dyn Store>) {
    let mut forgotten = keyed(new_conversation());
    forgotten.idempotency.as_mut().unwrap().ttl = OVER;
    forgotten.idempotency.as_mut().unwrap().key = "forgotten".into();
    start(store, forgotten).await;
    start(store, keyed(new_conversation())).await;
    assert_eq!(store.sweep().await.unwrap(), 1);
    assert_eq!(store.sweep().await.unwrap(), 0);
    assert!(matches!(admit(store, keyed(new_conversation())).await, AdmissionOutcome::Running { .. }));
}
