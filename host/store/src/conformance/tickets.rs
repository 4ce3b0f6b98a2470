//! Turns that wait for their conversation have tickets, and begin in the order of these, whichever hosts they wait on.

use super::fixtures::*;

/// An admission that may wait, as one of up to four.
fn patient(id: ConversationId, host: Uuid, content: &str) -> Admission {
    Admission {
        host,
        waiting: Some(Waiting { max: 4, ttl: LONG }),
        ..admission(Target::Existing(id), content)
    }
}

/// How a busy conversation answers: whether the turn waits, and for how long the lease or a ticket lasts.
async fn is_waiting(store: &Arc<dyn Store>, admission: &Admission) -> bool {
    match admit(store, admission.clone()).await {
        AdmissionOutcome::Busy { retry_after, is_waiting } => {
            assert!(retry_after <= LONG && retry_after > LONG / 2, "{retry_after:?}");
            is_waiting
        }
        other => panic!("{other:?}"),
    }
}

fn waiter(admission: &Admission) -> Option<Waiter> {
    Some(Waiter { host: admission.host, turn: admission.turn })
}

/// A conversation with a running turn.
async fn busy(store: &Arc<dyn Store>) -> Started {
    start(store, admission(new_conversation(), "First")).await
}

pub async fn turns_begin_in_the_order_of_their_tickets_over_two_hosts(store: &Arc<dyn Store>) {
    let mut running = busy(store).await;
    let id = running.conversation;
    let queue = [(host(), "One"), (other_host(), "Two"), (host(), "Three")];
    let queue = queue.map(|(host, content)| patient(id, host, content));
    for admission in &queue {
        assert!(is_waiting(store, admission).await);
    }
    for (place, admission) in queue.iter().enumerate() {
        assert_eq!(next(store.commit(reply(&running, "Done")).await), waiter(admission));
        for later in queue[place + 1..].iter().rev() {
            assert!(is_waiting(store, later).await, "although the lease is free");
        }
        let started = start(store, admission.clone()).await;
        assert_eq!((started.turn, &started.message.content), (admission.turn, &admission.message.content));
        running = started;
    }
    assert_eq!(next(store.commit(reply(&running, "Done")).await), None);
}

pub async fn every_end_of_a_turn_names_who_waits_first(store: &Arc<dyn Store>) {
    let first = busy(store).await;
    let second = patient(first.conversation, other_host(), "Two");
    assert!(is_waiting(store, &second).await);
    assert_eq!(next(store.interrupt(interruption(&first, Some("F"))).await), waiter(&second));
    assert_eq!(next(store.interrupt(interruption(&first, Some("F"))).await), waiter(&second), "again");
    let running = start(store, second).await;
    let third = patient(first.conversation, host(), "Three");
    assert!(is_waiting(store, &third).await);
    assert_eq!(next(store.fail(failure(&running)).await), waiter(&third));
    // Others wait for their own conversations.
    let elsewhere = busy(store).await;
    assert_eq!(next(store.commit(reply(&elsewhere, "Done")).await), None);
}

pub async fn no_more_turns_wait_than_may_and_each_counts_once(store: &Arc<dyn Store>) {
    let running = busy(store).await;
    let waiting =
        ["One", "Two", "Three", "Four"].map(|content| patient(running.conversation, host(), content));
    for _ in 0..2 {
        for admission in &waiting {
            assert!(is_waiting(store, admission).await);
        }
    }
    let last = patient(running.conversation, other_host(), "Five");
    assert!(!is_waiting(store, &last).await, "the queue is full");
    assert_eq!(next(store.commit(reply(&running, "Done")).await), waiter(&waiting[0]));
    assert!(!is_waiting(store, &last).await, "they wait although the lease is free");
    start(store, waiting[0].clone()).await;
    assert!(is_waiting(store, &last).await);
    let none = Admission {
        waiting: Some(Waiting { max: 0, ttl: LONG }),
        ..patient(running.conversation, host(), "None")
    };
    assert!(!is_waiting(store, &none).await);
}

