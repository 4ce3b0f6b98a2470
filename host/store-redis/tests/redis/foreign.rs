//! One Redis serves several installations and other programs.

use std::collections::BTreeMap;
use std::time::Duration;

use masque_store::{InboxMessage, Recipient, Shared, TurnId};
use masque_store_redis::testing::{TestServer, pass_time};
use redis::Value;
use uuid::Uuid;

use crate::fixtures::*;

async fn use_everything(shared: &Shared) {
    take(&*shared.rates, "ana", quota(60, 5)).await;
    assert!(shared.slots.take(&user("ada"), host_id(7), 3).await);
    assert!(shared.slots.take(&user("ada"), host_id(8), 3).await);
    shared.slots.renew(&[(user("ada"), host_id(7))]).await;
    shared.slots.release(&user("ada"), host_id(8)).await;
    assert!(shared.events.append(TurnId::new(), 1, 0, &["zero".into()], true).await);
    shared.inbox.send(Recipient::All, InboxMessage::WakeTurn(TurnId::new())).await;
    shared.rates.forget().await;
}

/// The keys, with their types, values and whether they have a time to live.
fn keys(server: &TestServer) -> BTreeMap<String, String> {
    let Value::Array(keys) = server.command(&["KEYS", "*"]) else { panic!() };
    let value = |key: &Value| {
        let Value::BulkString(key) = key else { panic!() };
        let key = String::from_utf8(key.clone()).unwrap();
        let value = format!(
            "{:?} {:?}",
            server.command(&["DUMP", &key]),
            server.command(&["PTTL", &key]) == Value::Int(-1)
        );
        (key, value)
    };
    keys.iter().map(value).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_other_programs_and_installations_are_left_as_they_are() {
    let server = TestServer::start();
    for key in ["masque", "masque:v0:x", "masque:v1:{other}", "{masque:v1:}", "session:1"] {
        server.command(&["SET", key, "of another"]);
    }
    let other = host(&server.url()).await;
    use_everything(&other).await;
    let before = keys(&server);

    let installation = Uuid::now_v7();
    let shared = host_of(&server.url(), installation, 1, 1).await;
    use_everything(&shared).await;
    let after = keys(&server);
    let prefix = format!("masque:v1:{{{installation}");
    let (own, foreign): (Vec<_>, Vec<_>) = after.iter().partition(|(key, _)| key.starts_with(&prefix));
    assert!(own.len() >= 4, "{own:?}");
    for (key, value) in foreign {
        assert_eq!(before.get(key), Some(value), "{key}");
    }
    // Others may have expired meanwhile.
    let lasts = |key: &str| !key.starts_with("masque:v1:{0") || key.contains(":slots:");
    for (key, value) in before.iter().filter(|(key, _)| lasts(key)) {
        assert_eq!(after.get(key), Some(value), "{key}");
    }
    assert_eq!(next_message(&other).await, InboxMessage::MayHaveMissed);
    assert!(matches!(next_message(&other).await, InboxMessage::WakeTurn(_)), "its own message");
    let more = tokio::time::timeout(Duration::from_millis(100), other.inbox.receive()).await;
    assert!(more.is_err(), "a message of another installation: {more:?}");

    // Fails if a key has no time to live.
    pass_time(&server, installation, Duration::from_secs(3600));
    assert!(!keys(&server).keys().any(|key| key.starts_with(&prefix)), "nothing stays for ever");
}
