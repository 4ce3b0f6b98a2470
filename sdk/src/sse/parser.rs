//! Turns the bytes of an event stream into events. Does no input or output.

use super::lines::{Lines, TooLong};
use std::collections::VecDeque;

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The event's type; `message` if the stream names none.
    pub event: String,
    /// The data, its lines joined by line feeds.
    pub data: String,
    /// The last id that the stream sent, with this event or with an earlier one.
    pub id: Option<String>,
}

/// Reads events from bytes. A chunk may end anywhere, also within a character.
///
/// ```
/// use masque_sdk::sse::Parser;
/// let mut parser = Parser::default();
/// parser.push(b"data: hel").unwrap();
/// assert!(parser.next_event().is_none());
/// parser.push(b"lo\n\n").unwrap();
/// assert_eq!(parser.next_event().unwrap().data, "hello");
/// ```
#[derive(Debug)]
pub struct Parser {
    lines: Lines,
    fields: Fields,
}

/// What the lines since the last event said.
#[derive(Debug)]
struct Fields {
    limit: usize,
    event: String,
    data: String,
    id: Option<String>,
    retry_ms: Option<u64>,
    ready: VecDeque<Event>,
}

/// The limit is 1 MiB for a line and for the data of an event.
impl Default for Parser {
    fn default() -> Self {
        Self::with_limit(1024 * 1024)
    }
}

impl Parser {
    /// A parser that refuses lines and events longer than `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        let fields = Fields {
            limit,
            event: String::new(),
            data: String::new(),
            id: None,
            retry_ms: None,
            ready: VecDeque::new(),
        };
        Self { lines: Lines::with_limit(limit), fields }
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// [`TooLong`]. The parser can't be used for further bytes then; events that were complete before can still be
    /// read.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let Self { lines, fields } = self;
        lines.push(bytes, |line| fields.take_line(line))
    }

    /// Returns the next complete event, or `None` if more bytes are needed.
    pub fn next_event(&mut self) -> Option<Event> {
        self.fields.ready.pop_front()
    }

    /// Returns the time in milliseconds after which the stream asks a client to connect again, if it sent one.
    pub fn retry_ms(&self) -> Option<u64> {
        self.fields.retry_ms
    }
}

impl Fields {
    fn take_line(&mut self, text: &str) -> Result<(), TooLong> {
        if text.is_empty() {
            self.dispatch();
            return Ok(());
        }
        let (field, value) = match text.split_once(':') {
            Some((field, value)) => (field, value.strip_prefix(' ').unwrap_or(value)),
            None => (text, ""),
        };
        match field {
            "event" => self.event = value.into(),
            "data" => {
                if self.data.len() + value.len() >= self.limit {
                    return Err(TooLong::Event(self.limit));
                }
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id = Some(value.into()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry_ms = value.parse().ok();
            }
            // A comment has an empty field name; unknown fields are ignored.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self) {
        let event = std::mem::take(&mut self.event);
        if self.data.is_empty() {
            return;
        }
        let mut data = std::mem::take(&mut self.data);
        data.pop();
        let event = if event.is_empty() { "message".into() } else { event };
        self.ready.push_back(Event { event, data, id: self.id.clone() });
    }
}
