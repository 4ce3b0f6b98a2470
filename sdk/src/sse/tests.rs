//! Streams of the specification's rules, cut at every byte.

use super::{Event, Parser, TooLong};
use crate::http::Error;

/// Input, and the events as (type, data, id).
type Case<'a> = (&'a str, &'a [u8], &'a [(&'a str, &'a str, Option<&'a str>)]);

const TABLE: &[Case<'_>] = &[
    ("line feeds", b"data: a\n\ndata: b\n\n", &[("message", "a", None), ("message", "b", None)]),
    ("carriage returns", b"data: a\r\rdata: b\r\r", &[("message", "a", None), ("message", "b", None)]),
    ("both", b"data: a\r\n\r\ndata: b\r\n\r\n", &[("message", "a", None), ("message", "b", None)]),
    ("mixed", b"data: a\r\ndata: b\n\rdata: c\r\r\n", &[("message", "a\nb", None), ("message", "c", None)]),
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
    let table: [(&[u8], Option<u64>); 4] =
        [(b"retry: 1500\n", Some(1500)), (b"retry: 1.5\n", None), (b"retry: -1\n", None), (b"retry\n", None)];
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
fn events_that_arrived_together_are_returned_together_and_before_the_error() {
    use crate::http::Request;
    use crate::testing::{self, HttpResponse};

    let long = vec![b'x'; 2 * 1024 * 1024];
    testing::reset();
    testing::respond(
        HttpResponse::new(200).chunk("data: a\n\nda").chunk([b"ta: b\n\ndata: c\n\n", &long[..]].concat()),
    );
    let mut events = testing::run(Request::get("http://e.org").send()).unwrap().events();
    let mut next = || testing::run(events.arrived()).map(|arrived| arrived.map(|events| events.len()));
    assert_eq!(next(), Ok(Some(1)));
    assert_eq!(next(), Ok(Some(2)));
    assert!(matches!(next(), Err(Error::TooLarge(_))));
}
