//! Turns that end before their reply is complete.

use std::time::{Duration, Instant};

use super::upstream::StreamedReply;
use super::*;

/// A turn whose model has sent `Half a ` and waits for the test.
async fn half_a_reply(host: &mut TestHost, request: ChatRequest) -> (EventReader, TurnId, StreamedReply) {
    let sent = host.send(request);
    let answer = host.upstream.next().await.stream();
    answer.say("Half a ").await;
    let reader = sent.await.unwrap().unwrap();
    let turn = reader.turn();
    (reader, turn, answer)
}

async fn assert_half_is_kept(host: &TestHost, turn: TurnId) {
    let record = host.record(turn).await;
    assert_eq!(record.status, TurnStatus::Interrupted);
    let reply = record.reply.unwrap();
    assert_eq!((reply.content.as_str(), reply.status.as_str()), ("Half a ", "interrupted"));
}

#[tokio::test]
async fn a_cut_after_the_first_content_keeps_what_was_said() {
    let mut host = TestHost::new().await;
    let (reader, turn, answer) = half_a_reply(&mut host, says("Tell me.")).await;
    answer.cut().await;
    let events = all(reader).await;
    assert_eq!(text(&events), "Half a ");
    assert!(matches!(failed(&events).kind, Kind::ModelTruncated | Kind::ModelUnavailable), "{events:?}");
    assert_half_is_kept(&host, turn).await;
}

#[tokio::test]
async fn a_cancelled_turn_stops_its_model_and_keeps_what_was_said() {
    let mut host = TestHost::new().await;
    let (reader, turn, answer) = half_a_reply(&mut host, says("Tell me.")).await;
    let record = host.turns.cancel(&owner(), turn).await.unwrap();
    assert_eq!(record.status, TurnStatus::Interrupted);
    answer.hung_up().await;
    assert_eq!(failed(&all(reader).await).kind, Kind::TurnCancelled);
    assert_half_is_kept(&host, turn).await;
    let again = host.turns.cancel(&owner(), turn).await.unwrap();
    assert_eq!(again, record, "cancelling what has ended changes nothing");
}

#[tokio::test]
async fn another_user_can_neither_read_nor_cancel_a_turn() {
    let mut host = TestHost::new().await;
    let (_reader, turn, answer) = half_a_reply(&mut host, says("Tell me.")).await;
    let stranger = Owner { subject: "stranger".into(), ..owner() };
    assert_eq!(host.turns.cancel(&stranger, turn).await.unwrap_err().kind, Kind::TurnNotFound);
    assert_eq!(host.turns.events(&stranger, turn, None).await.unwrap_err().kind, Kind::TurnNotFound);
    answer.finish("stop").await;
}

#[tokio::test]
async fn a_turn_that_nobody_reads_is_cancelled_and_kept() {
    let mut host = TestHost::with(|options| options.linger = Duration::ZERO).await;
    let (reader, turn, answer) = half_a_reply(&mut host, says("Tell me.")).await;
    drop(reader);
    answer.hung_up().await;
    let mut late = host.turns.events(&owner(), turn, None).await.unwrap().unwrap();
    while late.next().await.is_some() {}
    assert_half_is_kept(&host, turn).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_content_ends_its_turn() {
    let mut host = TestHost::with(|options| options.linger = Duration::ZERO).await;
    let sent = host.send(says("Tell me."));
    let answer = host.upstream.next().await.stream();
    sent.abort();
    answer.hung_up().await;
}

#[tokio::test]
async fn a_reader_that_comes_back_resumes_where_it_left() {
    let mut host = TestHost::with(|options| options.linger = Duration::from_secs(3600)).await;
    let (mut reader, turn, answer) = half_a_reply(&mut host, says("Tell me.")).await;
    let seen = reader.next().await.unwrap();
    let last = seen.last().unwrap().sequence;
    drop(reader);
    answer.say("story.").await;
    answer.finish("stop").await;
    let rest = all(host.turns.events(&owner(), turn, Some(last)).await.unwrap().unwrap()).await;
    assert_eq!(rest[0].sequence, last + 1);
    assert_eq!(text(&seen) + &text(&rest), "Half a story.");
    completed(&rest);
}

#[tokio::test]
async fn the_events_of_a_turn_are_gone_after_their_time() {
    let mut host = TestHost::with(|options| options.log_ttl = Duration::ZERO).await;
    let (turn, _) = created(&host.exchange(says("Hello."), "Hello.").await);
    // Its log goes as the turn's task ends, just after the last event.
    while host.turns.running() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.turns.events(&owner(), turn, None).await.unwrap_err().kind, Kind::EventsGone);
}

