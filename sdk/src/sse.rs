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
mod tests {
    use super::*;

    /// Input, and the events as (type, data, id).
    type Case<'a> = (&'a str, &'a [u8], &'a [(&'a str, &'a str, Option<&'a str>)]);

    const TABLE: &[Case<'_>] = &[
        ("line feeds", b"data: a\n\ndata: b\n\n", &[("message", "a", None), ("message", "b", None)]),
        ("carriage returns", b"data: a\r\rdata: b\r\r", &[("message", "a", None), ("message", "b", None)]),
        ("both", b"data: a\r\n\r\ndata: b\r\n\r\n", &[("message", "a", None), ("message", "b", None)]),
        (
            "mixed",
            b"data: a\r\ndata: b\n\rdata: c\r\r\n",
            &[("message", "a\nb", None), ("message", "c", None)],
        ),
        ("a byte order mark", b"\xef\xbb\xbfdata: a\n\n", &[("message", "a", None)]),
        ("a later mark is text", b"\n\xef\xbb\xbfdata: a\n\n", &[]),
        ("comments", b": hello\n:\ndata: a\n: there\n\n", &[("message", "a", None)]),
        ("a comment alone is no event", b": keep-alive\n\n", &[]),
        ("several data lines", b"data: a\ndata:\ndata: b\n\n", &[("message", "a\n\nb", None)]),
        ("only one space is taken", b"data:  a\ndata:b\n\n", &[("message", " a\nb", None)]),
        ("a field without colon", b"data\ndata\n\n", &[("message", "\n", None)]),
        ("one empty data line is an event", b"data\n\n", &[("message", "", None)]),
        (
            "an event's type",
            b"event: ping\ndata: a\n\ndata: b\n\n",
            &[("ping", "a", None), ("message", "b", None)],
        ),
        ("a type without data is forgotten", b"event: x\n\ndata: a\n\n", &[("message", "a", None)]),
        (
            "an id stays",
            b"id: 7\ndata: a\n\ndata: b\n\n",
            &[("message", "a", Some("7")), ("message", "b", Some("7"))],
        ),
        ("an id with a null is ignored", b"id: 7\nid: 8\x00\ndata: a\n\n", &[("message", "a", Some("7"))]),
        ("an empty id resets", b"id: 7\nid\ndata: a\n\n", &[("message", "a", Some(""))]),
        ("unknown fields", b"foo: x\nData: y\ndata: a\n\n", &[("message", "a", None)]),
        ("an unfinished event is dropped", b"data: a\n\ndata: b\n", &[("message", "a", None)]),
        ("colons in the value", b"data: {\"a\": 1}\n\n", &[("message", "{\"a\": 1}", None)]),
        ("wide characters", "data: grüße 你好 🌒\n\n".as_bytes(), &[("message", "grüße 你好 🌒", None)]),
        ("broken characters", b"data: a\xffb\n\n", &[("message", "a\u{fffd}b", None)]),
    ];

    fn events(chunks: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::default();
        for chunk in chunks {
            parser.push(chunk).unwrap();
        }
        std::iter::from_fn(|| parser.next_event()).collect()
    }

    #[test]
    fn every_stream_reads_the_same_wherever_it_is_cut() {
        for (name, input, wanted) in TABLE {
            let wanted: Vec<_> = wanted
                .iter()
                .map(|(event, data, id)| Event {
                    event: event.to_string(),
                    data: data.to_string(),
                    id: id.map(String::from),
                })
                .collect();
            assert_eq!(events(&[input]), wanted, "{name}, whole");
            for cut in 0..input.len() {
                let (head, tail) = input.split_at(cut);
                assert_eq!(events(&[head, b"", tail]), wanted, "{name}, cut at {cut}");
            }
            let bytes: Vec<_> = input.chunks(1).collect();
            assert_eq!(events(&bytes), wanted, "{name}, byte by byte");
        }
    }

    #[test]
    fn an_event_is_there_as_soon_as_its_empty_line_is() {
        let mut parser = Parser::default();
        parser.push(b"data: a\r\n\r").unwrap();
        assert_eq!(parser.next_event().unwrap().data, "a");
    }

    #[test]
    fn only_digits_set_the_time_to_retry() {
        let table: [(&[u8], Option<u64>); 4] = [
            (b"retry: 1500\n", Some(1500)),
            (b"retry: 1.5\n", None),
            (b"retry: -1\n", None),
            (b"retry\n", None),
        ];
        for (input, wanted) in table {
            let mut parser = Parser::default();
            parser.push(input).unwrap();
            assert_eq!(parser.retry_ms(), wanted);
        }
    }

    #[test]
    fn lines_and_events_are_bounded_however_they_arrive() {
        let mut parser = Parser::with_limit(16);
        assert_eq!(parser.push(b"data: 0123456789abc"), Err(TooLong::Line(16)));
        let mut parser = Parser::with_limit(16);
        let endless = std::iter::repeat_n(b"x", 100).find_map(|chunk| parser.push(chunk).err());
        assert_eq!(endless, Some(TooLong::Line(16)));
        let mut parser = Parser::with_limit(16);
        let endless = std::iter::repeat_n(b"data: abc\n", 100).find_map(|line| parser.push(line).err());
        assert_eq!(endless, Some(TooLong::Event(16)));
    }

    #[test]
    fn what_arrived_together_comes_together_and_before_what_broke_the_stream() {
        use crate::http::Request;
        use crate::testing::{self, HttpResponse};

        let long = vec![b'x'; 2 * 1024 * 1024];
        testing::reset();
        testing::respond(
            HttpResponse::new(200)
                .chunk("data: a\n\nda")
                .chunk([b"ta: b\n\ndata: c\n\n", &long[..]].concat()),
        );
        let mut events = testing::run(Request::get("http://e.org").send()).unwrap().events();
        let mut next = || testing::run(events.arrived()).map(|arrived| arrived.map(|events| events.len()));
        assert_eq!(next(), Ok(Some(1)));
        assert_eq!(next(), Ok(Some(2)));
        assert!(matches!(next(), Err(Error::TooLarge(_))));
    }
}
