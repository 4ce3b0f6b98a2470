//! Redis disappears, in every way that it can, and comes back.

use std::time::{Duration, Instant};

use masque_store::{InboxMessage, Recipient, Shared, TurnId};
use masque_store_redis::testing::TestServer;
use redis::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::fixtures::*;

/// Holds that a host notices that Redis can't be used, goes on at once, says so once, and recovers by itself.
async fn goes_on_without_redis_and_recovers(
    mut server: TestServer,
    break_it: impl FnOnce(&mut TestServer),
    mend_it: impl FnOnce(&mut TestServer),
) {
    let shared = host(&server.url()).await;
    assert!(is_connected(&shared));
    assert_eq!(next_message(&shared).await, InboxMessage::MayHaveMissed);
    let turn = TurnId::new();
    assert!(shared.events.append(turn, 1, 0, &["zero".into()], false).await);

    break_it(&mut server);
    // The first operation may notice, within its time.
    let begun = Instant::now();
    eventually("the host notices", async || {
        take(&*shared.rates, "ana", quota(60, 5)).await;
        !is_connected(&shared)
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(10), "noticed after {:?}", begun.elapsed());
    goes_on_at_once(&shared, turn).await;

    mend_it(&mut server);
    until_connected(&shared).await;
    assert_eq!(next_message(&shared).await, InboxMessage::MayHaveMissed, "it looks into the store");
    assert!(shared.slots.take(&user("bob"), host_id(9), 1).await);
    assert!(shared.events.append(TurnId::new(), 1, 0, &["zero".into()], false).await);
    let lines = lines_of(server.port());
    assert_eq!(lines.len(), 3, "used, lost, used again: {lines:#?}");
}

async fn goes_on_at_once(shared: &Shared, turn: TurnId) {
    let begun = Instant::now();
    for number in 0..100 {
        assert!(!take(&*shared.rates, "bob", quota(1, 5)).await.allowed, "its buckets begin empty");
        assert!(shared.slots.take(&user("ada"), host_id(7), 1).await, "a place of this host");
        assert!(!shared.events.append(turn, 1, number, &["one".into()], false).await);
        assert_eq!(shared.events.read(turn, 0).await, None);
        shared.inbox.send(Recipient::All, InboxMessage::WakeTurn(turn)).await;
        assert_eq!(next_message(shared).await, InboxMessage::WakeTurn(turn), "a host reaches itself");
    }
    shared.slots.release(&user("ada"), host_id(7)).await;
    // If one operation of a round waited for Redis, that would take 100 s.
    assert!(begun.elapsed() < Duration::from_secs(10), "100 rounds took {:?}", begun.elapsed());
    assert!(!is_connected(shared), "it was mended too early");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_done_without_until_it_is_back() {
    goes_on_without_redis_and_recovers(
        TestServer::start(),
        |server| server.kill(),
        |server| server.restart(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_is_done_without_until_it_goes_on() {
    goes_on_without_redis_and_recovers(TestServer::start(), |server| server.stop(), |server| server.resume())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_server_is_done_without_until_its_pause_ends() {
    let pause = |server: &mut TestServer| {
        // Longer than a busy machine takes for what the host does meanwhile.
        server.command(&["CLIENT", "PAUSE", "15000"]);
    };
    goes_on_without_redis_and_recovers(TestServer::start(), pause, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_is_done_without_until_it_has_room() {
    let fill = |server: &mut TestServer| {
        server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
        server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    };
    let empty = |server: &mut TestServer| {
        server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    };
    goes_on_without_redis_and_recovers(TestServer::start(), fill, empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_became_a_replica_is_done_without() {
    let demote = |server: &mut TestServer| {
        server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    };
    let promote = |server: &mut TestServer| {
        server.command(&["REPLICAOF", "NO", "ONE"]);
    };
    goes_on_without_redis_and_recovers(TestServer::start(), demote, promote).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_a_password_all_of_a_sudden_is_done_without() {
    let server = TestServer::start();
    let shared = host(&server.url()).await;
    let mut server = server;
    server.set_password("s3cret");
    // The connection of a host has subscribed to channels. One that is in stays in.
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    eventually("the host notices", async || !is_connected(&shared) && reason(&shared).contains("password"))
        .await;
    server.command(&["CONFIG", "SET", "requirepass", ""]);
    until_connected(&shared).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_forgot_its_scripts_learns_them_again() {
    let server = TestServer::start();
    let shared = host(&server.url()).await;
    for _ in 0..3 {
        server.command(&["SCRIPT", "FLUSH"]);
        assert!(take(&*shared.rates, "ana", quota(1, 5)).await.allowed);
    }
    assert_eq!(take(&*shared.rates, "ana", quota(1, 5)).await.remaining, 1, "all were counted on the server");
    assert!(is_connected(&shared));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_server_is_used_on_and_running_turns_keep_their_places() {
    let server = TestServer::start();
    let installation = Uuid::now_v7();
    let (one, two) =
        (host_of(&server.url(), installation, 1, 2).await, host_of(&server.url(), installation, 2, 2).await);
    let turn = TurnId::new();
    assert!(one.slots.take(&user("ada"), host_id(7), 1).await);
    assert!(one.events.append(turn, 1, 0, &["zero".into()], false).await);
    server.command(&["FLUSHALL"]);
    assert_eq!(two.events.read(turn, 0).await, None);
    assert!(!one.events.append(turn, 1, 1, &["one".into()], false).await, "a log has no gap");
    one.slots.renew(&[(user("ada"), host_id(7))]).await;
    assert!(!two.slots.take(&user("ada"), host_id(8), 1).await, "the place is taken again");
    assert!(is_connected(&one) && is_connected(&two));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_that_were_taken_without_redis_count_when_it_is_back() {
    let mut server = TestServer::start();
    let installation = Uuid::now_v7();
    let (one, two) =
        (host_of(&server.url(), installation, 1, 2).await, host_of(&server.url(), installation, 2, 2).await);
    assert!(one.slots.take(&user("ada"), host_id(10), 4).await);
    server.kill();
    eventually("both notice", async || !is_connected(&one) && !is_connected(&two)).await;
    assert!(one.slots.take(&user("ada"), host_id(11), 4).await);
    assert!(!one.slots.take(&user("ada"), host_id(12), 4).await, "its half is taken");
    assert!(two.slots.take(&user("ada"), host_id(20), 4).await);
    assert!(two.slots.take(&user("bob"), host_id(21), 1).await, "at least one");
    server.restart();
    until_connected(&one).await;
    until_connected(&two).await;
    assert!(two.slots.take(&user("ada"), host_id(22), 4).await);
    assert!(!two.slots.take(&user("ada"), host_id(23), 4).await, "four hold a place");
    assert!(!one.slots.take(&user("bob"), host_id(13), 1).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_not_hammered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let shared = host(&format!("redis://127.0.0.1:{port}")).await;
    let begun = Instant::now();
    let mut tries = 0;
    while let Ok(Ok((mut client, _))) =
        tokio::time::timeout(Duration::from_secs(3).saturating_sub(begun.elapsed()), listener.accept()).await
    {
        tries += 1;
        // Closed without an answer.
        client.read_u8().await.ok();
        for _ in 0..100 {
            take(&*shared.rates, "ana", quota(60, 5)).await;
        }
    }
    assert!((2..=9).contains(&tries), "{tries} tries within 3 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_with_a_foreign_value_is_replaced() {
    let server = TestServer::start();
    let shared = host(&server.url()).await;
    let turn = TurnId::new();
    let replace_all = || {
        let Value::Array(keys) = server.command(&["KEYS", "masque:*"]) else { panic!() };
        for key in keys {
            let Value::BulkString(key) = key else { panic!() };
            let key = String::from_utf8(key).unwrap();
            server.command(&["DEL", &key]);
            server.command(&["SADD", &key, "foreign"]);
        }
    };
    for _ in 0..2 {
        assert!(take(&*shared.rates, "ana", quota(1, 1)).await.allowed);
        assert!(shared.slots.take(&user("ada"), host_id(7), 1).await);
        assert!(shared.events.append(turn, 1, 0, &["zero".into()], false).await);
        replace_all();
    }
    shared.slots.renew(&[(user("ada"), host_id(7))]).await;
    assert!(is_connected(&shared), "{}", reason(&shared));
}
