//! The limit on connections: idle connections are evicted, and clients with a request are served.

use masque_tests::{
    Answer, BackgroundClient, Gate, MockModel, RawConnection, Setup, descriptors, eventually, skipped,
};

#[tokio::test]
async fn at_the_limit_idle_connections_are_evicted_and_a_stream_continues() {
    let model = MockModel::start().await;
    let host = Setup::model(&model)
        .and("[server]\nmax_connections = 4\nheader_timeout = \"1h\"\nbody_timeout = \"1h\"")
        .start()
        .await;
    let gate = Gate::new();
    model.next(Answer::held("Before", &gate, " and after."));
    let mut events = host.client().stream("Hello.").await;
    events.until_text("Before").await;
    // A connection between two requests, which has been idle for the longest.
    let mut kept = RawConnection::open(host.address()).await;
    kept.send("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    kept.read_until("{\"status\":\"ok\"}").await;
    let mut fresh = Vec::new();
    for _ in 0..6 {
        fresh.push(RawConnection::open(host.address()).await);
    }

    for _ in 0..5 {
        host.client().get("/livez").send().await.expect(200);
    }
    // The five longest-idle connections were evicted.
    kept.read_to_end().await;
    for connection in &mut fresh[..4] {
        assert_eq!(connection.read_to_end().await, b"");
    }

    gate.open();
    events.until_text("and after.").await;
    events.expect("turn.completed").await;
}

#[tokio::test]
async fn operators_are_served_while_the_public_listener_is_full() {
    let model = MockModel::start().await;
    let host = Setup::model(&model)
        .and("[server]\nmax_connections = 1\n[admin]\nlisten = \"127.0.0.1:0\"")
        .start()
        .await;
    let gate = Gate::new();
    model.next(Answer::held("Before", &gate, " and after."));
    let mut events = host.client().stream("Hello.").await;
    events.until_text("Before").await;
    host.operators().await.get("/status").send().await.expect(200);
    host.socket().get("/status").send().await.expect(200);
    gate.open();
    events.until_text("and after.").await;
}

#[tokio::test]
async fn ten_thousand_idle_connections_use_little_memory_and_others_are_served() {
    const WANTED: usize = 10_000;
    // This process holds one end of each connection, the host the other, and both need descriptors for other things.
    let count = WANTED.min(descriptors().saturating_sub(2_000));
    if count < WANTED {
        skipped(
            "connection_limits",
            &format!("only {count} of {WANTED} idle connections fit the limit on descriptors"),
        );
    }
    let host = Setup::defaults()
        .and(&format!("[server]\nmax_connections = {}\nheader_timeout = \"1h\"", count + 200))
        .start()
        .await;
    let client = host.client();
    client.say("Warm up.").await;
    let (before, open_before) = (host.memory(), host.descriptors());

    let background_client = BackgroundClient::start(client, "elara").await;
    let mut idle = Vec::with_capacity(count);
    for _ in 0..count {
        idle.push(RawConnection::open(host.address()).await);
    }
    eventually("all of them to be accepted", || async {
        (host.descriptors() >= open_before + count).then_some(())
    })
    .await;
    host.client().say("And I?").await;
    background_client.finish("ten thousand idle connections").await;

    let each = host.memory().saturating_sub(before) / count;
    assert!(each < 32 << 10, "an idle connection costs {each} bytes");
    assert!(!idle.first().is_some_and(RawConnection::given_up_by_host));
}

#[tokio::test]
async fn more_idle_connections_than_the_limit_keep_no_client_out() {
    let host = Setup::defaults().and("[server]\nmax_connections = 50\nheader_timeout = \"1h\"").start().await;
    let background_client = BackgroundClient::start(host.client(), "elara").await;
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.push(RawConnection::open(host.address()).await);
    }
    background_client.finish("more connections than the limit").await;
    host.client().say("And I?").await;
}
