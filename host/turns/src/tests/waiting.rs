//! More turns at once than a conversation or the host allows.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn the_turns_of_a_conversation_run_one_after_the_other() {
    let mut host = TestHost::new().await;
    let (_, conversation) = created(&host.exchange(says("Hello."), "Hello.").await);
    let first = host.send(says_in(conversation, "First."));
    let asked = host.upstream.next().await;
    let second = host.send(says_in(conversation, "Second."));
    assert!(host.upstream.is_idle());
    asked.reply("One.").await;
    completed(&all(first.await.unwrap().unwrap()).await);
    let asked = host.upstream.next().await;
    assert!(asked.prompt().join("\n").contains("One."), "the second knows the first");
    asked.reply("Two.").await;
    completed(&all(second.await.unwrap().unwrap()).await);
}

#[tokio::test]
async fn a_turn_that_finds_the_queue_full_or_waits_too_long_is_told_when_to_retry() {
    let changes: [fn(&mut Options); 2] =
        [|options| options.max_waiting = 0, |options| options.max_wait = Duration::ZERO];
    for change in changes {
        let mut host = TestHost::with(change).await;
        let (_, conversation) = created(&host.exchange(says("Hello."), "Hello.").await);
        let first = host.send(says_in(conversation, "First."));
        let asked = host.upstream.next().await;
        let busy = host.turns.chat(says_in(conversation, "Second.")).await.unwrap_err();
        assert_eq!(busy.kind, Kind::ConversationBusy);
        assert!(busy.retry_after.is_some());
        asked.reply("One.").await;
        completed(&all(first.await.unwrap().unwrap()).await);
    }
}

#[tokio::test]
async fn a_host_at_its_bound_is_overloaded() {
    let mut host = TestHost::with(|options| options.max_concurrent = 1).await;
    let first = host.send(says("First."));
    let asked = host.upstream.next().await;
    let refused = host.turns.chat(says("Second.")).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Overloaded);
    assert!(refused.retry_after.is_some());
    asked.reply("One.").await;
    completed(&all(first.await.unwrap().unwrap()).await);
}

#[tokio::test]
async fn a_turn_that_has_waited_uses_the_plugins_of_now_and_one_that_runs_keeps_its_own() {
    let mut host = TestHost::new().await;
    let (_, conversation) = created(&host.exchange(says("Hello."), "Hello.").await);
    let first = host.send(says_in(conversation, "First."));
    let asked = host.upstream.next().await;
    let mut second = Box::pin(host.turns.chat(says_in(conversation, "Second.")));
    assert!(futures::poll!(&mut second).is_pending(), "it waits for the first");
    host.publish("asking").await;
    asked.reply("One.").await;
    let first = all(first.await.unwrap().unwrap()).await;
    assert_eq!(completed(&first)["timing"]["plugins"][1]["name"], "elara");
    let answer = async { host.upstream.next().await.reply("Two.").await };
    let (second, ()) = tokio::join!(second, answer);
    let second = all(second.unwrap()).await;
    assert_eq!(completed(&second)["timing"]["plugins"][1]["name"], "asking");
}

#[tokio::test]
async fn a_turn_that_waits_for_its_conversation_needs_no_slot_of_its_user_meanwhile() {
    let mut host = TestHost::with(|options| options.max_concurrent_per_user = Some(1)).await;
    let (_, conversation) = created(&host.exchange(says("Hello."), "Hello.").await);
    let first = host.send(says_in(conversation, "First."));
    let asked = host.upstream.next().await;
    let second = host.send(says_in(conversation, "Second."));
    until_waiting(&host.turns, conversation, 1).await;
    let other = host.turns.chat(says("Elsewhere.")).await.unwrap_err();
    assert_eq!(other.kind, Kind::Overloaded, "another conversation needs a slot");
    asked.reply("One.").await;
    completed(&all(first.await.unwrap().unwrap()).await);
    host.upstream.next().await.reply("Two.").await;
    completed(&all(second.await.unwrap().unwrap()).await);
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_makes_room_for_another() {
    let mut host = TestHost::with(|options| options.max_waiting = 1).await;
    let (_, conversation) = created(&host.exchange(says("Hello."), "Hello.").await);
    let first = host.send(says_in(conversation, "First."));
    let asked = host.upstream.next().await;
    let second = host.send(says_in(conversation, "Second."));
    until_waiting(&host.turns, conversation, 1).await;
    second.abort();
    // The place is given back by a task of its own.
    while host.turns.running() > 1 {
        tokio::task::yield_now().await;
    }
    let third = host.send(says_in(conversation, "Third."));
    until_waiting(&host.turns, conversation, 1).await;
    asked.reply("One.").await;
    completed(&all(first.await.unwrap().unwrap()).await);
    let asked = host.upstream.next().await;
    assert!(!asked.prompt().join("\n").contains("Second."));
    asked.reply("Three.").await;
    completed(&all(third.await.unwrap().unwrap()).await);
}

#[tokio::test]
async fn a_turn_that_waits_when_the_host_drains_is_refused() {
    let mut host = TestHost::new().await;
    let (_, conversation) = created(&host.exchange(says("Hello."), "Hello.").await);
    let first = host.send(says_in(conversation, "First."));
    let asked = host.upstream.next().await;
    let second = host.send(says_in(conversation, "Second."));
    until_waiting(&host.turns, conversation, 1).await;
    let (turns, far) = (host.turns.clone(), std::time::Instant::now() + Duration::from_secs(3600));
    let draining = tokio::spawn(async move { turns.drain(far, CancellationToken::new()).await });
    assert_eq!(second.await.unwrap().unwrap_err().kind, Kind::Draining);
    asked.reply("One.").await;
    completed(&all(first.await.unwrap().unwrap()).await);
    draining.await.unwrap();
}
