//! PostgreSQL can't be reached under load, with `--full` for longer than the leases of turns last: what hosts have in memory is
//! read, everything else is refused and says when to come back, running streams end with an event, nothing is half written,
//! and all of it works again afterwards. With `--nocapture` the figures are printed.
#![allow(clippy::print_stdout, reason = "the figures are for the reader of the test")]

use std::time::{Duration, Instant};

use masque_tests::{Answer, Client, Event, Events, Gate, LinkState, Reply, eventually, full};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::consistency::half_written;
use super::findings::{Findings, read};
use super::installation::{Installation, Patience};
use super::load::Load;
use super::user::{User, mixed_prompts};

/// How long a lease lasts.
const LEASE: Duration = Duration::from_secs(30);

/// What clients may see in place of an answer.
const MAY_BE_SEEN: [&str; 4] = ["storage-unavailable", "conversation-busy", "lease-lost", "turn-interrupted"];

/// A stream that runs, after the first half of its reply.
struct Running {
    turn: String,
    conversation: String,
    events: Events,
}

/// What came of a stream in the end, and when.
struct Ended {
    turn: String,
    conversation: String,
    text: String,
    last: Event,
    at: Instant,
}

impl Running {
    async fn begin(installation: &Installation, client: &Client, said: &str, gate: &Gate) -> Self {
        installation.model.next(Answer::held("First half,", gate, " second half."));
        let mut events = client.stream(said).await;
        let created = events.expect("turn.created").await.data;
        events.until_text("First half,").await;
        let id = |name: &str| created[name].as_str().unwrap().to_owned();
        Self { turn: id("turn_id"), conversation: id("conversation_id"), events }
    }

    /// Reads the stream to its end, which has to be an event.
    fn read_to_end(mut self) -> JoinHandle<Ended> {
        tokio::spawn(async move {
            let rest = self.events.rest().await;
            let at = Instant::now();
            assert!(!self.events.broken, "the stream broke after {rest:?}");
            let text = rest.iter().filter_map(|event| event.data["text"].as_str()).collect();
            let last = rest.last().expect("a stream never just ends").clone();
            Ended { turn: self.turn, conversation: self.conversation, text, last, at }
        })
    }
}

impl Ended {
    /// The kind of problem that the client was told; `None` if the turn is complete.
    fn failure(&self) -> Option<&str> {
        match self.last.name.as_str() {
            "turn.completed" => None,
            "turn.failed" => {
                let problem = &self.last.data["problem"];
                assert!(problem["retry_after"].as_u64().is_some_and(|seconds| seconds > 0), "{problem}");
                problem["type"].as_str()?.rsplit(['#', '/']).next()
            }
            other => panic!("{other} is no end: {:?}", self.last),
        }
    }

    /// Asserts that what is stored is what the client was told, and that the conversation goes on.
    async fn assert_stored(&self, client: &Client, next: &str) {
        let turn = eventually("the turn to have ended", || async {
            let reply = client.get(&format!("/turns/{}", self.turn)).send().await;
            let turn = (reply.status == 200).then(|| reply.json())?;
            (turn["status"] != "running").then_some(turn)
        })
        .await;
        if self.failure().is_none() {
            assert_eq!(turn["status"], "completed", "{turn}");
            assert_eq!(turn["reply"]["content"], "First half, second half.", "{turn}");
        } else {
            assert_eq!(turn["status"], "interrupted", "{turn}");
            // What was said is kept unless the lease ended before the database came back.
            let kept = turn["reply"]["content"].as_str().unwrap_or("First half,");
            assert!(kept.starts_with("First half,"), "{turn}");
        }
        let body = json!({ "message": next, "conversation_id": self.conversation });
        let reply = until_answered(|| async { client.chat(&body).send().await }).await;
        assert_eq!(reply["reply"]["content"], format!("You said: {next}"));
    }
}

/// Asks until the host answers. It may be busy with what was left behind.
async fn until_answered<F: Future<Output = Reply>>(ask: impl Fn() -> F) -> Value {
    eventually("an answer", || async {
        let reply = ask().await;
        match reply.status {
            200 => Some(reply.json()),
            409 => {
                reply.problem(409, "conversation-busy");
                None
            }
            _ => {
                reply.problem(503, "storage-unavailable");
                None
            }
        }
    })
    .await
}

/// Waits until every host says this about its database.
async fn until_health_says(installation: &Installation, store: &str) {
    for host in &installation.hosts {
        eventually("the health of the host", || async {
            let health = host.client().get("/health").send().await.expect(200);
            (health["checks"]["store"] == store).then_some(())
        })
        .await;
    }
}

/// Asserts that each host answers what it has in memory.
async fn assert_memory_is_read(installation: &Installation, user: &User) {
    for host in &installation.hosts {
        let client = user.of(&host.client());
        for path in ["/livez", "/readyz", "/openapi.json"] {
            client.get(path).send().await.expect(200);
        }
        let companions = client.get("/companions").send().await.expect(200);
        assert!(companions.to_string().contains("elara"), "{companions}");
        let status = host.socket().get("/status").send().await.expect(200);
        assert_eq!(status["store"], Value::Null, "{status}");
        assert_eq!(status["companions"], json!(["elara"]), "{status}");
    }
}

