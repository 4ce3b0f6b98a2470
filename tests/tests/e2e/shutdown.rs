//! Graceful shutdown: the host reports that it is not ready, serves for a while, finishes running turns and exits.

use masque_tests::{Answer, Gate, MockModel, RawConnection, Setup, Step, eventually, within};
use serde_json::json;

#[tokio::test]
async fn a_stopping_host_is_unready_and_serves_until_it_closes_its_connections() {
    let host = Setup::defaults().and("[drain]\ndelay = \"1h\"").start().await;
    let client = host.client();

    host.terminate();

    let unready = eventually("the host to be unready", || async {
        let answer = client.get("/readyz").send().await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert!(unready.header("retry-after").is_some());
    client.get("/livez").send().await.expect(200);
    let answer = client.chat(&json!({ "message": "One more?" })).send().await;
    answer.expect(200);
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_stopping_host_finishes_the_turn_that_runs_and_exits_cleanly() {
    let model = MockModel::start().await;
    let mut host = Setup::model(&model).and("[drain]\ndelay = \"50ms\"\ntimeout = \"1h\"").start().await;
    let gate = Gate::new();
    model.next(Answer::held("I will", &gate, " finish."));
    let mut events = host.client().stream("Hello.").await;
    let created = events.expect("turn.created").await;
    events.until_text("I will").await;

    host.terminate();
    let client = host.client();
    eventually("the host to accept nothing more", || async {
        client.get("/livez").try_send().await.is_err().then_some(())
    })
    .await;
    gate.open();

    assert_eq!(events.until_text("finish.").await, " finish.");
    events.expect("turn.completed").await;
    assert_eq!(events.next().await, None);
    assert!(host.ended().await.success());

    host.restart().await;
    let turn = host.client().turn(created.data["turn_id"].as_str().unwrap()).await;
    assert_eq!((&turn["status"], &turn["attempt"]), (&json!("completed"), &json!(1)));
}

#[tokio::test]
async fn a_turn_that_outlasts_the_drain_is_marked_interrupted_and_its_client_is_told() {
    let model = MockModel::start().await;
    let mut host = Setup::model(&model).and("[drain]\ndelay = \"0s\"\ntimeout = \"200ms\"").start().await;
    model.next(Answer::steps(vec![Step::Text("Half a".to_owned()), Step::Stall]));
    let mut events = host.client().stream("Hello.").await;
    let created = events.expect("turn.created").await;
    events.until_text("Half a").await;

    host.terminate();

    let last = events.rest().await.pop().expect("a stream never just ends");
    assert_eq!(last.name, "turn.failed");
    assert!(last.data["problem"]["type"].as_str().unwrap().ends_with("turn-interrupted"), "{last:?}");
    assert!(host.ended().await.success());

    host.restart().await;
    let turn = host.client().turn(created.data["turn_id"].as_str().unwrap()).await;
    assert_eq!(turn["status"], "interrupted");
    let messages = host.client().messages(created.data["conversation_id"].as_str().unwrap()).await;
    assert_eq!(messages.last().unwrap()["content"], "Half a");
}

#[tokio::test]
async fn a_second_signal_ends_the_drain() {
    let model = MockModel::start().await;
    let mut host = Setup::model(&model).and("[drain]\ndelay = \"1h\"\ntimeout = \"1h\"").start().await;
    model.next(Answer::steps(vec![Step::Text("Half a".to_owned()), Step::Stall]));
    let mut events = host.client().stream("Hello.").await;
    events.until_text("Half a").await;
    let client = host.client();

    host.terminate();
    eventually("the host to be unready", || async {
        (client.get("/readyz").send().await.status == 503).then_some(())
    })
    .await;
    assert!(host.is_running());
    host.terminate();

    host.ended().await;
    assert_eq!(events.rest().await.last().unwrap().name, "turn.failed");
}

#[tokio::test]
async fn a_host_without_turns_exits_when_the_delay_is_over() {
    let mut host = Setup::defaults().and("[drain]\ndelay = \"0s\"\ntimeout = \"1h\"").start().await;
    host.client().say("Hello.").await;
    host.terminate();
    assert!(host.ended().await.success());
}

#[tokio::test]
async fn a_host_without_turns_that_is_told_twice_to_stop_interrupts_none() {
    let mut host = Setup::defaults().and("[drain]\ndelay = \"1h\"\ntimeout = \"1h\"").start().await;
    host.client().say("Hello.").await;
    host.terminate();
    host.logged("stopping").await;
    host.terminate();
    assert!(host.ended().await.success());
    within("the log to end", host.logged("stopped")).await;
    assert!(!host.log().contains("interrupting the turns"), "{}", host.log());
}

#[tokio::test]
async fn an_idle_connection_over_http2_is_told_to_go_away() {
    /// The connection preface and an empty SETTINGS frame (RFC 9113, sections 3.4 and 6.5).
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const GOAWAY: u8 = 7;

    let mut host = Setup::defaults().and("[drain]\ndelay = \"100ms\"").start().await;
    let mut connection = RawConnection::open(host.address()).await;
    connection.send(PREFACE).await;
    let mut signalled = false;
    loop {
        let head = connection.read_exact(9).await.expect("a GOAWAY before the end of the connection");
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        connection.read_exact(length).await.unwrap();
        if head[3] == GOAWAY {
            break;
        }
        // The host's own SETTINGS frame: it has accepted the connection.
        if !std::mem::replace(&mut signalled, true) {
            host.terminate();
        }
    }
    drop(connection);
    assert!(host.ended().await.success());
}

#[tokio::test]
async fn a_request_to_reload_by_signal_stops_no_host() {
    let host = Setup::defaults().start().await;
    host.hang_up();
    host.logged("SIGHUP is ignored").await;
    host.client().say("Are you still there?").await;
}

#[tokio::test]
async fn ctrl_c_stops_a_host_like_sigterm() {
    let mut host = Setup::defaults().and("[drain]\ndelay = \"0s\"").start().await;
    host.interrupt();
    assert!(host.ended().await.success());
}