#[tokio::test]
async fn a_turn_that_takes_too_long_is_ended_from_outside() {
    let mut host = TestHost::with(|options| options.timeout = Duration::from_secs(5)).await;
    let (reader, turn, answer) = half_a_reply(&mut host, says("Tell me.")).await;
    let events = all(reader).await;
    assert_eq!(failed(&events).kind, Kind::TurnTimeout);
    answer.hung_up().await;
    assert_half_is_kept(&host, turn).await;
}

#[tokio::test]
async fn draining_takes_no_new_turns_and_interrupts_those_that_do_not_end() {
    let mut host = TestHost::new().await;
    let (reader, turn, _answer) = half_a_reply(&mut host, says("Tell me.")).await;
    host.turns.drain(Instant::now(), CancellationToken::new()).await;
    assert_eq!(host.turns.running(), 0);
    assert_eq!(failed(&all(reader).await).kind, Kind::TurnInterrupted);
    assert_half_is_kept(&host, turn).await;
    assert_eq!(host.turns.chat(says("Hello?")).await.unwrap_err().kind, Kind::Draining);
}

#[tokio::test]
async fn draining_lets_a_turn_end_by_itself() {
    let mut host = TestHost::new().await;
    let (reader, turn, answer) = half_a_reply(&mut host, says("Tell me.")).await;
    let turns = host.turns.clone();
    let far = Instant::now() + Duration::from_secs(3600);
    let draining = tokio::spawn(async move { turns.drain(far, CancellationToken::new()).await });
    answer.finish("stop").await;
    draining.await.unwrap();
    completed(&all(reader).await);
    assert_eq!(host.record(turn).await.status, TurnStatus::Completed);
}

#[tokio::test]
async fn deleting_a_conversation_stops_the_model_of_its_turn_and_tells_its_readers() {
    let mut host = TestHost::new().await;
    let (mut reader, turn, answer) = half_a_reply(&mut host, says("Tell me.")).await;
    let (_, conversation) = created(&reader.next().await.unwrap());
    let (other_reader, other, other_answer) = half_a_reply(&mut host, says("Tell me more.")).await;
    assert!(host.store.delete(&owner(), conversation).await.unwrap());
    let stranger = Owner { subject: "stranger".into(), ..owner() };
    host.turns.conversation_deleted(&stranger, conversation);
    host.turns.conversation_deleted(&owner(), conversation);
    // The model's answer never ends, so only a cancellation hangs up.
    answer.hung_up().await;
    let events = all(reader).await;
    let problem = failed(&events);
    assert_eq!(problem.kind, Kind::ConversationNotFound);
    assert!(problem.detail.contains("deleted"), "{problem:?}");
    assert_eq!(host.turns.cancel(&owner(), turn).await.unwrap_err().kind, Kind::TurnNotFound);

    other_answer.finish("stop").await;
    completed(&all(other_reader).await);
    assert_eq!(host.record(other).await.status, TurnStatus::Completed);
}

#[tokio::test]
async fn a_turn_learns_at_its_end_that_another_process_has_deleted_its_conversation() {
    let mut host = TestHost::new().await;
    let (mut reader, turn, answer) = half_a_reply(&mut host, says("Tell me.")).await;
    let (_, conversation) = created(&reader.next().await.unwrap());
    assert!(host.store.delete(&owner(), conversation).await.unwrap());
    answer.finish("stop").await;
    let events = all(reader).await;
    let problem = failed(&events);
    assert_eq!(problem.kind, Kind::ConversationNotFound);
    assert!(problem.detail.contains("deleted"), "{problem:?}");
    assert_eq!(host.turns.cancel(&owner(), turn).await.unwrap_err().kind, Kind::TurnNotFound);
}

#[tokio::test]
async fn a_host_that_was_paused_for_longer_than_a_lease_gives_its_readers_nothing_more() {
    let mut host = TestHost::new().await;
    let (mut reader, turn, _answer) = half_a_reply(&mut host, says("Tell me.")).await;
    let mut seen = reader.next().await.unwrap();
    while text(&seen) != "Half a " {
        seen.extend(reader.next().await.unwrap());
    }
    let late = host.turns.events(&owner(), turn, None).await.unwrap().unwrap();
    // To the turn, a process that was stopped and one whose clock jumps are the same.
    tokio::time::pause();
    tokio::time::advance(crate::host::LEASE).await;
    tokio::time::resume();
    for (reader, sequence) in [(late, 0), (reader, seen.len() as u64)] {
        let rest = all(reader).await;
        assert_eq!(failed(&rest).kind, Kind::LeaseLost);
        assert_eq!(rest.iter().map(|event| event.sequence).collect::<Vec<_>>(), [sequence]);
    }
    while host.turns.running() > 0 {
        tokio::task::yield_now().await;
    }
    assert_half_is_kept(&host, turn).await;
}
