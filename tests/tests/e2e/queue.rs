//! Turns of one conversation run one after another, and a bounded number of them may wait.

use futures::future::join_all;
use masque_tests::{Answer, Gate, MockModel, Setup};
use serde_json::json;

#[tokio::test]
async fn turns_of_one_conversation_run_one_after_another_and_the_sixth_is_refused() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    let first = client.say("Hello.").await;
    let conversation = first["conversation_id"].as_str().unwrap();
    let gate = Gate::new();
    model.next(Answer::says("I am thinking.").after(&gate));
    let say = |number: usize| {
        let body = json!({ "message": format!("Message {number}."), "conversation_id": conversation });
        client.chat(&body).send()
    };

    let running = async {
        let asked = tokio::spawn(say(1));
        gate.reached().await;
        // The order in which the host receives the five is not known. One of them is refused at once, the others wait.
        let mut waiting: futures::stream::FuturesUnordered<_> = (2..=6).map(say).collect();
        let refused = futures::StreamExt::next(&mut waiting).await.unwrap();
        assert_eq!(model.seen().len(), 2, "no waiting turn has reached the model");
        gate.open();
        (asked.await.unwrap(), refused, futures::StreamExt::collect::<Vec<_>>(waiting).await)
    };
    let (asked, refused, waited) = running.await;

    let problem = refused.problem(409, "conversation-busy");
    assert!(refused.header("retry-after").is_some(), "{problem}");
    asked.expect(200);
    assert_eq!(waited.len(), 4);
    for reply in &waited {
        reply.expect(200);
    }
    let messages = client.messages(conversation).await;
    let roles: Vec<_> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
    let greeted = usize::from(roles[0] == "assistant");
    assert!(
        roles[greeted..].chunks(2).all(|pair| pair == ["user", "assistant"]),
        "each exchange is complete: {roles:?}"
    );
    assert_eq!(roles.len() - greeted, 12);
}

#[tokio::test]
async fn a_turn_that_waits_too_long_is_refused() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).and("[turn]\nwait = \"100ms\"").start().await;
    let client = host.client();
    let gate = Gate::new();
    model.next(Answer::held("I am", &gate, " thinking."));
    let mut running = client.stream("First.").await;
    let created = running.expect("turn.created").await;
    running.until_text("I am").await;

    let body = json!({ "message": "Second.", "conversation_id": created.data["conversation_id"] });
    let refused = client.chat(&body).send().await;

    refused.problem(409, "conversation-busy");
    assert!(refused.header("retry-after").is_some());
    gate.open();
    assert_eq!(running.rest().await.last().unwrap().name, "turn.completed");
}

#[tokio::test]
async fn turns_of_different_conversations_run_at_the_same_time() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).start().await;
    let client = host.client();
    let gates: Vec<_> = (0..4).map(|_| Gate::new()).collect();
    for gate in &gates {
        model.next(Answer::says("At last.").after(gate));
    }

    let asked: Vec<_> =
        gates.iter().map(|_| tokio::spawn(client.chat(&json!({ "message": "Hello." })).send())).collect();
    join_all(gates.iter().map(Gate::reached)).await;
    for gate in &gates {
        gate.open();
    }

    for reply in join_all(asked).await {
        reply.unwrap().expect(200);
    }
}
