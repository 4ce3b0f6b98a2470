//! Clients that send too slowly, do not read, or leave: their cost is bounded, and other clients are not affected.

use masque_tests::{Answer, Gate, MockModel, RawConnection, Setup, Step, eventually};
use serde_json::json;

#[tokio::test]
async fn a_body_that_never_ends_times_out_and_others_are_served_meanwhile() {
    let host = Setup::defaults().and("[server]\nbody_timeout = \"300ms\"").start().await;
    let client = host.client();
    let mut connection = RawConnection::open(host.address()).await;
    connection.chat("{\"message\": \"I never", 1000).await;

    client.say("Hello.").await;

    let answer = connection.read_until("body-timeout").await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    connection.read_to_end().await;
}

#[tokio::test]
async fn a_head_that_never_ends_times_out() {
    let host = Setup::defaults().and("[server]\nheader_timeout = \"300ms\"").start().await;
    let mut connection = RawConnection::open(host.address()).await;
    connection.send("POST /chat HTTP/1.1\r\nhost: localhost\r\nx-slow: a").await;
    connection.read_to_end().await;
    // On a busy machine, a head may come as late as one that never ends.
    let client = host.client();
    eventually("an answer to a head that comes in time", || async {
        let answer = client.chat(&json!({ "message": "Hello." })).try_send().await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_while_sending_its_body_creates_no_conversation() {
    let host = Setup::defaults().start().await;
    let client = host.client();
    let mut connection = RawConnection::open(host.address()).await;
    connection.chat("{\"message\": \"I will be", 1000).await;
    drop(connection);

    client.get("/livez").send().await.expect(200);
    let page = client.get("/conversations").send().await.expect(200);
    assert_eq!(page["items"], json!([]));
}

#[tokio::test]
async fn a_turn_whose_client_leaves_before_the_first_token_is_cancelled() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).and("[turn]\nlinger = \"50ms\"").start().await;
    let client = host.client();
    model.next(Answer::steps(vec![Step::Stall]));
    let body = json!({ "message": "Are you there?" }).to_string();
    let mut connection = RawConnection::open(host.address()).await;
    connection.chat(&body, body.len()).await;
    model.request(0).await;

    drop(connection);

    model.abandoned().await;
    let conversation = eventually("the conversation to be there", || async {
        let page = client.get("/conversations").send().await.expect(200);
        page["items"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let reply = client.say_in(&conversation, "Still there?").await;
    assert_eq!(reply["reply"]["content"], "You said: Still there?");
}

#[tokio::test]
async fn a_client_that_stops_reading_delays_no_turn_and_costs_bounded_memory() {
    const LINES: usize = 2000;
    let model = MockModel::start().await;
    let host = Setup::model(&model)
        // The turn goes on without its reader for longer than the reply can take on a busy machine.
        .and("[server]\nwrite_timeout = \"500ms\"\n[turn]\nreply_bytes = \"16MiB\"\nlinger = \"10m\"")
        .start()
        .await;
    let client = host.client();
    client.say("Warm up.").await;
    let before = host.memory();
    // 8 MiB in all: more than the kernel buffers for a client that does not read.
    let line = format!("{}\n", "x".repeat(4095));
    let mut steps = vec![Step::Text(line); LINES];
    let gate = Gate::new();
    steps.push(Step::Wait(gate.clone()));
    model.next(Answer::complete(steps));

    let body = json!({ "message": "Tell me everything.", "stream": true }).to_string();
    let mut connection = RawConnection::narrow(host.address()).await;
    connection.chat(&body, body.len()).await;
    let start = connection.read_until("event: reply.delta").await;
    let turn = start.split_once("\"turn_id\":\"").unwrap().1[..36].to_owned();
    // The model has sent everything although the client does not read: a turn does not wait for its reader.
    gate.reached().await;
    assert_eq!(client.say("And I?").await["reply"]["content"], "You said: And I?");
    gate.open();

    let turn = eventually("the turn to end", || async {
        let found = client.turn(&turn).await;
        (found["status"] != "running").then_some(found)
    })
    .await;
    assert_eq!(turn["status"], "completed");
    let grown = host.memory().saturating_sub(before);
    assert!(grown < 128 << 20, "one unread reply of 8 MiB cost {} MiB", grown >> 20);
    // The host closes the connection in the middle of the response, because the client does not read it in time.
    eventually("the host to close the connection", || async { connection.given_up_by_host().then_some(()) })
        .await;
    let rest = connection.read_to_end().await;
    assert!(!String::from_utf8_lossy(&rest).contains("turn.completed"));
}

#[tokio::test]
async fn a_reply_over_the_limit_ends_the_turn() {
    let model = MockModel::start().await;
    let host = Setup::model(&model).and("[turn]\nreply_bytes = \"2KiB\"").start().await;
    let mut steps = vec![Step::Text("x".repeat(1024)); 4];
    steps.push(Step::Stall);
    model.next(Answer::steps(steps));

    let transcript = host.client().stream("Tell me everything.").await.transcript().await;

    assert!(transcript.text.len() <= 2048);
    model.abandoned().await;
}
