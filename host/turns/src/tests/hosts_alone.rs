//! Two hosts over one store that share no memory: turns of the other host are waited for and replayed.

use super::*;

/// Two hosts. Each has its memory for itself.
async fn two_hosts() -> (TestHost, Turns) {
    let one = TestHost::new().await;
    let other = one.another(Shared::in_process);
    (one, other)
}

#[tokio::test]
async fn a_repeated_request_waits_for_the_turn_of_another_host_and_gets_its_reply() {
    let (mut one, other) = two_hosts().await;
    let sent = one.send(keyed("k", "Hello."));
    let answer = one.upstream.next().await.stream();
    answer.say("Good ").await;
    let reader = sent.await.unwrap().unwrap();
    assert!(other.is_answered(&owner(), "k").await.unwrap());
    let repeated = send(&other, keyed("k", "Hello."));
    let read = other.events(&owner(), reader.turn(), None).await.unwrap().unwrap();
    let resumed = other.events(&owner(), reader.turn(), Some(0)).await.unwrap_err();
    assert_eq!(resumed.kind, Kind::EventsGone);
    answer.say("evening.").await;
    answer.finish("stop").await;
    let own = all(reader).await;
    for events in [all(repeated.await.unwrap().unwrap()).await, all(read).await] {
        assert_eq!(events.len(), 3, "created, one delta, completed");
        assert_eq!(created(&events), created(&own));
        assert_eq!(text(&events), "Good evening.");
        assert_eq!(completed(&events), completed(&own));
    }
    assert!(one.upstream.is_idle(), "the model was asked once");
}

#[tokio::test]
async fn a_turn_that_failed_on_another_host_is_run_again_by_the_request_that_waited_for_it() {
    let (mut one, other) = two_hosts().await;
    let failing = one.send(keyed("k", "Hello."));
    let asked = one.upstream.next().await;
    let repeated = send(&other, keyed("k", "Hello."));
    asked.refuse(500, None);
    assert_eq!(failing.await.unwrap().unwrap_err().kind, Kind::ModelUnavailable);
    one.upstream.next().await.reply("Good evening.").await;
    let events = all(repeated.await.unwrap().unwrap()).await;
    let (turn, conversation) = created(&events);
    assert_eq!(text(&events), "Good evening.");
    assert_eq!(one.record(turn).await.attempt, 2);
    assert_eq!(one.messages(conversation).await.len(), 2);
}

#[tokio::test]
async fn a_reader_is_told_that_the_turn_of_another_host_has_ended_without_a_reply() {
    let (mut one, other) = two_hosts().await;
    let sent = one.send(says("Hello."));
    let answer = one.upstream.next().await.stream();
    answer.say("Good ").await;
    let reader = sent.await.unwrap().unwrap();
    let elsewhere = other.events(&owner(), reader.turn(), None).await.unwrap().unwrap();
    one.turns.cancel(&owner(), reader.turn()).await.unwrap();
    let events = all(elsewhere).await;
    assert_eq!(failed(&events).kind, Kind::TurnInterrupted);
    assert_eq!(created(&events), created(&all(reader).await));
}

#[tokio::test]
async fn a_waiting_turn_begins_although_no_message_wakes_it() {
    let (mut one, other) = two_hosts().await;
    let (_, conversation) = created(&one.exchange(says("Hello."), "Hello.").await);
    let first = one.send(says_in(conversation, "First."));
    let asked = one.upstream.next().await;
    let second = send(&other, says_in(conversation, "Second."));
    until_waiting(&other, conversation, 1).await;
    asked.reply("One.").await;
    completed(&all(first.await.unwrap().unwrap()).await);
    one.upstream.next().await.reply("Two.").await;
    completed(&all(second.await.unwrap().unwrap()).await);
}

#[tokio::test]
async fn a_turn_is_cancelled_by_the_next_heartbeat_of_its_host() {
    let (mut one, other) = two_hosts().await;
    let sent = one.send(says("Hello."));
    let answer = one.upstream.next().await.stream();
    answer.say("Good ").await;
    let reader = sent.await.unwrap().unwrap();
    let (user, turn) = (owner(), reader.turn());
    let mut cancelling = Box::pin(other.cancel(&user, turn));
    assert!(
        futures::poll!(&mut cancelling).is_pending(),
        "the request reaches the store before the heartbeat"
    );
    let (turns, stop) = (one.turns.clone(), CancellationToken::new());
    let beating = tokio::spawn({
        let stop = stop.clone();
        async move { turns.keep_leases(stop).await }
    });
    assert_eq!(cancelling.await.unwrap().status, TurnStatus::Interrupted);
    answer.hung_up().await;
    assert_eq!(failed(&all(reader).await).kind, Kind::TurnCancelled);
    stop.cancel();
    beating.await.unwrap();
}
