//! More connections than there is room for, or than anyone needs: those with a request are served.

use masque_tests::{
    Answer, Bystander, Gate, MockModel, RawConnection, Setup, descriptors, eventually, skipped,
};

#[tokio::test]
async fn a_new_client_is_served_at_once_where_all_places_are_idle_and_a_stream_survives() {
    let model = MockModel::start().await;
    let host = Setup::model(&model)
        .and("[server]\nmax_connections = 4\nheader_timeout = \"1h\"\nbody_timeout = \"1h\"")
        .start()
        .await;
    let gate = Gate::new();
    model.next(Answer::held("Before", &gate, " and after."));
    let mut events = host.client().stream("Hello.").await;
    events.until_text("Before").await;
    // The oldest of all after the stream, and between two requests.
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
    // They made room.
    kept.read_to_end().await;
    for connection in &mut fresh[..4] {
        assert_eq!(connection.read_to_end().await, b"");
    }

    gate.open();
    events.until_text("and after.").await;
    events.expect("turn.completed").await;
}

#[tokio::test]
async fn operators_get_in_where_everyone_is_busy() {
    let model = MockModel::start().await;
    let host = Setup::model(&model)
        .and("[server]\nmax_connections = 1\n[admin]\nlisten = \"127.0.0.1:0\"")
        .start()
        .await;
    let gate = Gate::new();
    model.next(Answer::held("Before", &gate, " and after."));
    let mut events = host.client().stream("Hello.").await;
    events.until_text("Before").await;
    host.operators().get("/status").send().await.expect(200);
    host.socket().get("/status").send().await.expect(200);
    gate.open();
    events.until_text("and after.").await;
}

#[tokio::test]
async fn ten_thousand_idle_connections_cost_little_and_others_are_served() {
    const WANTED: usize = 10_000;
    // This process has one end of each, the host the other, and both need some beside.
    let count = WANTED.min(descriptors().saturating_sub(2_000));
    if count < WANTED {
        skipped("crowds", &format!("only {count} of {WANTED} idle connections fit the limit on descriptors"));
    }
    let host = Setup::defaults()
        .and(&format!("[server]\nmax_connections = {}\nheader_timeout = \"1h\"", count + 200))
        .start()
        .await;
    let client = host.client();
    client.say("Warm up.").await;
    let (before, open_before) = (host.memory(), host.descriptors());

    let bystander = Bystander::of(client, "elara");
    let mut crowd = Vec::with_capacity(count);
    for _ in 0..count {
        crowd.push(RawConnection::open(host.address()).await);
    }
    eventually("all of them to be accepted", || async {
        (host.descriptors() >= open_before + count).then_some(())
    })
    .await;
    host.client().say("And I?").await;
    bystander.leave("a crowd of idle connections").await;

    let each = host.memory().saturating_sub(before) / count;
    assert!(each < 32 << 10, "an idle connection costs {each} bytes");
    assert!(!crowd.first().is_some_and(RawConnection::given_up_by_host));
}

#[tokio::test]
async fn more_idle_connections_than_places_do_not_keep_anyone_out() {
    let host = Setup::defaults().and("[server]\nmax_connections = 50\nheader_timeout = \"1h\"").start().await;
    let bystander = Bystander::of(host.client(), "elara");
    let mut crowd = Vec::new();
    for _ in 0..500 {
        crowd.push(RawConnection::open(host.address()).await);
    }
    bystander.leave("more connections than places").await;
    host.client().say("And I?").await;
}