/// Asserts that what needs the database is refused, and says when to come back.
async fn assert_refused(client: &Client, earlier: &Value) {
    let id = |name: &str| earlier[name].as_str().unwrap();
    let conversation = format!("/conversations/{}", id("conversation_id"));
    let turn = format!("/turns/{}", id("turn_id"));
    let refused = [
        client.get("/conversations"),
        client.get(&conversation),
        client.get(&format!("{conversation}/messages")),
        client.get(&turn),
        client.get("/users/me/data"),
        client.post("/conversations", &json!({ "companion": "elara" })),
        client.patch(&conversation, &json!({ "title": "Another title" })),
        client.delete(&conversation),
        client.post(&format!("{turn}/cancel"), &json!({})),
        client.delete("/users/me/data"),
    ];
    for request in refused {
        request.send().await.problem(503, "storage-unavailable");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_memory_is_read_the_rest_is_refused_and_streams_end_with_an_event() {
    let length = Duration::from_secs(if full() { 35 } else { 3 });
    let installation = Installation::with_users_and_links(2, Patience::Long).await;
    let user = User::new(100);
    let clients = [0, 1].map(|host| user.of(&installation.client(host)));
    let earlier = clients[0].say(&user.message(0)).await;
    // The model of the first is done while the database is away, that of the second is not.
    let gates = [Gate::new(), Gate::new()];
    let first = Running::begin(&installation, &clients[0], &user.message(1), &gates[0]).await;
    let second = Running::begin(&installation, &clients[1], &user.message(2), &gates[1]).await;
    let balancer = installation.balancer().await;
    let load = Load::start(6, &balancer);
    load.progress(10).await;

    let (before, begun) = (load.answered(), Instant::now());
    let database = &installation.links.as_ref().unwrap().database;
    database.set(LinkState::Cut);
    let (first, second) = (first.read_to_end(), second.read_to_end());
    until_health_says(&installation, "unavailable").await;
    gates[0].open();
    // The outcome of its first try may be unknown. Then the host asks again for a while before it answers.
    let body = json!({ "message": user.message(3) });
    let chats = clients.clone().map(|client| tokio::spawn(client.chat(&body).key("while-away").send()));
    assert_memory_is_read(&installation, &user).await;
    for client in &clients {
        assert_refused(client, &earlier).await;
    }
    tokio::time::sleep_until((begun + length).into()).await;
    let during = load.answered() - before;
    database.set(LinkState::Open);
    let away = begun.elapsed();

    until_health_says(&installation, "ok").await;
    gates[1].open();
    load.progress(10).await;
    for chat in chats {
        let reply = chat.await.unwrap();
        if full() || reply.status != 200 {
            reply.problem(503, "storage-unavailable");
        }
    }
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    println!(
        "PostgreSQL unreachable for {length:?}: {during} answered meanwhile; streams ended with {:?} after {:?} and {:?} after \
         {:?}; seen {:?}",
        first.failure(),
        first.at - begun,
        second.failure(),
        second.at - begun,
        load.seen()
    );
    assert!(first.text.contains("second half."), "text needs no database: {:?}", first.text);
    if full() {
        assert_eq!(first.failure(), Some("storage-unavailable"));
        assert_eq!(second.failure(), Some("lease-lost"));
        assert!(second.at < begun + LEASE, "it ended after another host could have the conversation");
    } else if away < LEASE / 2 {
        assert!(matches!(first.failure(), None | Some("storage-unavailable")), "{:?}", first.last);
        assert_eq!(second.failure(), None, "{:?}", second.last);
    } else {
        // What is asked meanwhile took a busy machine so long that the leases may have ended.
        for ended in [&first, &second] {
            let failure = ended.failure();
            assert!(matches!(failure, None | Some("storage-unavailable" | "lease-lost")), "{:?}", ended.last);
        }
    }
    // Each goes on at the other host.
    first.assert_stored(&clients[1], &user.message(4)).await;
    second.assert_stored(&clients[0], &user.message(5)).await;
    assert_nothing_was_changed(&clients[1], &earlier, &body).await;

    let seen = load.seen();
    // A short outage may end while every request of the load still waits for an answer of the database.
    assert!(!full() || seen.contains_key("storage-unavailable"), "{seen:?}");
    assert_eq!(load.finish(&balancer.client()).await, Findings::default());
    assert_eq!(mixed_prompts(&installation.model), Vec::<String>::new());
    assert_eq!(half_written(&installation).await, "");
    let others: Vec<_> = seen.into_keys().filter(|kind| !MAY_BE_SEEN.contains(&kind.as_str())).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// Asserts that what was refused had no effect, and that the message that was refused or waited is there once when it is
/// sent again.
async fn assert_nothing_was_changed(client: &Client, earlier: &Value, body: &Value) {
    let sent = || async { client.chat(body).key("while-away").send().await };
    let reply = until_answered(sent).await;
    for turn in [&reply, earlier] {
        let conversation = turn["conversation_id"].as_str().unwrap();
        let messages = read(client, &format!("/conversations/{conversation}/messages")).await.expect(200);
        assert_eq!(messages["items"].as_array().unwrap().len(), 2, "{messages}");
    }
    let listed = read(client, "/conversations").await.expect(200);
    // The earlier one, two streams, and the one of the message that was sent again.
    assert_eq!(listed["items"].as_array().unwrap().len(), 4, "{listed}");
    assert!(!listed.to_string().contains("Another title"), "{listed}");
}
