//! The same request sent more than once.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn a_repeated_request_joins_the_turn_that_runs() {
    let mut host = TestHost::new().await;
    let first = host.send(keyed("k", "Hello."));
    let answer = host.upstream.next().await.stream();
    let second = host.send(keyed("k", "Hello."));
    answer.say("Good ").await;
    let first = first.await.unwrap().unwrap();
    let second = second.await.unwrap().unwrap();
    assert_eq!(first.turn(), second.turn());
    answer.say("evening.").await;
    answer.finish("stop").await;
    let events = all(first).await;
    assert_eq!(text(&events), "Good evening.");
    assert_eq!(completed(&all(second).await), completed(&events));
    assert!(host.upstream.is_idle(), "the model was asked once");
}

#[tokio::test]
async fn a_request_that_was_answered_is_replayed() {
    let mut host = TestHost::new().await;
    let first = host.exchange(keyed("k", "Hello."), "Good evening.").await;
    let again = all(host.turns.chat(keyed("k", "Hello.")).await.unwrap()).await;
    assert_eq!(again.len(), 3, "created, one delta, completed");
    assert_eq!(created(&again), created(&first));
    assert_eq!(text(&again), "Good evening.");
    assert_eq!(completed(&again), completed(&first));
    let (_, conversation) = created(&first);
    assert_eq!(host.messages(conversation).await.len(), 2);
}

#[tokio::test]
async fn a_key_belongs_to_one_request_during_the_turn_and_after_it() {
    let mut host = TestHost::new().await;
    let first = host.send(keyed("k", "Hello."));
    let asked = host.upstream.next().await;
    let other = host.turns.chat(keyed("k", "Goodbye.")).await.unwrap_err();
    assert_eq!(other.kind, Kind::IdempotencyMismatch);
    asked.reply("Good evening.").await;
    completed(&all(first.await.unwrap().unwrap()).await);
    let other = host.turns.chat(keyed("k", "Goodbye.")).await.unwrap_err();
    assert_eq!(other.kind, Kind::IdempotencyMismatch);
}

#[tokio::test]
async fn a_turn_that_failed_is_run_again_under_its_id_with_the_message_once() {
    let mut host = TestHost::new().await;
    let failing = host.send(keyed("k", "Hello."));
    host.upstream.next().await.refuse(500, None);
    assert_eq!(failing.await.unwrap().unwrap_err().kind, Kind::ModelUnavailable);

    let events = host.exchange(keyed("k", "Hello."), "Good evening.").await;
    let (turn, conversation) = created(&events);
    let record = host.record(turn).await;
    assert_eq!((record.attempt, record.status), (2, TurnStatus::Completed));
    let messages = host.messages(conversation).await;
    let contents: Vec<_> = messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(contents, ["Hello.", "Good evening."]);
}

#[tokio::test]
async fn a_turn_with_a_key_waits_longer_for_its_reader() {
    let mut host = TestHost::with(|options| {
        options.linger = Duration::ZERO;
        options.linger_keyed = Duration::from_secs(3600);
    })
    .await;
    let sent = host.send(keyed("k", "Hello."));
    let answer = host.upstream.next().await.stream();
    answer.say("Good ").await;
    drop(sent.await.unwrap().unwrap());
    let joined = host.turns.chat(keyed("k", "Hello.")).await.unwrap();
    answer.say("evening.").await;
    answer.finish("stop").await;
    assert_eq!(text(&all(joined).await), "Good evening.");
}

#[tokio::test]
async fn an_answered_request_is_replayed_while_its_conversation_is_busy() {
    let mut host = TestHost::with(|options| options.max_waiting = 0).await;
    let first = host.exchange(keyed("k", "Hello."), "Good evening.").await;
    let (_, conversation) = created(&first);
    let _busy = host.send(says_in(conversation, "Tell me more."));
    let _asked = host.upstream.next().await;
    let again = all(host.turns.chat(keyed("k", "Hello.")).await.unwrap()).await;
    assert_eq!(completed(&again), completed(&first));
    let other = host.turns.chat(keyed("k", "Goodbye.")).await.unwrap_err();
    assert_eq!(other.kind, Kind::IdempotencyMismatch);
}

