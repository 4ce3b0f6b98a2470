//! The records of turns.

use masque_store::RecordedTurn;
use masque_telemetry::metrics::turns::RECORDS_DROPPED;
use serde_json::json;

use super::observed::until_idle;
use super::*;
use crate::records::{RecordContent, RecordOptions};
use crate::test_support::KeptRecords;

/// Records turns like this.
fn recording(records: &KeptRecords, content: RecordContent, share: f64) -> impl FnOnce(&mut Options) {
    let sink = Arc::new(records.clone());
    move |options| {
        options.records = RecordOptions { content, share };
        options.record_sink = Some(sink);
    }
}

/// The record of the second turn of a conversation.
async fn second_turn(content: RecordContent) -> RecordedTurn {
    let records = KeptRecords::default();
    let mut host = TestHost::with(recording(&records, content, 1.0)).await;
    let (_, conversation) = created(&host.exchange(says("Planted one."), "Planted reply one.").await);
    let (turn, _) =
        created(&host.exchange(says_in(conversation, "Planted two."), "Planted reply two.").await);
    until_idle(&host).await;
    let record = records.all().pop().unwrap();
    assert_eq!((record.turn_id, record.conversation_id, record.attempt), (turn, conversation, 1));
    let own = &host.messages(conversation).await[2];
    assert_eq!(record.message["id"], own.id.to_string());
    assert_eq!(record.message["bytes"], own.content.len());
    record
}

fn functions(record: &RecordedTurn) -> Vec<&str> {
    record.steps.iter().map(|step| step.function.as_str()).collect()
}

#[tokio::test]
async fn a_full_record_has_the_prompt_and_the_reply_and_refers_to_stored_messages() {
    let record = second_turn(RecordContent::Full).await;
    assert_eq!((record.format, record.content.as_str(), record.outcome.as_str()), (1, "full", "completed"));
    assert_eq!(record.problem, None);
    assert_eq!(functions(&record), ["recall", "compose", "generate"]);
    let [recall, compose, generate] = &record.steps[..] else { panic!("{record:?}") };

    assert_eq!(recall.received["tail"].as_array().unwrap().len(), 2);
    let recalled = serde_json::to_string(recall).unwrap();
    assert!(!recalled.contains("Planted"), "stored messages are given by id: {recalled}");

    let prompt = &compose.returned["prompt"];
    let last = prompt["messages"].as_array().unwrap().last().unwrap();
    assert_eq!(last["parts"][0]["text"], "Planted two.");
    assert_eq!(last["digest"], record.message["digest"]);
    assert!(last["tokens"].as_u64().unwrap() > 0 && prompt["tokens"].as_u64().unwrap() > 0);
    assert!(prompt.to_string().contains("\"source\""), "{prompt}");

    assert_eq!(generate.received["prompt"]["messages"].as_array().unwrap().last().unwrap(), &last["digest"]);
    assert_eq!(generate.returned["reply"]["text"], "Planted reply two.");
    assert_eq!(generate.returned["usage"]["input_tokens"], 12);
    for step in &record.steps {
        assert!(
            step.digest.starts_with("sha256:") && step.settings_digest.starts_with("sha256:"),
            "{step:?}"
        );
        assert_eq!(step.outcome, "ok");
        assert!(step.duration_us > 0 && step.limits["memory_bytes"].as_u64().unwrap() > 0, "{step:?}");
    }
    assert!(generate.grants.iter().any(|grant| grant.starts_with("http http://127.0.0.1")), "{generate:?}");
    assert!(record.timing["total_ms"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn a_record_of_digests_contains_no_text() {
    let full = second_turn(RecordContent::Full).await;
    let record = second_turn(RecordContent::Digests).await;
    let written = serde_json::to_string(&record).unwrap();
    assert!(!written.contains("Planted") && !written.contains("\"text\":"), "{written}");
    assert!(serde_json::to_string(&full).unwrap().contains("Planted two."));
    assert_eq!(functions(&record), ["recall", "compose", "generate"]);
    // What is equal can be found to be equal.
    assert_eq!(record.message["digest"], full.message["digest"]);
    let reply = |record: &RecordedTurn| record.steps[2].returned["reply"]["digest"].clone();
    assert_eq!(reply(&record), reply(&full));
}

#[tokio::test]
async fn a_turn_that_is_not_among_the_share_is_counted_and_one_without_records_is_not() {
    let counted = || RECORDS_DROPPED.value(&["share"]);
    for (content, share, dropped) in
        [(RecordContent::Digests, 0.0, 1), (RecordContent::Digests, 1.0, 0), (RecordContent::Off, 0.0, 0)]
    {
        let records = KeptRecords::default();
        let mut host = TestHost::with(recording(&records, content, share)).await;
        let before = counted();
        completed(&host.exchange(says("Hello."), "Hello.").await);
        until_idle(&host).await;
        assert_eq!(counted() - before, dropped, "{content:?} {share}");
    }
}

#[tokio::test]
async fn the_record_of_a_cancelled_turn_has_the_call_that_was_cut_off() {
    let records = KeptRecords::default();
    let mut host = TestHost::with(recording(&records, RecordContent::Full, 1.0)).await;
    let sent = host.send(says("Tell me."));
    let answer = host.upstream.next().await.stream();
    answer.say("Half a ").await;
    let reader = sent.await.unwrap().unwrap();
    host.turns.cancel(&owner(), reader.turn()).await.unwrap();
    until_idle(&host).await;
    let record = records.all().pop().unwrap();
    assert_eq!((record.outcome.as_str(), record.problem.as_deref()), ("cancelled", Some("turn-cancelled")));
    let last = record.steps.last().unwrap();
    assert_eq!((last.function.as_str(), last.outcome.as_str()), ("generate", "cancelled"));
    assert_eq!(last.returned["reply"]["text"], "Half a ");
}

#[tokio::test]
async fn a_question_of_a_plugin_to_the_model_is_a_step_of_its_own() {
    let records = KeptRecords::default();
    let options = recording(&records, RecordContent::Full, 1.0);
    let mut host = TestHost::named("asked", "[\"openai\"]", options).await;
    let sent = host.send(says("ask me"));
    host.upstream.next().await.reply("A question.").await;
    host.upstream.next().await.reply("An answer.").await;
    completed(&all(sent.await.unwrap().unwrap()).await);
    until_idle(&host).await;
    let record = records.all().pop().unwrap();
    assert_eq!(functions(&record), ["recall", "compose", "generate", "generate"]);
    let question = &record.steps[2];
    assert_eq!(question.received["asked_by"], "asking");
    assert_eq!(question.received["prompt"]["messages"][0]["parts"][0]["text"], "me");
    assert_eq!(question.returned["finish"], json!("stop"));
    assert_eq!(record.steps[3].returned["reply"]["text"], "An answer.");
}

#[tokio::test]
async fn a_turn_has_no_record_while_records_are_off_or_none_are_chosen() {
    for (content, share) in [(RecordContent::Off, 1.0), (RecordContent::Full, 0.0)] {
        let records = KeptRecords::default();
        let mut host = TestHost::with(recording(&records, content, share)).await;
        completed(&host.exchange(says("Hello."), "Hello.").await);
        until_idle(&host).await;
        assert!(records.all().is_empty());
    }
}
