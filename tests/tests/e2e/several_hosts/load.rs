//! Clients that talk for a while, and what the host has of it afterwards: nothing acknowledged is lost, nothing is there
//! twice, nobody sees anything of others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use masque_tests::{Balancer, Client, eventually};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// How long a client waits before it sends a refused message again.
const PAUSE: Duration = Duration::from_millis(50);

/// Clients under way.
pub(super) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Spoken>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicUsize,
    /// What was seen in place of an answer, and how often.
    seen: Mutex<BTreeMap<String, usize>>,
}

/// What one client said in its conversation and was answered.
pub(super) struct Spoken {
    client: usize,
    conversation: String,
    acknowledged: Vec<String>,
}

/// What is wrong with the conversations.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Messages or replies that were acknowledged and are not there.
    pub(super) lost: Vec<String>,
    /// Messages or replies that are there more than once.
    pub(super) doubled: Vec<String>,
    /// Messages of other clients.
    pub(super) foreign: Vec<String>,
}

impl Load {
    /// Clients that talk through the balancer, every second one by streams. A message that is refused or breaks off is sent
    /// again with its key until it is answered.
    pub(super) fn start(clients: usize, balancer: &Balancer) -> Self {
        let shared = Arc::new(Shared::default());
        let client = |number| tokio::spawn(talk(number, balancer.client(), Arc::clone(&shared)));
        let clients = (0..clients).map(client).collect();
        Self { shared, clients }
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

    /// What clients saw in place of answers: the kind of problem, or `broken`.
    pub(super) fn seen(&self) -> BTreeMap<String, usize> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Lets every client finish its message, and compares what they were told with what is stored.
    pub(super) async fn finish(self, client: &Client) -> Findings {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut findings = Findings::default();
        for spoken in join_all(self.clients).await {
            let spoken = spoken.unwrap();
            let stored = all_messages(client, &spoken.conversation).await;
            let stored = stored.iter().map(|message| message["content"].as_str().unwrap().to_owned());
            findings.add(&spoken, &stored.collect::<Vec<_>>());
        }
        findings
    }
}

impl Findings {
    fn add(&mut self, spoken: &Spoken, stored: &[String]) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for text in stored {
            *counts.entry(text).or_default() += 1;
        }
        for said in &spoken.acknowledged {
            for text in [said.clone(), format!("You said: {said}")] {
                match counts.get(text.as_str()) {
                    None => self.lost.push(text),
                    Some(1) => {}
                    Some(_) => self.doubled.push(text),
                }
            }
        }
        let own = format!("Client {},", spoken.client);
        let mut said = stored.iter().filter(|text| text.contains("Client "));
        self.foreign.extend(said.by_ref().filter(|text| !text.contains(&own)).cloned());
    }
}

async fn talk(number: usize, client: Client, shared: Arc<Shared>) -> Spoken {
    let mut spoken = Spoken { client: number, conversation: String::new(), acknowledged: Vec::new() };
    let mut conversation = Value::Null;
    while spoken.acknowledged.is_empty() || !shared.stop.load(Ordering::Relaxed) {
        let said = format!("Client {number}, message {}.", spoken.acknowledged.len());
        let body = json!({ "message": said, "conversation_id": conversation });
        let reply = ask(&client, &body, &said, number % 2 == 1, &shared).await;
        assert_eq!(reply["reply"]["content"], format!("You said: {said}"));
        conversation = reply["conversation_id"].clone();
        spoken.acknowledged.push(said);
        shared.answered.fetch_add(1, Ordering::Relaxed);
    }
    conversation.as_str().unwrap().clone_into(&mut spoken.conversation);
    spoken
}

/// Sends one message until it is answered.
async fn ask(client: &Client, body: &Value, said: &str, by_stream: bool, shared: &Shared) -> Value {
    loop {
        let request = client.chat(body).key(&said.replace([' ', ','], "-"));
        let seen = if by_stream {
            match request.header("accept", "text/event-stream").try_send().await {
                Ok(reply) if reply.status == 200 => match last_event(&reply.text) {
                    Some((name, data)) if name == "turn.completed" => return data,
                    Some((_, data)) => kind(&data["problem"]),
                    None => "broken".to_owned(),
                },
                Ok(reply) => kind(&reply.json()),
                Err(_) => "broken".to_owned(),
            }
        } else {
            match request.try_send().await {
                Ok(reply) if reply.status == 200 => return reply.json(),
                Ok(reply) => kind(&reply.json()),
                Err(_) => "broken".to_owned(),
            }
        };
        *shared.seen.lock().unwrap().entry(seen).or_default() += 1;
        tokio::time::sleep(PAUSE).await;
    }
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

async fn all_messages(client: &Client, conversation: &str) -> Vec<Value> {
    let base = format!("/conversations/{conversation}/messages?limit=100");
    let (mut messages, mut path) = (Vec::new(), base.clone());
    loop {
        let page = client.get(&path).send().await.expect(200);
        messages.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { return messages };
        path = format!("{base}&after={next}");
    }
}

#[test]
fn the_checker_finds_what_is_lost_doubled_or_of_others() {
    let spoken = Spoken {
        client: 1,
        conversation: String::new(),
        acknowledged: vec!["Client 1, message 0.".into(), "Client 1, message 1.".into()],
    };
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let right = texts(&[
        "Client 1, message 0.",
        "You said: Client 1, message 0.",
        "Client 1, message 1.",
        "You said: Client 1, message 1.",
    ]);
    let findings = |stored: &[String]| {
        let mut findings = Findings::default();
        findings.add(&spoken, stored);
        findings
    };
    assert_eq!(findings(&right), Findings::default());
    assert_eq!(findings(&right[1..]).lost, ["Client 1, message 0."]);
    assert_eq!(
        findings(&[right.clone(), right[3..].to_vec()].concat()).doubled,
        ["You said: Client 1, message 1."]
    );
    let foreign = [right, texts(&["Client 12, message 0."])].concat();
    assert_eq!(findings(&foreign).foreign, ["Client 12, message 0."]);
}
