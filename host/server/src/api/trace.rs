//! What ties a request to its lines in the log: its own id, and its place in a trace that may span several services
//! (W3C Trace Context, level 1).

use std::fmt;

use http::{HeaderMap, HeaderValue};
use uuid::Uuid;

pub(crate) const REQUEST_ID: &str = "x-request-id";
pub(crate) const TRACEPARENT: &str = "traceparent";

/// The client's own id where it is harmless in a log, else a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(String);

impl RequestId {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        match given {
            Some(id) if Self::harmless(id) => Self(id.to_owned()),
            _ => Self(Uuid::now_v7().to_string()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn harmless(id: &str) -> bool {
        (1..=128).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    }
}

/// The trace that a request belongs to, and the host's own place in it. Displays as a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    pub(crate) trace: u128,
    span: u64,
    flags: u8,
}

impl TraceContext {
    /// Goes on with the trace of the request, or begins one where it has none that can be read.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let given = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(Self::parse),
            _ => None,
        };
        let span = random().max(1);
        match given {
            Some(parent) => Self { span, ..parent },
            None => Self { trace: Uuid::now_v7().as_u128(), span, flags: 0 },
        }
    }

    /// Section 3.2. A later version may add fields after the fourth; version `ff` is none.
    fn parse(value: &str) -> Option<Self> {
        let mut fields = value.splitn(5, '-');
        let version = hex(fields.next()?, 2)?;
        let trace = hex(fields.next()?, 32).filter(|trace| *trace != 0)?;
        let span = hex(fields.next()?, 16).filter(|span| *span != 0)?;
        let flags = hex(fields.next()?, 2)?;
        let more = fields.next().is_some();
        if version == 0xff || (version == 0 && more) {
            return None;
        }
        // Of the flags, version 00 knows `sampled` only.
        Some(Self { trace, span: u64::try_from(span).ok()?, flags: u8::try_from(flags & 1).ok()? })
    }

    pub(crate) fn header(self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.to_string()).ok()
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// Lower case only, and all of `width`.
fn hex(digits: &str, width: usize) -> Option<u128> {
    let exact = digits.len() == width && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if exact { u128::from_str_radix(digits, 16).ok() } else { None }
}

/// The lower half of a UUIDv7, 62 bits of which are random.
fn random() -> u64 {
    Uuid::now_v7().as_u64_pair().1
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_request_id_that_could_forge_a_log_line_is_replaced() {
        let long = "a".repeat(128);
        let longer = "a".repeat(129);
        let cases = [
            ("abc-1.2_3", true),
            (long.as_str(), true),
            (longer.as_str(), false),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            ("a/b", false),
            ("\u{e9}", false),
        ];
        for (id, kept) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap());
            assert_eq!(RequestId::of(&headers).as_str() == id, kept, "{id:?}");
        }
        assert!(Uuid::parse_str(RequestId::of(&HeaderMap::new()).as_str()).is_ok());
    }

    #[test]
    fn only_a_traceparent_by_the_letter_is_followed() {
        let cases = [
            (format!("00-{TRACE}-b7ad6b7169203331-01"), true),
            (format!("00-{TRACE}-b7ad6b7169203331-00"), true),
            (format!("cc-{TRACE}-b7ad6b7169203331-01"), true),
            (format!("cc-{TRACE}-b7ad6b7169203331-01-what-comes-later"), true),
            (format!("00-{TRACE}-b7ad6b7169203331-01-more"), false),
            (format!("ff-{TRACE}-b7ad6b7169203331-01"), false),
            (format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), false),
            (format!("00-{TRACE}-0000000000000000-01"), false),
            (format!("00-{}-b7ad6b7169203331-01", TRACE.to_uppercase()), false),
            (format!("00-{TRACE}-b7ad6b7169203331"), false),
            (format!("00-{TRACE}-b7ad6b716920333-01"), false),
            (format!("0-{TRACE}-b7ad6b7169203331-01"), false),
            (format!(" 00-{TRACE}-b7ad6b7169203331-01"), false),
            (format!("00-+{}-b7ad6b7169203331-01", &TRACE[1..]), false),
            (String::new(), false),
        ];
        for (value, followed) in cases {
            assert_eq!(TraceContext::parse(&value).is_some(), followed, "{value}");
        }
    }

    #[test]
    fn the_host_keeps_the_trace_and_names_a_span_of_its_own() {
        let given = format!("00-{TRACE}-b7ad6b7169203331-01");
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, given.parse().unwrap());
        let ours = TraceContext::of(&headers).to_string();
        assert!(ours.starts_with(&format!("00-{TRACE}-")) && ours.ends_with("-01"), "{ours}");
        assert_ne!(ours, given);
        assert!(TraceContext::parse(&ours).is_some());
    }

    #[test]
    fn two_traceparents_are_none() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(TRACEPARENT, format!("00-{TRACE}-b7ad6b7169203331-01").parse().unwrap());
        }
        assert!(!TraceContext::of(&headers).to_string().contains(TRACE));
    }
}
