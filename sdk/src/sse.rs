//! Server-sent events as the WHATWG specification reads them (HTML, section 9.2.6, "Interpreting an event stream").
//!
//! [`Parser`] is pure: bytes in, events out, wherever the chunks are cut. [`Events`] reads them off a response.

use crate::http::{Error, Response};
use std::collections::VecDeque;

/// One event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The event's type; `message` where the stream names none.
    pub event: String,
    /// The data, its lines joined by line feeds.
    pub data: String,
    /// The last id that the stream gave, with this event or before it.
    pub id: Option<String>,
}

/// What a stream may not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLong {
    /// A line is longer than the limit in bytes.
    #[error("a line of the event stream is longer than {0} bytes")]
    Line(usize),
    /// An event's data is longer than the limit in bytes.
    #[error("an event of the event stream is longer than {0} bytes")]
    Event(usize),
}

/// Reads events from bytes, wherever these are cut.
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
    limit: usize,
    line: Vec<u8>,
    /// The last byte was a carriage return, so a line feed that follows ends no line of its own.
    after_cr: bool,
    at_start: bool,
    event: String,
    data: String,
    id: Option<String>,
    retry_ms: Option<u64>,
    ready: VecDeque<Event>,
}

/// 1 MiB for a line and for the data of an event.
impl Default for Parser {
    fn default() -> Self {
        Self::with_limit(1024 * 1024)
    }
}

impl Parser {
    /// A parser that refuses lines and events longer than `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_cr: false,
            at_start: true,
            event: String::new(),
            data: String::new(),
            id: None,
            retry_ms: None,
            ready: VecDeque::new(),
        }
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// [`TooLong`]; the stream is not usable any further, events that were complete before are.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), TooLong> {
        if bytes.is_empty() {
            return Ok(());
        }
        if std::mem::take(&mut self.after_cr) {
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some((line, end, rest)) = split_line(bytes) {
            self.extend_line(line)?;
            let line = std::mem::take(&mut self.line);
            self.take_line(&line)?;
            bytes = match end {
                b'\r' if rest.is_empty() => {
                    self.after_cr = true;
                    rest
                }
                b'\r' => rest.strip_prefix(b"\n").unwrap_or(rest),
                _ => rest,
            };
            // The allocation is used again for the next line.
            self.line = line;
            self.line.clear();
        }
        self.extend_line(bytes)
    }

    /// The next complete event.
    pub fn next_event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// After how many milliseconds the stream wants a client to connect again.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > self.limit {
            return Err(TooLong::Line(self.limit));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), TooLong> {
        // Whole lines are decoded, so a character that was cut by a chunk is whole again.
        let text = String::from_utf8_lossy(line);
        let mut text = text.as_ref();
        if std::mem::take(&mut self.at_start) {
            text = text.strip_prefix('\u{feff}').unwrap_or(text);
        }
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

/// The bytes before the first end of a line, that end, and the bytes after it.
fn split_line(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let at = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
    let (line, rest) = bytes.split_at_checked(at)?;
    let (end, rest) = rest.split_first()?;
    Some((line, *end, rest))
}

/// The events of a response.
pub struct Events {
    response: Response,
    parser: Parser,
    /// What made the stream unusable, told after the events that were complete before it.
    broken: Option<TooLong>,
}

impl Events {
    pub(crate) fn new(response: Response) -> Self {
        Self { response, parser: Parser::default(), broken: None }
    }

    /// The events that have arrived together, at least one; nothing at the end of the stream. An event that the stream
    /// leaves without its closing empty line is dropped, as the specification says.
    ///
    /// # Errors
    /// Whatever ends the body early, and [`Error::TooLarge`].
    pub async fn arrived(&mut self) -> Result<Option<Vec<Event>>, Error> {
        loop {
            if let Some(error) = self.broken {
                return Err(Error::TooLarge(error.to_string()));
            }
            let Some(chunk) = self.response.chunk().await? else { return Ok(None) };
            self.broken = self.parser.push(&chunk).err();
            let events: Vec<_> = std::iter::from_fn(|| self.parser.next_event()).collect();
            if !events.is_empty() {
                return Ok(Some(events));
            }
        }
    }
}

#[cfg(test)]
mod tests;
