//! Questions that are sent again without an idempotency key after their turn was interrupted.

use std::time::Duration;

use super::*;

/// Sends a question in the conversation, lets the model say `said`, and cancels the turn.
async fn give_up(host: &mut TestHost, conversation: ConversationId, question: &str, said: Option<&str>) {
    let sent = host.send(says_in(conversation, question));
    let answer = host.upstream.next().await.stream();
    match said {
        Some(said) => {
            answer.say(said).await;
            let reader = sent.await.unwrap().unwrap();
            host.turns.cancel(&owner(), reader.turn()).await.unwrap();
        }
        None => {
            // The client leaves before the first content.
            sent.abort();
            answer.hung_up().await;
        }
    }
    while host.turns.running() > 0 {
        tokio::task::yield_now().await;
    }
}

/// How often the model is told the question, if it is asked now.
async fn asked_again(host: &mut TestHost, conversation: ConversationId, question: &str) -> usize {
    let sent = host.send(says_in(conversation, question));
    let asked = host.upstream.next().await;
    let count = asked.prompt().join("\n").matches(question.trim()).count();
    asked.reply("At seven.").await;
    completed(&all(sent.await.unwrap().unwrap()).await);
    count
}

async fn host() -> (TestHost, ConversationId) {
    let mut host = TestHost::with(|options| options.linger = Duration::ZERO).await;
    let (_, conversation) = created(&host.exchange(says("Hello."), "Hello.").await);
    (host, conversation)
}

fn contents(messages: &[MessageRecord]) -> Vec<(&str, &str)> {
    messages.iter().map(|message| (message.content.as_str(), message.status.as_str())).collect()
}

#[tokio::test]
async fn a_question_that_was_given_up_and_sent_again_is_once_in_the_prompt_and_twice_in_the_history() {
    let (mut host, conversation) = host().await;
    give_up(&mut host, conversation, "When is high tide?", None).await;
    give_up(&mut host, conversation, "When is high tide?\n", Some("At")).await;
    assert_eq!(asked_again(&mut host, conversation, "When is high tide?").await, 1);
    let messages = host.messages(conversation).await;
    assert_eq!(
        contents(&messages[2..]),
        [
            ("When is high tide?", "interrupted"),
            ("When is high tide?\n", "interrupted"),
            ("At", "interrupted"),
            ("When is high tide?", "complete"),
            ("At seven.", "complete"),
        ]
    );
}

#[tokio::test]
async fn another_question_after_an_interrupted_one_leaves_it_in_the_prompt() {
    let (mut host, conversation) = host().await;
    give_up(&mut host, conversation, "My cat is called Ada.", None).await;
    let sent = host.send(says_in(conversation, "What is my cat called?"));
    let asked = host.upstream.next().await;
    assert!(asked.prompt().join("\n").contains("My cat is called Ada."));
    asked.reply("Ada.").await;
    completed(&all(sent.await.unwrap().unwrap()).await);
}

#[tokio::test]
async fn a_question_that_was_answered_and_is_asked_again_stays_in_the_prompt() {
    let (mut host, conversation) = host().await;
    assert_eq!(asked_again(&mut host, conversation, "When is high tide?").await, 1);
    assert_eq!(asked_again(&mut host, conversation, "When is high tide?").await, 2);
}
