//! One conversation at several hosts: its turns run one after another, whoever serves them.

use futures::future::join_all;
use masque_tests::{Answer, Gate, eventually};
use serde_json::{Value, json};

use super::installation::Installation;

/// The roles of the messages without a greeting.
fn roles(messages: &[Value]) -> Vec<&str> {
    let roles = messages.iter().map(|message| message["role"].as_str().unwrap());
    roles.skip_while(|role| *role == "assistant").collect()
}

#[tokio::test]
async fn a_conversation_may_change_its_host_at_every_turn() {
    let installation = Installation::start(3).await;
    let balancer = installation.balancer().await;
    let client = balancer.client();
    let begun = client.say("Message 0.").await;
    let conversation = begun["conversation_id"].as_str().unwrap();
    for number in 1..9 {
        let reply = client.say_in(conversation, &format!("Message {number}.")).await;
        assert_eq!(reply["reply"]["content"], format!("You said: Message {number}."));
        // The host that asks the model knows what the others were told.
        let seen = installation.model.seen().pop().unwrap().body.to_string();
        for earlier in 0..=number {
            assert!(seen.contains(&format!("Message {earlier}.")), "turn {number}: {seen}");
        }
    }
    let messages = client.messages(conversation).await;
    assert_eq!(roles(&messages), ["user", "assistant"].repeat(9));
    let served = installation.query("SELECT count(DISTINCT host) FROM turns");
    assert_eq!(served, "3", "every host has served turns");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_write_to_one_conversation_through_two_hosts_and_no_turns_overlap() {
    for installation in [Installation::start(2).await, Installation::without_redis(2).await] {
        let begun = installation.client(0).say("Hello.").await;
        let conversation = begun["conversation_id"].as_str().unwrap().to_owned();
        let writers = (0..2).map(|writer| {
            let (client, conversation) = (installation.client(writer), conversation.clone());
            async move {
                for number in 0..8 {
                    let said = format!("Writer {writer}, message {number}.");
                    let reply = client.say_in(&conversation, &said).await;
                    assert_eq!(reply["reply"]["content"], format!("You said: {said}"));
                }
            }
        });
        join_all(writers).await;
        let messages = installation.client(1).messages(&conversation).await;
        assert_eq!(roles(&messages), ["user", "assistant"].repeat(17));
        for writer in 0..2 {
            let own = format!("Writer {writer}, ");
            let said: Vec<_> = messages
                .iter()
                .filter_map(|message| message["content"].as_str()?.strip_prefix(&own))
                .collect();
            let expected: Vec<_> = (0..8).map(|number| format!("message {number}.")).collect();
            assert_eq!(said, expected, "each message is there once, in the order of its writer");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_wait_in_the_order_of_their_tickets_over_all_hosts_and_the_sixth_is_refused() {
    for installation in [Installation::start(3).await, Installation::without_redis(3).await] {
        let begun = installation.client(0).say("Hello.").await;
        let conversation = begun["conversation_id"].as_str().unwrap().to_owned();
        let gate = Gate::new();
        installation.model.next(Answer::says("I am thinking.").after(&gate));
        let say = |host: usize, number: usize| {
            let body = json!({ "message": format!("Message {number}."), "conversation_id": conversation });
            tokio::spawn(installation.client(host).chat(&body).send())
        };
        let mut asked = vec![say(0, 0)];
        gate.reached().await;
        for number in 1..=4 {
            asked.push(say(number % 3, number));
            eventually("the turn to have a ticket", || async {
                (installation.query("SELECT count(*) FROM tickets") == number.to_string()).then_some(())
            })
            .await;
        }
        let refused = say(2, 5).await.unwrap();
        refused.problem(409, "conversation-busy");
        gate.open();
        for reply in join_all(asked).await {
            reply.unwrap().expect(200);
        }
        let messages = installation.client(2).messages(&conversation).await;
        let said: Vec<_> = messages
            .iter()
            .filter(|message| message["role"] == "user")
            .map(|message| message["content"].as_str().unwrap())
            .collect();
        assert_eq!(said, ["Hello.", "Message 0.", "Message 1.", "Message 2.", "Message 3.", "Message 4."]);
    }
}
