//! More turns than a conversation, or the host, takes at once.

use super::*;

#[tokio::test]
async fn the_turns_of_a_conversation_run_one_after_the_other() {
    let mut stage = Stage::new().await;
    let (_, conversation) = created(&stage.exchange(says("Hello."), "Hello.").await);
    let first = stage.send(says_in(conversation, "First."));
    let asked = stage.upstream.next().await;
    let second = stage.send(says_in(conversation, "Second."));
    assert!(stage.upstream.is_idle());
    asked.reply("One.").await;
    completed(&all(first.await.unwrap().unwrap()).await);
    let asked = stage.upstream.next().await;
    assert!(asked.prompt().join("\n").contains("One."), "the second knows the first");
    asked.reply("Two.").await;
    completed(&all(second.await.unwrap().unwrap()).await);
}

#[tokio::test]
async fn whoever_finds_the_line_full_or_waits_too_long_is_told_when_to_come_back() {
    for limits in ["[turn]\nwaiting = 0", "[turn]\nwait = \"0s\""] {
        let mut stage = Stage::with(limits).await;
        let (_, conversation) = created(&stage.exchange(says("Hello."), "Hello.").await);
        let first = stage.send(says_in(conversation, "First."));
        let asked = stage.upstream.next().await;
        let busy = stage.turns.chat(says_in(conversation, "Second.")).await.unwrap_err();
        assert_eq!(busy.kind, Kind::ConversationBusy, "{limits}");
        assert!(busy.retry_after.is_some());
        asked.reply("One.").await;
        completed(&all(first.await.unwrap().unwrap()).await);
    }
}

#[tokio::test]
async fn a_host_at_its_bound_is_overloaded() {
    let mut stage = Stage::with("[turn]\nmax_concurrent = 1").await;
    let first = stage.send(says("First."));
    let asked = stage.upstream.next().await;
    let refused = stage.turns.chat(says("Second.")).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Overloaded);
    assert!(refused.retry_after.is_some());
    asked.reply("One.").await;
    completed(&all(first.await.unwrap().unwrap()).await);
}
