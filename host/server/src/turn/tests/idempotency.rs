//! The same request sent more than once.

use super::*;

#[tokio::test]
async fn a_repeated_request_joins_the_turn_that_runs() {
    let mut stage = Stage::new().await;
    let first = stage.send(keyed("k", "Hello."));
    let answer = stage.upstream.next().await.stream();
    let second = stage.send(keyed("k", "Hello."));
    answer.say("Good ").await;
    let first = first.await.unwrap().unwrap();
    let second = second.await.unwrap().unwrap();
    assert_eq!(first.turn(), second.turn());
    answer.say("evening.").await;
    answer.finish("stop").await;
    let events = all(first).await;
    assert_eq!(text(&events), "Good evening.");
    assert_eq!(completed(&all(second).await), completed(&events));
    assert!(stage.upstream.is_idle(), "the model was asked once");
}

#[tokio::test]
async fn a_request_that_was_answered_is_replayed() {
    let mut stage = Stage::new().await;
    let first = stage.exchange(keyed("k", "Hello."), "Good evening.").await;
    let again = all(stage.turns.chat(keyed("k", "Hello.")).await.unwrap()).await;
    assert_eq!(again.len(), 3, "created, one delta, completed");
    assert_eq!(created(&again), created(&first));
    assert_eq!(text(&again), "Good evening.");
    assert_eq!(completed(&again), completed(&first));
    let (_, conversation) = created(&first);
    assert_eq!(stage.messages(conversation).await.len(), 2);
}

#[tokio::test]
async fn a_key_belongs_to_one_request_while_it_runs_and_afterwards() {
    let mut stage = Stage::new().await;
    let first = stage.send(keyed("k", "Hello."));
    let asked = stage.upstream.next().await;
    let other = stage.turns.chat(keyed("k", "Goodbye.")).await.unwrap_err();
    assert_eq!(other.kind, Kind::IdempotencyMismatch);
    asked.reply("Good evening.").await;
    completed(&all(first.await.unwrap().unwrap()).await);
    let other = stage.turns.chat(keyed("k", "Goodbye.")).await.unwrap_err();
    assert_eq!(other.kind, Kind::IdempotencyMismatch);
}

#[tokio::test]
async fn a_turn_that_failed_is_run_again_under_its_id_with_the_message_once() {
    let mut stage = Stage::new().await;
    let failing = stage.send(keyed("k", "Hello."));
    stage.upstream.next().await.refuse(500, None);
    assert_eq!(failing.await.unwrap().unwrap_err().kind, Kind::ModelUnavailable);

    let events = stage.exchange(keyed("k", "Hello."), "Good evening.").await;
    let (turn, conversation) = created(&events);
    let record = stage.record(turn).await;
    assert_eq!((record.attempt, record.status), (2, TurnStatus::Completed));
    let messages = stage.messages(conversation).await;
    let contents: Vec<_> = messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(contents, ["Hello.", "Good evening."]);
}

#[tokio::test]
async fn a_turn_with_a_key_waits_longer_for_its_reader() {
    let mut stage = Stage::with("[turn]\nlinger = \"0s\"\nlinger_keyed = \"1h\"").await;
    let sent = stage.send(keyed("k", "Hello."));
    let answer = stage.upstream.next().await.stream();
    answer.say("Good ").await;
    drop(sent.await.unwrap().unwrap());
    let joined = stage.turns.chat(keyed("k", "Hello.")).await.unwrap();
    answer.say("evening.").await;
    answer.finish("stop").await;
    assert_eq!(text(&all(joined).await), "Good evening.");
}

#[tokio::test]
async fn an_answered_request_is_replayed_while_its_conversation_is_busy() {
    let mut stage = Stage::with("[turn]\nwaiting = 0").await;
    let first = stage.exchange(keyed("k", "Hello."), "Good evening.").await;
    let (_, conversation) = created(&first);
    let _busy = stage.send(says_in(conversation, "Tell me more."));
    let _asked = stage.upstream.next().await;
    let again = all(stage.turns.chat(keyed("k", "Hello.")).await.unwrap()).await;
    assert_eq!(completed(&again), completed(&first));
    let other = stage.turns.chat(keyed("k", "Goodbye.")).await.unwrap_err();
    assert_eq!(other.kind, Kind::IdempotencyMismatch);
}

#[tokio::test]
async fn an_answered_request_is_replayed_while_the_host_is_full() {
    let mut stage = Stage::with("[turn]\nmax_concurrent = 1").await;
    let first = stage.exchange(keyed("k", "Hello."), "Good evening.").await;
    let _full = stage.send(says("Tell me more."));
    let _asked = stage.upstream.next().await;
    let again = all(stage.turns.chat(keyed("k", "Hello.")).await.unwrap()).await;
    assert_eq!(completed(&again), completed(&first));
    let other = stage.turns.chat(keyed("k", "Goodbye.")).await.unwrap_err();
    assert_eq!(other.kind, Kind::IdempotencyMismatch);
}

#[tokio::test]
async fn a_turn_that_is_run_again_waits_for_the_conversation_that_it_began() {
    let mut stage = Stage::new().await;
    let failing = stage.send(keyed("k", "Hello."));
    let asked = stage.upstream.next().await.stream();
    asked.say("Good ").await;
    asked.cut().await;
    let events = all(failing.await.unwrap().unwrap()).await;
    let (_, conversation) = created(&events);

    let busy = stage.send(says_in(conversation, "And?"));
    let asked = stage.upstream.next().await;
    let mut again = stage.send(keyed("k", "Hello."));
    assert!(futures::poll!(&mut again).is_pending());
    asked.reply("Nothing.").await;
    completed(&all(busy.await.unwrap().unwrap()).await);
    stage.upstream.next().await.reply("Good evening.").await;
    completed(&all(again.await.unwrap().unwrap()).await);
    let messages = stage.messages(conversation).await;
    let contents: Vec<_> = messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(contents, ["Hello.", "Good evening.", "And?", "Nothing."]);
}

#[tokio::test]
async fn events_of_one_attempt_do_not_go_on_in_the_next() {
    let mut stage = Stage::new().await;
    let failing = stage.send(keyed("k", "Hello."));
    stage.upstream.next().await.refuse(500, None);
    failing.await.unwrap().unwrap_err();
    let events = stage.exchange(keyed("k", "Hello."), "Good evening.").await;
    let (turn, _) = created(&events);
    let resumed = stage.turns.events(&owner(), turn, Some(1)).await.unwrap_err();
    assert_eq!(resumed.kind, Kind::EventsGone);
    let whole = all(stage.turns.events(&owner(), turn, None).await.unwrap().unwrap()).await;
    assert_eq!(whole.len(), events.len());
}