pub async fn a_ticket_that_is_not_kept_is_passed_over_and_takes_no_place(store: &Arc<dyn Store>) {
    let running = busy(store).await;
    let id = running.conversation;
    let brief = |content: &str| Admission {
        waiting: Some(Waiting { max: 1, ttl: OVER }),
        ..patient(id, other_host(), content)
    };
    let gone = brief("Gone");
    assert!(is_waiting(store, &gone).await);
    assert!(is_waiting(store, &brief("Gone, too")).await, "the ticket before it is dead");
    let waits = patient(id, host(), "Waits");
    assert!(is_waiting(store, &waits).await);
    // One that is repeated too late has lost its place.
    let late = Admission { waiting: waits.waiting, ..gone };
    assert!(is_waiting(store, &late).await);
    assert_eq!(next(store.commit(reply(&running, "Done")).await), waiter(&waits));
    assert!(is_waiting(store, &late).await);
    let running = start(store, waits).await;
    assert_eq!(next(store.commit(reply(&running, "Done")).await), waiter(&late));
    start(store, late).await;
}

pub async fn a_repeated_admission_keeps_its_ticket_alive(store: &Arc<dyn Store>) {
    let running = busy(store).await;
    let first = patient(running.conversation, host(), "One");
    assert!(is_waiting(store, &first).await);
    assert!(is_waiting(store, &patient(running.conversation, host(), "Two")).await);
    let brief = Admission { waiting: Some(Waiting { max: 4, ttl: LONG / 10 * 9 }), ..first.clone() };
    assert!(is_waiting(store, &brief).await);
    assert_eq!(next(store.commit(reply(&running, "Done")).await), waiter(&first), "it kept its place");
    // The second one is told for how long the first can keep it from beginning.
    match admit(store, patient(running.conversation, host(), "Three")).await {
        AdmissionOutcome::Busy { retry_after, .. } => {
            assert!(retry_after <= LONG / 10 * 9, "{retry_after:?}")
        }
        other => panic!("{other:?}"),
    }
    start(store, first).await;
}

pub async fn a_turn_that_may_not_wait_is_refused_while_others_do(store: &Arc<dyn Store>) {
    let running = busy(store).await;
    let first = patient(running.conversation, host(), "One");
    assert!(is_waiting(store, &first).await);
    let hasty = admission(Target::Existing(running.conversation), "Hasty");
    assert!(!is_waiting(store, &hasty).await);
    kept(store.commit(reply(&running, "Done")).await);
    assert!(!is_waiting(store, &hasty).await, "although the lease is free");
    let running = start(store, first).await;

    // Who may not wait any longer has no ticket any longer.
    let second = patient(running.conversation, host(), "Two");
    assert!(is_waiting(store, &second).await);
    assert!(!is_waiting(store, &Admission { waiting: None, ..second }).await);
    assert_eq!(next(store.commit(reply(&running, "Done")).await), None);
    start(store, hasty).await;
}

pub async fn a_turn_that_begins_has_no_ticket_any_more(store: &Arc<dyn Store>) {
    let running = busy(store).await;
    let second = patient(running.conversation, host(), "Two");
    assert!(is_waiting(store, &second).await);
    kept(store.commit(reply(&running, "Done")).await);
    let running = start(store, second.clone()).await;
    assert_eq!(start(store, second).await, running, "the answer was lost, and it asks again");
    assert_eq!(next(store.commit(reply(&running, "Done")).await), None);
    start(store, admission(Target::Existing(running.conversation), "At once")).await;
}

pub async fn who_stops_waiting_gives_the_place_to_the_next(store: &Arc<dyn Store>) {
    let running = busy(store).await;
    let id = running.conversation;
    let [first, second] = ["One", "Two"].map(|content| patient(id, host(), content));
    assert!(is_waiting(store, &first).await);
    assert!(is_waiting(store, &second).await);
    store.stop_waiting(id, TurnId::new()).await.unwrap();
    for _ in 0..2 {
        store.stop_waiting(id, first.turn).await.unwrap();
    }
    assert_eq!(next(store.commit(reply(&running, "Done")).await), waiter(&second));
    start(store, second).await;
}

