//! Every call of a model is debited before it begins and corrected after it, whoever makes it and however it ends.

use std::time::Duration;

use masque_store::BudgetAccount;

use super::*;

/// Of the scripted model's own reports: see `StreamedReply::finish`.
const REPORTED: (u64, u64) = (12, 3);

fn account(tokens_per_day: Option<u64>) -> BudgetAccount {
    BudgetAccount { name: "key:1".into(), tokens_per_day }
}

/// A request that an account with this budget pays for.
fn paid(message: &str, tokens_per_day: Option<u64>) -> ChatRequest {
    ChatRequest { accounts: vec![account(tokens_per_day)], ..says(message) }
}

async fn spent(host: &TestHost) -> (u64, u64) {
    let spent = host.turns.budgets().spent("key:1").await.unwrap();
    (spent.input_tokens, spent.output_tokens)
}

/// Waits for the count of a call that nobody waits for.
async fn spent_when(host: &TestHost, is_right: impl Fn((u64, u64)) -> bool) -> (u64, u64) {
    loop {
        let spent = spent(host).await;
        if is_right(spent) {
            return spent;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_call_is_debited_before_it_begins_and_corrected_after_it() {
    let mut host = TestHost::new().await;
    let sent = host.send(paid("Hello.", None));
    let asked = host.upstream.next().await;
    let (input, output) = spent(&host).await;
    assert!(input > REPORTED.0 && output > REPORTED.1, "{input} {output}: the model has not answered yet");
    asked.reply("Hello.").await;
    completed(&all(sent.await.unwrap().unwrap()).await);
    assert_eq!(spent(&host).await, REPORTED, "as the model reported");
}

#[tokio::test]
async fn a_turn_that_fails_is_charged_for_its_prompt_unless_the_model_never_read_it() {
    let mut host = TestHost::new().await;
    for (status, is_charged) in [(401, false), (429, false), (503, false), (500, true), (400, true)] {
        let before = spent(&host).await;
        let sent = host.send(paid("Hello.", None));
        host.upstream.next().await.refuse(status, None);
        sent.await.unwrap().unwrap_err();
        let after = spent(&host).await;
        assert_eq!(after.1, before.1, "{status}: nothing was written");
        assert_eq!(after.0 > before.0, is_charged, "{status}: {before:?} {after:?}");
    }
}

#[tokio::test]
async fn thinking_without_usage_is_charged_although_the_turn_fails() {
    let mut host = TestHost::new().await;
    let sent = host.send(paid("Hello.", None));
    let answer = host.upstream.next().await.stream();
    answer.think(&"Hmm. ".repeat(80)).await;
    let reader = sent.await.unwrap().unwrap();
    answer.cut().await;
    failed(&all(reader).await);
    assert_eq!(spent(&host).await.1, 100);
}

#[tokio::test]
async fn a_model_that_another_one_takes_over_for_is_charged_too() {
    let mut host = TestHost::with_models("[\"openai\", \"offline\"]").await;
    let sent = host.send(paid("Hello.", None));
    host.upstream.next().await.refuse(500, None);
    completed(&all(sent.await.unwrap().unwrap()).await);
    let both = spent(&host).await.0;
    let offline = ChatRequest { model: Some("offline".into()), ..paid("Hello.", None) };
    completed(&all(host.turns.chat(offline).await.unwrap()).await);
    let offline = spent(&host).await.0 - both;
    assert!(both > offline, "{both} for two models, {offline} for one");
}

#[tokio::test]
async fn a_cancelled_turn_is_charged_for_what_was_written() {
    let mut host = TestHost::new().await;
    let sent = host.send(paid("Hello.", None));
    let answer = host.upstream.next().await.stream();
    answer.say(&"word ".repeat(80)).await;
    let reader = sent.await.unwrap().unwrap();
    host.turns.cancel(&owner(), reader.turn()).await.unwrap();
    assert_eq!(spent(&host).await.1, 100);
}

#[tokio::test]
async fn a_turn_whose_conversation_was_deleted_is_charged() {
    let mut host = TestHost::new().await;
    let sent = host.send(paid("Hello.", None));
    let answer = host.upstream.next().await.stream();
    answer.say("Half a ").await;
    let mut reader = sent.await.unwrap().unwrap();
    let (_, conversation) = created(&reader.next().await.unwrap());
    assert!(host.store.delete(&owner(), conversation).await.unwrap());
    answer.finish("stop").await;
    assert_eq!(failed(&all(reader).await).kind, Kind::ConversationNotFound);
    assert_eq!(spent(&host).await, REPORTED);
}

#[tokio::test]
async fn a_question_of_a_plugin_to_the_model_is_charged() {
    let mut host = TestHost::with_asking_persona().await;
    let sent = host.send(paid("ask me", None));
    host.upstream.next().await.reply("A question.").await;
    host.upstream.next().await.reply("An answer.").await;
    completed(&all(sent.await.unwrap().unwrap()).await);
    assert_eq!(spent(&host).await, (2 * REPORTED.0, 2 * REPORTED.1));
}

#[tokio::test]
async fn a_question_that_is_cut_off_with_its_turn_is_charged() {
    let mut host = TestHost::with_asking_persona().await;
    let request = paid("ask me", None);
    let turns = host.turns.clone();
    let sent = tokio::spawn(async move { turns.chat(request).await });
    let answer = host.upstream.next().await.stream();
    answer.say(&"word ".repeat(80)).await;
    let debited = spent(&host).await.1;
    sent.abort();
    answer.hung_up().await;
    // As much of the text as had arrived counts, instead of the estimate.
    let (input, output) = spent_when(&host, |(_, output)| output != debited).await;
    assert!(input > 0 && output <= 100, "{input} {output}");
}

#[tokio::test]
async fn a_greeting_that_asks_the_model_is_charged_and_refused_when_the_budget_is_spent() {
    let mut host = TestHost::with_asking_persona().await;
    let greet = |turns: Turns| async move {
        let accounts = vec![account(Some(REPORTED.0 + REPORTED.1))];
        turns.greet(GreetingRequest { accounts, ..greeting(None) }).await
    };
    let sent = tokio::spawn(greet(host.turns.clone()));
    host.upstream.next().await.reply("Welcome.").await;
    assert_eq!(sent.await.unwrap().unwrap().unwrap().content, "Welcome.");
    assert_eq!(spent(&host).await, REPORTED);
    let refused = greet(host.turns.clone()).await.unwrap_err();
    assert_eq!(refused.kind, Kind::BudgetSpent);
    assert!(refused.retry_after.is_some() && host.upstream.is_idle());
}

#[tokio::test]
async fn turns_that_begin_together_exceed_a_budget_by_one() {
    let mut host = TestHost::new().await;
    let first = host.send(paid("First.", Some(100)));
    let asked = host.upstream.next().await;
    let refused = host.turns.chat(paid("Second.", Some(100))).await.unwrap_err();
    assert_eq!(refused.kind, Kind::BudgetSpent);
    assert!(refused.retry_after.unwrap() <= Duration::from_secs(24 * 3600));
    assert!(host.upstream.is_idle(), "the second call did not begin");
    asked.reply("One.").await;
    completed(&all(first.await.unwrap().unwrap()).await);
    // The first used less than was set aside for it.
    let third = host.send(paid("Third.", Some(100)));
    host.upstream.next().await.reply("Three.").await;
    completed(&all(third.await.unwrap().unwrap()).await);
}

#[tokio::test]
async fn a_turn_whose_persona_may_not_ask_is_refused_for_the_budget() {
    let mut host = TestHost::with_asking_persona().await;
    let first = host.send(paid("Hello.", Some(100)));
    let asked = host.upstream.next().await;
    let refused = host.turns.chat(paid("ask me", Some(100))).await.unwrap_err();
    assert_eq!(refused.kind, Kind::BudgetSpent, "the persona's failure is not the reason");
    asked.reply("One.").await;
    completed(&all(first.await.unwrap().unwrap()).await);
}
