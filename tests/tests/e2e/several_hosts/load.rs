//! Users who talk for a while, each with a token of its own and a secret in all of its messages. Everything that they are
//! given is searched for the secrets of others, and every refusal has to be a complete problem that says when to come back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use masque_tests::{Balancer, Client, Reply, eventually};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::findings::{Findings, Spoken, Told};
use super::user::User;

/// How long a user waits before it sends a refused message again.
const PAUSE: Duration = Duration::from_millis(50);

/// After so many answers a user reads again what it has.
const READS_EVERY: usize = 4;

/// Users under way.
pub(super) struct Load {
    shared: Arc<Shared>,
    users: Vec<User>,
    clients: Vec<JoinHandle<Spoken>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicUsize,
    /// What was seen in place of an answer, and how often.
    seen: Mutex<BTreeMap<String, usize>>,
    /// What users were given of others.
    foreign: Mutex<Vec<String>>,
}

impl Load {
    /// Users who talk through the balancer, every second one by streams. A message that is refused or breaks off is sent
    /// again with its key until it is answered. All users have the same keys.
    pub(super) fn start(users: usize, balancer: &Balancer) -> Self {
        let shared = Arc::new(Shared::default());
        let users: Vec<_> = (0..users).map(User::new).collect();
        let client = |(number, user): (usize, &User)| {
            tokio::spawn(talk(user.clone(), number % 2 == 1, balancer.client(), Arc::clone(&shared)))
        };
        let clients = users.iter().enumerate().map(client).collect();
        Self { shared, users, clients }
    }

    /// Waits until so many further messages were answered.
    pub(super) async fn progress(&self, messages: usize) {
        let enough = self.answered() + messages;
        eventually("the clients to make progress", || async { (self.answered() >= enough).then_some(()) })
            .await;
    }

    pub(super) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// What users saw in place of answers: the kind of problem, or `broken`.
    pub(super) fn seen(&self) -> BTreeMap<String, usize> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// What users were given of others so far.
    pub(super) fn foreign(&self) -> Vec<String> {
        self.shared.foreign.lock().unwrap().clone()
    }

    pub(super) fn users(&self) -> &[User] {
        &self.users
    }

    /// Lets every user finish its message, and compares what they were told with what is stored.
    pub(super) async fn finish(self, client: &Client) -> Findings {
        self.stop().await.compare(client).await
    }

    /// Lets every user finish its message.
    pub(super) async fn stop(self) -> Told {
        self.shared.stop.store(true, Ordering::Relaxed);
        let spoken = join_all(self.clients).await.into_iter().map(|spoken| spoken.unwrap()).collect();
        let foreign = self.shared.foreign.lock().unwrap().clone();
        Told { spoken, foreign }
    }
}

impl Shared {
    /// Searches what a user was given for what is of others.
    fn search(&self, user: &User, given: &str) {
        self.foreign.lock().unwrap().extend(user.foreign_in(given));
    }
}

async fn talk(user: User, by_stream: bool, client: Client, shared: Arc<Shared>) -> Spoken {
    let mut spoken =
        Spoken { user: user.clone(), conversation: String::new(), turn: String::new(), acknowledged: vec![] };
    let mut conversation = Value::Null;
    while spoken.acknowledged.is_empty() || !shared.stop.load(Ordering::Relaxed) {
        let number = spoken.acknowledged.len();
        let said = user.message(number);
        let body = json!({ "message": said, "conversation_id": conversation });
        let key = format!("message-{number}");
        let reply = ask(&user, &client, &body, &key, by_stream, &shared).await;
        let content = &reply["reply"]["content"];
        if *content != format!("You said: {said}") {
            shared.foreign.lock().unwrap().push(format!("{said:?} was answered with {content}"));
        }
        conversation = reply["conversation_id"].clone();
        reply["turn_id"].as_str().unwrap().clone_into(&mut spoken.turn);
        spoken.acknowledged.push(said);
        shared.answered.fetch_add(1, Ordering::Relaxed);
        if spoken.acknowledged.len().is_multiple_of(READS_EVERY) {
            look_back(&user, &client, &reply, &shared).await;
        }
    }
    conversation.as_str().unwrap().clone_into(&mut spoken.conversation);
    spoken
}

/// Sends one message until it is answered.
async fn ask(
    user: &User,
    client: &Client,
    body: &Value,
    key: &str,
    by_stream: bool,
    shared: &Shared,
) -> Value {
    loop {
        let request = user.of(client).chat(body).key(key);
        let request = if by_stream { request.header("accept", "text/event-stream") } else { request };
        let seen = match request.try_read().await {
            Ok((reply, is_whole)) => {
                shared.search(user, &reply.text);
                match answer(&reply, is_whole, by_stream) {
                    Ok(answer) => return answer,
                    Err(seen) => seen,
                }
            }
            Err(_) => "broken".to_owned(),
        };
        *shared.seen.lock().unwrap().entry(seen).or_default() += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reads the conversations, the newest messages and the last turn of a user again. It may be refused, as while Redis or the
/// database is away.
async fn look_back(user: &User, client: &Client, reply: &Value, shared: &Shared) {
    let id = |name: &str| reply[name].as_str().unwrap().to_owned();
    for path in [
        "/conversations".to_owned(),
        format!("/conversations/{}/messages", id("conversation_id")),
        format!("/turns/{}/events", id("turn_id")),
    ] {
        if let Ok((reply, is_whole)) = user.of(client).get(&path).try_read().await {
            shared.search(user, &reply.text);
            if is_whole && reply.status != 200 {
                problem_of(&reply);
            }
        }
    }
}

/// The answer to a message, or what was seen in its place.
fn answer(reply: &Reply, is_whole: bool, by_stream: bool) -> Result<Value, String> {
    if !is_whole {
        return Err("broken".to_owned());
    }
    if reply.status != 200 {
        return Err(problem_of(reply));
    }
    if !by_stream {
        return Ok(reply.json());
    }
    match last_event(&reply.text) {
        Some((name, data)) if name == "turn.completed" => Ok(data),
        Some((_, data)) => Err(problem_in_stream(&data["problem"])),
        None => Err("broken".to_owned()),
    }
}

/// The kind of the problem that a refusal is. Panics unless it is complete, with `Retry-After` where that is due.
fn problem_of(reply: &Reply) -> String {
    let kind = kind(&reply.json());
    reply.problem(reply.status, &kind);
    kind
}

/// The kind of the problem at the end of a stream. Panics unless it says when to come back where that is due.
fn problem_in_stream(problem: &Value) -> String {
    if matches!(problem["status"].as_u64(), Some(429 | 503)) {
        assert!(problem["retry_after"].as_u64().is_some_and(|seconds| seconds > 0), "{problem}");
    }
    kind(problem)
}

/// The name of a problem's type.
fn kind(problem: &Value) -> String {
    let name = problem["type"].as_str().and_then(|name| name.rsplit(['#', '/']).next());
    name.unwrap_or_else(|| panic!("no problem: {problem}")).to_owned()
}

/// Name and data of the last event of a stream, if it is one that ends a stream.
fn last_event(stream: &str) -> Option<(String, Value)> {
    let last = stream.trim_end().rsplit("\n\n").next()?;
    let field = |name: &str| last.lines().find_map(|line| line.strip_prefix(name));
    let name = field("event:")?.trim().to_owned();
    let data = serde_json::from_str(field("data:")?.trim()).ok()?;
    name.starts_with("turn.").then_some((name, data)).filter(|(name, _)| name != "turn.created")
}
