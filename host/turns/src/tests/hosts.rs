//! Two hosts over one store that share memory: what a client gets does not depend on the host that it asks.

use std::time::Duration;

use super::shared_memory::SharedMemory;
use super::upstream::StreamedReply;
use super::*;

/// Two hosts, and what they share.
struct TwoHosts {
    one: TestHost,
    other: Turns,
    memory: Arc<SharedMemory>,
}

impl TwoHosts {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let memory = Arc::new(SharedMemory::default());
        let share = |host| memory.of(host);
        let one = TestHost::start_sharing("elara", "[\"openai\"]", change, share).await;
        let other = one.another(share);
        Self { one, other, memory }
    }

    /// A turn on the first host whose model has said `Half a ` and waits for the test.
    async fn half_a_reply(&mut self, request: ChatRequest) -> (EventReader, TurnId, StreamedReply) {
        let sent = self.one.send(request);
        let answer = self.one.upstream.next().await.stream();
        answer.say("Half a ").await;
        let reader = sent.await.unwrap().unwrap();
        let turn = reader.turn();
        (reader, turn, answer)
    }
}

/// Reads until the reader has this text, and returns the events.
async fn read_until(reader: &mut EventReader, expected: &str) -> Vec<Arc<Event>> {
    let mut seen = Vec::new();
    while text(&seen) != expected {
        seen.extend(reader.next().await.unwrap());
    }
    seen
}

#[tokio::test]
async fn the_turns_of_a_conversation_run_in_the_order_in_which_they_came_to_any_host() {
    let mut hosts = TwoHosts::new().await;
    let (_, conversation) = created(&hosts.one.exchange(says("Hello."), "Hello.").await);
    let first = hosts.one.send(says_in(conversation, "First."));
    let asked = hosts.one.upstream.next().await;
    let second = send(&hosts.other, says_in(conversation, "Second."));
    until_waiting(&hosts.other, conversation, 1).await;
    let third = hosts.one.send(says_in(conversation, "Third."));
    until_waiting(&hosts.one.turns, conversation, 1).await;
    asked.reply("One.").await;
    completed(&all(first.await.unwrap().unwrap()).await);

    let asked = hosts.one.upstream.next().await;
    let prompt = asked.prompt().join("\n");
    assert!(prompt.contains("One.") && prompt.contains("Second.") && !prompt.contains("Third."), "{prompt}");
    asked.reply("Two.").await;
    completed(&all(second.await.unwrap().unwrap()).await);
    let asked = hosts.one.upstream.next().await;
    let prompt = asked.prompt().join("\n");
    assert!(prompt.contains("Two.") && prompt.contains("Third."), "{prompt}");
    asked.reply("Three.").await;
    completed(&all(third.await.unwrap().unwrap()).await);
}

#[tokio::test]
async fn a_repeated_request_joins_the_turn_that_another_host_runs() {
    let mut hosts = TwoHosts::new().await;
    let (reader, turn, answer) = hosts.half_a_reply(keyed("k", "Tell me.")).await;
    assert!(hosts.other.is_answered(&owner(), "k").await.unwrap());
    let joined = hosts.other.chat(keyed("k", "Tell me.")).await.unwrap();
    assert_eq!(joined.turn(), turn);
    let mismatch = hosts.other.chat(keyed("k", "Something else.")).await.unwrap_err();
    assert_eq!(mismatch.kind, Kind::IdempotencyMismatch);
    answer.say("story.").await;
    answer.finish("stop").await;
    let (own, joined) = (all(reader).await, all(joined).await);
    assert_eq!(text(&joined), "Half a story.");
    assert_eq!(joined, own, "the same events with the same numbers");
    assert!(hosts.one.upstream.is_idle(), "the model was asked once");
}

#[tokio::test]
async fn a_reader_resumes_on_another_host_where_it_left() {
    let mut hosts = TwoHosts::with(|options| options.linger = Duration::from_secs(3600)).await;
    let (mut reader, turn, answer) = hosts.half_a_reply(says("Tell me.")).await;
    let seen = read_until(&mut reader, "Half a ").await;
    let last = seen.last().unwrap().sequence;
    drop(reader);
    let resumed = hosts.other.events(&owner(), turn, Some(last)).await.unwrap().unwrap();
    answer.say("story.").await;
    answer.finish("stop").await;
    let rest = all(resumed).await;
    assert_eq!(rest[0].sequence, last + 1);
    assert_eq!(text(&seen) + &text(&rest), "Half a story.");
    completed(&rest);

    // The log can be read after the end of the turn.
    let end = rest.last().unwrap().sequence;
    assert!(hosts.other.events(&owner(), turn, Some(end)).await.unwrap().is_none(), "nothing follows");
    let unknown = hosts.other.events(&owner(), turn, Some(end + 1)).await.unwrap_err();
    assert_eq!(unknown.kind, Kind::InvalidRequest);
    let whole = all(hosts.other.events(&owner(), turn, None).await.unwrap().unwrap()).await;
    assert_eq!(whole, [seen, rest].concat());
}