#[tokio::test]
async fn an_answered_request_is_replayed_while_the_host_is_full() {
    let mut host = TestHost::with(|options| options.max_concurrent = 1).await;
    let first = host.exchange(keyed("k", "Hello."), "Good evening.").await;
    let _full = host.send(says("Tell me more."));
    let _asked = host.upstream.next().await;
    let again = all(host.turns.chat(keyed("k", "Hello.")).await.unwrap()).await;
    assert_eq!(completed(&again), completed(&first));
    let other = host.turns.chat(keyed("k", "Goodbye.")).await.unwrap_err();
    assert_eq!(other.kind, Kind::IdempotencyMismatch);
}

#[tokio::test]
async fn a_turn_that_is_run_again_waits_for_the_conversation_that_it_began() {
    let mut host = TestHost::new().await;
    let failing = host.send(keyed("k", "Hello."));
    let asked = host.upstream.next().await.stream();
    asked.say("Good ").await;
    asked.cut().await;
    let events = all(failing.await.unwrap().unwrap()).await;
    let (_, conversation) = created(&events);

    let busy = host.send(says_in(conversation, "And?"));
    let asked = host.upstream.next().await;
    let mut again = host.send(keyed("k", "Hello."));
    assert!(futures::poll!(&mut again).is_pending());
    asked.reply("Nothing.").await;
    completed(&all(busy.await.unwrap().unwrap()).await);
    host.upstream.next().await.reply("Good evening.").await;
    completed(&all(again.await.unwrap().unwrap()).await);
    let messages = host.messages(conversation).await;
    let contents: Vec<_> = messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(contents, ["Hello.", "Good evening.", "And?", "Nothing."]);
}

#[tokio::test]
async fn a_reader_of_one_attempt_can_not_resume_in_the_next() {
    let mut host = TestHost::new().await;
    let failing = host.send(keyed("k", "Hello."));
    host.upstream.next().await.refuse(500, None);
    failing.await.unwrap().unwrap_err();
    let events = host.exchange(keyed("k", "Hello."), "Good evening.").await;
    let (turn, _) = created(&events);
    let resumed = host.turns.events(&owner(), turn, Some(1)).await.unwrap_err();
    assert_eq!(resumed.kind, Kind::EventsGone);
    let whole = all(host.turns.events(&owner(), turn, None).await.unwrap().unwrap()).await;
    assert_eq!(whole.len(), events.len());
}

#[tokio::test]
async fn a_turn_with_a_companion_that_the_api_key_is_not_for_is_neither_joined_nor_replayed() {
    let mut host = TestHost::new().await;
    let restricted =
        |request| ChatRequest { allowed_companions: Some(["other".to_owned()].into()), ..request };
    let first = host.send(keyed("k", "Hello."));
    let asked = host.upstream.next().await;
    let joined = host.turns.chat(restricted(keyed("k", "Hello."))).await.unwrap_err();
    assert_eq!(joined.kind, Kind::ConversationNotFound);
    // Another body must not tell that the key is in use either.
    let other_body = host.turns.chat(restricted(keyed("k", "Goodbye."))).await.unwrap_err();
    assert_eq!(other_body, joined);
    asked.reply("Good evening.").await;
    let (_, conversation) = created(&all(first.await.unwrap().unwrap()).await);
    let replayed = host.turns.chat(restricted(keyed("k", "Hello."))).await.unwrap_err();
    assert_eq!(replayed, joined);
    let other_body = host.turns.chat(restricted(keyed("k", "Goodbye."))).await.unwrap_err();
    assert_eq!(other_body, joined);
    // Without an idempotency key, the conversation is an unknown one, whatever else the request names.
    for model in [None, Some("nothing".to_owned())] {
        let request = ChatRequest { model, ..restricted(says_in(conversation, "Again.")) };
        assert_eq!(host.turns.chat(request).await.unwrap_err().kind, Kind::ConversationNotFound);
    }
    assert!(host.upstream.is_idle(), "the model was asked once");
}
