//! Reads a stream of server-sent events, and checks what every stream of the API must have.

use bytes::{Buf, BytesMut};
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::problem::check_problem;
use crate::wait::within;

#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The field `event`.
    pub name: String,
    pub id: String,
    pub data: Value,
}

/// The events of a response, as they arrive.
pub struct Events {
    pub headers: HeaderMap,
    body: reqwest::Response,
    buffer: BytesMut,
    /// Whether the connection broke instead of ending.
    pub broken: bool,
}

impl Events {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        let headers = response.headers().clone();
        Self { headers, body: response, buffer: BytesMut::new(), broken: false }
    }

    /// Waits for the next event; `None` after the last one.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.block().await? {
                Block::Event(event) => return Some(event),
                Block::Comment => {}
            }
        }
    }

    /// Waits for a comment line. Panics if an event comes first.
    pub async fn expect_comment(&mut self) {
        match self.block().await {
            Some(Block::Comment) => {}
            Some(Block::Event(event)) => panic!("expected a comment, got {event:?}"),
            None => panic!("expected a comment, got the end"),
        }
    }

    async fn block(&mut self) -> Option<Block> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block = self.buffer.split_to(end);
                self.buffer.advance(2);
                return Some(parse(std::str::from_utf8(&block).expect("events are UTF-8")));
            }
            match within("the next event", self.body.chunk()).await {
                Ok(Some(bytes)) => self.buffer.extend_from_slice(&bytes),
                Ok(None) => {
                    assert!(self.buffer.is_empty(), "half an event at the end: {:?}", self.buffer);
                    return None;
                }
                Err(_) => {
                    self.broken = true;
                    return None;
                }
            }
        }
    }

    /// Waits for the next event. Panics if it has another name.
    pub async fn expect(&mut self, name: &str) -> Event {
        match self.next().await {
            Some(event) if event.name == name => event,
            other => panic!("expected {name}, got {other:?}"),
        }
    }

    /// Reads deltas until their text contains `words`.
    pub async fn until_text(&mut self, words: &str) -> String {
        let mut text = String::new();
        while !text.contains(words) {
            let event = self.next().await.unwrap_or_else(|| panic!("the stream ended after {text:?}"));
            assert_ne!(event.name, "turn.failed", "{event:?}");
            assert_ne!(event.name, "turn.completed", "{event:?}");
            text.push_str(event.data["text"].as_str().unwrap_or_default());
        }
        text
    }

    /// Reads all events to the end.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Reads the whole stream from its first event. Panics unless it is well formed.
    pub async fn transcript(mut self) -> Transcript {
        let events = self.rest().await;
        assert!(!self.broken, "the connection broke after {events:?}");
        Transcript::of(events)
    }
}

/// A complete and well-formed stream.
#[derive(Debug)]
pub struct Transcript {
    pub turn_id: String,
    pub conversation_id: String,
    /// The text of all deltas.
    pub text: String,
    pub events: Vec<Event>,
}

impl Transcript {
    /// Checks the events: first `turn.created`, then deltas, then one end; `id` and `sequence` are the position.
    pub fn of(events: Vec<Event>) -> Self {
        for (position, event) in events.iter().enumerate() {
            assert_eq!(event.id, position.to_string(), "no gap in {events:?}");
            assert_eq!(event.data["sequence"], position, "the sequence is the id: {event:?}");
            assert_eq!(event.data["type"], event.name, "the type is the event: {event:?}");
        }
        let [created, deltas @ .., last] = events.as_slice() else { panic!("too few events: {events:?}") };
        assert_eq!(created.name, "turn.created");
        let mut text = String::new();
        for delta in deltas {
            assert_eq!(
                delta.name, "reply.delta",
                "only deltas stand between the first and the last: {events:?}"
            );
            text.push_str(delta.data["text"].as_str().expect("a delta has a text"));
        }
        assert!(matches!(last.name.as_str(), "turn.completed" | "turn.failed"), "{last:?} is no end");
        let id = |name: &str| created.data[name].as_str().expect(name).to_owned();
        Self { turn_id: id("turn_id"), conversation_id: id("conversation_id"), text, events }
    }

    /// Returns the data of `turn.completed`, which must be the last event.
    pub fn completed(&self) -> &Value {
        let last = self.last();
        assert_eq!(last.name, "turn.completed", "{last:?}");
        &last.data
    }

    /// Returns the problem of `turn.failed`, which must be the last event and of this kind.
    pub fn failed(&self, kind: &str) -> &Value {
        let last = self.last();
        assert_eq!(last.name, "turn.failed", "{last:?}");
        let problem = &last.data["problem"];
        check_problem(problem, kind);
        problem
    }

    pub fn last(&self) -> &Event {
        self.events.last().unwrap()
    }
}

enum Block {
    Event(Event),
    Comment,
}

fn parse(block: &str) -> Block {
    if block.lines().all(|line| line.starts_with(':')) {
        return Block::Comment;
    }
    let field = |name: &str| {
        let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let values: Vec<_> = lines.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect();
        values.join("\n")
    };
    let data = field("data");
    let data = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error} in {block:?}"));
    Block::Event(Event { name: field("event"), id: field("id"), data })
}