#[tokio::test]
async fn nobody_reads_or_cancels_the_turn_of_another_user_through_another_host() {
    let mut hosts = TwoHosts::new().await;
    let (_reader, turn, answer) = hosts.half_a_reply(says("Tell me.")).await;
    let stranger = Owner { subject: "stranger".into(), ..owner() };
    assert_eq!(hosts.other.events(&stranger, turn, None).await.unwrap_err().kind, Kind::TurnNotFound);
    assert_eq!(hosts.other.cancel(&stranger, turn).await.unwrap_err().kind, Kind::TurnNotFound);
    answer.finish("stop").await;
}

#[tokio::test]
async fn a_turn_is_cancelled_from_another_host_and_keeps_what_was_said() {
    let mut hosts = TwoHosts::new().await;
    let (reader, turn, answer) = hosts.half_a_reply(says("Tell me.")).await;
    let mirrored = hosts.other.events(&owner(), turn, None).await.unwrap().unwrap();
    let record = hosts.other.cancel(&owner(), turn).await.unwrap();
    assert_eq!(record.status, TurnStatus::Interrupted);
    assert_eq!(record.reply.unwrap().content, "Half a ");
    answer.hung_up().await;
    assert_eq!(failed(&all(reader).await).kind, Kind::TurnCancelled);
    assert_eq!(failed(&all(mirrored).await).kind, Kind::TurnCancelled);
}

#[tokio::test]
async fn a_reader_on_another_host_keeps_a_turn_running() {
    let mut hosts = TwoHosts::with(|options| options.linger = Duration::ZERO).await;
    let (reader, turn, answer) = hosts.half_a_reply(says("Tell me.")).await;
    let elsewhere = hosts.other.events(&owner(), turn, None).await.unwrap().unwrap();
    let live = hosts.one.turns.host().registry.running_turn(turn).unwrap();
    while live.log.reader_count() < 2 {
        tokio::task::yield_now().await;
    }
    drop(reader);
    answer.say("story.").await;
    answer.finish("stop").await;
    let events = all(elsewhere).await;
    assert_eq!(text(&events), "Half a story.");
    completed(&events);
}

#[tokio::test]
async fn readers_of_one_turn_share_one_copy_which_goes_with_the_last_of_them() {
    let mut hosts = TwoHosts::new().await;
    let (_reader, turn, answer) = hosts.half_a_reply(says("Tell me.")).await;
    let first = hosts.other.events(&owner(), turn, None).await.unwrap().unwrap();
    let second = hosts.other.events(&owner(), turn, None).await.unwrap().unwrap();
    assert_eq!(hosts.other.running(), 1, "one task copies for both");
    drop((first, second));
    while hosts.other.running() > 0 {
        tokio::task::yield_now().await;
    }
    answer.finish("stop").await;
}

#[tokio::test]
async fn a_copy_whose_events_are_lost_ends_with_the_reply_of_the_store() {
    let mut hosts = TwoHosts::new().await;
    let (_reader, turn, answer) = hosts.half_a_reply(says("Tell me.")).await;
    let mut elsewhere = hosts.other.events(&owner(), turn, None).await.unwrap().unwrap();
    let seen = read_until(&mut elsewhere, "Half a ").await;
    hosts.memory.flush();
    answer.say("story.").await;
    answer.finish("stop").await;
    let rest = all(elsewhere).await;
    assert_eq!(text(&seen) + &text(&rest), "Half a story.");
    assert_eq!(completed(&rest)["reply"]["content"], "Half a story.");
    let sequences: Vec<u64> = seen.iter().chain(&rest).map(|event| event.sequence).collect();
    assert_eq!(sequences, (0..sequences.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn deleting_a_conversation_on_one_host_ends_its_turn_on_another() {
    let mut hosts = TwoHosts::new().await;
    let (mut reader, _, answer) = hosts.half_a_reply(says("Tell me.")).await;
    let seen = read_until(&mut reader, "Half a ").await;
    let (_, conversation) = created(&seen);
    assert!(hosts.other.delete_conversation(&owner(), conversation).await.unwrap());
    // The model's answer never ends, so only a cancellation hangs up.
    answer.hung_up().await;
    let events = all(reader).await;
    let problem = failed(&events);
    assert_eq!(problem.kind, Kind::ConversationNotFound);
    assert!(problem.detail.contains("deleted"), "{problem:?}");
    assert!(!hosts.other.delete_conversation(&owner(), conversation).await.unwrap());
}
