//! `kill -9` at random instants under load: every acknowledged turn is stored, exactly once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use masque_store_postgres::testing::TestServer;
use masque_tests::{Client, MockModel, Setup, full};
use serde_json::{Value, json};
use tokio::sync::Notify;

const CLIENTS: usize = 8;

/// What one client sent and received.
#[derive(Default)]
struct ClientHistory {
    /// Each acknowledged message with its turn and its reply.
    acknowledged: Vec<(String, String, String)>,
    conversation: Option<String>,
    /// A message that was sent with its key and never answered. It is sent again.
    unanswered: Option<String>,
    sent: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_turn_survives_a_kill_at_any_instant_exactly_once() {
    survive_kills(|setup| setup).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_turn_survives_a_kill_on_postgresql_exactly_once() {
    let database = TestServer::shared().migrated_database().await;
    survive_kills(|setup| setup.environment("DATABASE_URL", &database.url)).await;
}

/// Kills a host again and again under load, and checks after each start what is stored.
async fn survive_kills(with_store: impl FnOnce(Setup) -> Setup) {
    let kills = if full() { 200 } else { 5 };
    let model = MockModel::start().await;
    let mut host = with_store(Setup::model(&model)).start().await;
    let history: Vec<_> = (0..CLIENTS).map(|_| Arc::new(Mutex::new(ClientHistory::default()))).collect();
    let mut total = 0;

    for _ in 0..kills {
        let (count, news) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let clients: Vec<_> = history
            .iter()
            .enumerate()
            .map(|(number, history)| {
                let (history, count, news) = (Arc::clone(history), Arc::clone(&count), Arc::clone(&news));
                tokio::spawn(talk(number, host.client(), history, move || {
                    count.fetch_add(1, Ordering::Relaxed);
                    news.notify_one();
                }))
            })
            .collect();

        // Kill after a random number of acknowledgements, at a random instant within the next turns.
        let enough = 5 + random(40);
        masque_tests::within("the clients to make progress", async {
            while count.load(Ordering::Relaxed) < enough {
                news.notified().await;
            }
        })
        .await;
        // The kill hits any moment of a turn.
        tokio::time::sleep(Duration::from_micros(random(20_000) as u64)).await;
        host.kill().await;
        for client in clients {
            client.await.unwrap();
        }
        total += count.load(Ordering::Relaxed);

        host.restart().await;
    }

    // Send each unanswered message again with its key. It must have its effect once.
    for (number, history) in history.iter().enumerate() {
        let unanswered = history.lock().unwrap().unanswered.take();
        if let Some(message) = unanswered {
            let body = body(history, &message);
            let reply = host.client().chat(&body).key(&key(&message)).send().await.expect(200);
            record(history, &message, &reply);
            history.lock().unwrap().unanswered = None;
        }
        check(&host.client(), number, history).await;
    }
    assert!(total >= kills * 5);
}

/// Sends one message after another until the host is gone.
async fn talk(number: usize, client: Client, history: Arc<Mutex<ClientHistory>>, acknowledged: impl Fn()) {
    loop {
        let message = {
            let mut history = history.lock().unwrap();
            match history.unanswered.clone() {
                Some(message) => message,
                None => {
                    history.sent += 1;
                    let message = format!("Client {number}, message {}.", history.sent);
                    history.unanswered = Some(message.clone());
                    message
                }
            }
        };
        let request = client.chat(&body(&history, &message)).key(&key(&message));
        let reply = if number.is_multiple_of(2) {
            let Ok(reply) = request.try_send().await else { return };
            reply.expect(200)
        } else {
            let Some(mut events) = request.header("accept", "text/event-stream").try_events().await else {
                return;
            };
            let events = events.rest().await;
            match events.last() {
                Some(last) if last.name == "turn.completed" => last.data.clone(),
                _ => return,
            }
        };
        record(&history, &message, &reply);
        acknowledged();
    }
}

/// The idempotency key of a message, which must not contain spaces.
fn key(message: &str) -> String {
    message.replace(' ', "-")
}

fn body(history: &Mutex<ClientHistory>, message: &str) -> Value {
    match &history.lock().unwrap().conversation {
        Some(id) => json!({ "message": message, "conversation_id": id }),
        None => json!({ "message": message }),
    }
}

fn record(history: &Mutex<ClientHistory>, message: &str, reply: &Value) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut history = history.lock().unwrap();
    history.acknowledged.push((
        message.to_owned(),
        text(&reply["turn_id"]),
        text(&reply["reply"]["content"]),
    ));
    history.conversation = Some(text(&reply["conversation_id"]));
    history.unanswered = None;
}

async fn check(client: &Client, number: usize, history: &Mutex<ClientHistory>) {
    let (acknowledged, conversation) = {
        let history = history.lock().unwrap();
        (history.acknowledged.clone(), history.conversation.clone())
    };
    let Some(conversation) = conversation else { return };
    let messages = all_messages(client, &conversation).await;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for message in &messages {
        *counts.entry(message["content"].as_str().unwrap()).or_default() += 1;
    }
    for (message, turn, reply) in &acknowledged {
        assert_eq!(counts.get(message.as_str()), Some(&1), "client {number}: {message:?} of {turn}");
        assert_eq!(counts.get(reply.as_str()), Some(&1), "client {number}: the reply to {message:?}");
        assert_eq!(client.turn(turn).await["status"], "completed");
    }
    let sequences: Vec<_> = messages.iter().map(|message| message["sequence"].as_i64().unwrap()).collect();
    assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]), "{sequences:?}");
}

async fn all_messages(client: &Client, conversation: &str) -> Vec<Value> {
    let mut messages = Vec::new();
    let mut path = format!("/conversations/{conversation}/messages?limit=100");
    loop {
        let page = client.get(&path).send().await.expect(200);
        messages.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => path = format!("/conversations/{conversation}/messages?limit=100&after={next}"),
            None => return messages,
        }
    }
}

/// A number below `limit`. It differs in every run on purpose: each run kills at other instants.
pub(crate) fn random(limit: usize) -> usize {
    let bytes = uuid::Uuid::now_v7().into_bytes();
    usize::from(u16::from_le_bytes([bytes[14], bytes[15]])) % limit
}
