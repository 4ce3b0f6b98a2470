//! Turns the bytes of an event stream into events. Does no input or output.

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

/// The stream exceeds a limit of the parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLong {
    /// A line is longer than this limit in bytes.
    #[error("a line of the event stream is longer than {0} bytes")]
    Line(usize),
    /// The data of an event is longer than this limit in bytes.
    #[error("an event of the event stream is longer than {0} bytes")]
    Event(usize),
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
    limit: usize,
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed that follows belongs to the same line ending.
    after_cr: bool,
    /// No line was read yet: the first one may begin with a byte order mark.
    at_start: bool,
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
    /// [`TooLong`]. The parser can't be used for further bytes then; events that were complete before can still be
    /// read.
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
            // Reuse the allocation for the next line.
            self.line = line;
            self.line.clear();
        }
        self.extend_line(bytes)
    }

    /// Returns the next complete event, or `None` if more bytes are needed.
    pub fn next_event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// Returns the time in milliseconds after which the stream asks a client to connect again, if it sent one.
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
        // Decode whole lines: a chunk may end within a character.
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

/// Returns the bytes before the first line ending, the byte that ends the line, and the bytes after it.
fn split_line(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let at = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
    let (line, rest) = bytes.split_at_checked(at)?;
    let (end, rest) = rest.split_first()?;
    Some((line, *end, rest))
}