pub async fn requests_that_are_joined_replayed_or_refused_for_another_reason_take_no_ticket(
    store: &Arc<dyn Store>,
) {
    let keyed = |key_of: &str| Admission {
        idempotency: key(key_of),
        ..patient(ConversationId::new(), host(), "Hello")
    };
    let running = start(store, Admission { target: new_conversation(), ..keyed("k") }).await;
    let id = running.conversation;
    let outcome = admit(store, keyed("k")).await;
    assert!(matches!(outcome, AdmissionOutcome::Running { .. }), "{outcome:?}");
    let outcome = admit(store, Admission { resume: false, ..keyed("k") }).await;
    assert_eq!(outcome, AdmissionOutcome::Seen);
    let mut other_body = keyed("k");
    other_body.idempotency.as_mut().unwrap().digest = vec![8];
    let outcome = admit(store, other_body).await;
    assert!(matches!(outcome, AdmissionOutcome::OtherBody { .. }), "{outcome:?}");
    let outcome = admit(store, Admission { owner: owner("eve"), ..patient(id, host(), "Mine?") }).await;
    assert_eq!(outcome, AdmissionOutcome::UnknownConversation);
    let outcome =
        admit(store, Admission { companion: Some("dorian".into()), ..patient(id, host(), "?") }).await;
    assert!(matches!(outcome, AdmissionOutcome::OtherCompanion { .. }), "{outcome:?}");
    let outcome = admit(store, Admission { companions: Arc::default(), ..patient(id, host(), "?") }).await;
    assert!(matches!(outcome, AdmissionOutcome::CompanionGone { .. }), "{outcome:?}");

    assert_eq!(next(store.commit(reply(&running, "Hi")).await), None);
    let outcome = admit(store, keyed("k")).await;
    assert!(matches!(outcome, AdmissionOutcome::Completed(_)), "{outcome:?}");
    start(store, admission(Target::Existing(id), "At once")).await;
}

pub async fn requests_to_run_one_turn_again_wait_and_the_rest_join_it(store: &Arc<dyn Store>) {
    let keyed = || Admission {
        target: new_conversation(),
        idempotency: key("k"),
        ..patient(ConversationId::new(), host(), "Hello")
    };
    let lost = start(store, keyed()).await;
    kept(store.fail(failure(&lost)).await);
    let running = start(store, admission(Target::Existing(lost.conversation), "Another")).await;
    let [first, second, third] = [keyed(), keyed(), keyed()];
    for admission in [&first, &second, &third] {
        assert!(is_waiting(store, admission).await);
    }
    // Its target is a conversation that was never made.
    store.stop_waiting(second.target.conversation(), second.turn).await.unwrap();
    assert_eq!(next(store.commit(reply(&running, "Done")).await), waiter(&first));
    assert!(is_waiting(store, &third).await, "the first one begins before it");
    let again = start(store, first).await;
    assert_eq!((again.turn, again.attempt), (lost.turn, 2));
    let outcome = admit(store, third).await;
    assert!(matches!(outcome, AdmissionOutcome::Running { .. }), "{outcome:?}");
    assert_eq!(next(store.commit(reply(&again, "Done")).await), None, "neither waits any more");
}

pub async fn a_turn_waits_for_one_conversation(store: &Arc<dyn Store>) {
    let [first, second] = [busy(store).await, busy(store).await];
    let waits = patient(first.conversation, host(), "Here");
    assert!(is_waiting(store, &waits).await);
    let waits = Admission { target: Target::Existing(second.conversation), ..waits };
    assert!(is_waiting(store, &waits).await);
    assert_eq!(next(store.commit(reply(&first, "Done")).await), None);
    assert_eq!(next(store.commit(reply(&second, "Done")).await), waiter(&waits));
}

pub async fn tickets_go_with_their_conversation(store: &Arc<dyn Store>) {
    let running = busy(store).await;
    let id = running.conversation;
    let waits = patient(id, host(), "Waits");
    assert!(is_waiting(store, &waits).await);
    assert!(store.delete(&ada(), id).await.unwrap());
    assert_eq!(admit(store, waits).await, AdmissionOutcome::UnknownConversation);
    while store.sweep().await.unwrap() > 0 {}
    let target = Target::New { id, companion: "elara".into(), title: "Again".into() };
    let again = start(store, admission(target, "Hello")).await;
    assert_eq!(next(store.commit(reply(&again, "Hi")).await), None);
    start(store, admission(Target::Existing(id), "At once")).await;
}

pub async fn a_lease_that_expired_or_was_recovered_goes_to_the_oldest_ticket(store: &Arc<dyn Store>) {
    for is_recovered in [false, true] {
        let lost = busy(store).await;
        let [first, second] = ["One", "Two"].map(|content| patient(lost.conversation, host(), content));
        assert!(is_waiting(store, &first).await);
        assert!(is_waiting(store, &second).await);
        expire(store, &lost).await;
        if is_recovered {
            assert_eq!(store.recover(host()).await.unwrap(), 1);
        }
        assert!(is_waiting(store, &second).await);
        let hasty = admission(Target::Existing(lost.conversation), "Hasty");
        assert!(!is_waiting(store, &hasty).await);
        let running = start(store, first).await;
        let turn = store.turn(&ada(), lost.turn).await.unwrap().unwrap();
        assert_eq!(turn.status, TurnStatus::Interrupted);
        assert_eq!(next(store.commit(reply(&running, "Done")).await), waiter(&second));
    }
}
