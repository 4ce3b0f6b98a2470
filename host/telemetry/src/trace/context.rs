//! The position of a request in a trace that may span several services (W3C Trace Context, level 1).

use std::fmt;

use http::{HeaderMap, HeaderValue};
use uuid::Uuid;

/// The name of the header that carries the trace context.
pub const TRACEPARENT: &str = "traceparent";

/// The trace that a request belongs to, and the host's own span in it. Displays as a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    /// The caller's span, 0 if there is none.
    parent: u64,
    flags: u8,
}

impl TraceContext {
    /// Continues the trace of the request with a new span, or starts a trace if the request has none that is valid.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let given = match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok().and_then(Self::parse),
            _ => None,
        };
        let span = random_u64().max(1);
        match given {
            Some(caller) => Self { span, parent: caller.span, ..caller },
            None => Self { span, ..Self::root() },
        }
    }

    /// The first span of a new trace.
    pub fn root() -> Self {
        Self { trace: Uuid::now_v7().as_u128(), span: random_u64().max(1), parent: 0, flags: 0 }
    }

    /// Parses a `traceparent` (section 3.2): the position that it names. A later version may have more than four fields;
    /// version `ff` is invalid.
    pub fn parse(value: &str) -> Option<Self> {
        let mut fields = value.splitn(5, '-');
        let version = parse_hex(fields.next()?, 2)?;
        let trace = parse_hex(fields.next()?, 32).filter(|trace| *trace != 0)?;
        let span = parse_hex(fields.next()?, 16).filter(|span| *span != 0)?;
        let flags = parse_hex(fields.next()?, 2)?;
        let has_more = fields.next().is_some();
        if version == 0xff || (version == 0 && has_more) {
            return None;
        }
        // Version 00 defines one flag, `sampled`; the others must not be passed on.
        Some(Self { trace, span: u64::try_from(span).ok()?, parent: 0, flags: u8::try_from(flags & 1).ok()? })
    }

    /// The position of a step within this one.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: random_u64().max(1), parent: self.span, ..self }
    }

    /// The trace id.
    pub fn trace_id(self) -> u128 {
        self.trace
    }

    /// The id of the span.
    pub fn span_id(self) -> u64 {
        self.span
    }

    /// The id of the span above it, 0 if there is none.
    pub fn parent_span_id(self) -> u64 {
        self.parent
    }

    /// Whether the trace is to be recorded, as far as is known.
    pub fn is_sampled(self) -> bool {
        self.flags & 1 == 1
    }

    /// The same position in a trace that is to be recorded.
    #[must_use]
    pub fn sampled(self) -> Self {
        Self { flags: 1, ..self }
    }

    /// The same position, whatever its caller wants recorded.
    #[must_use]
    pub fn unsampled(self) -> Self {
        Self { flags: 0, ..self }
    }

    /// The value of the `traceparent` header.
    pub fn to_header(self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.to_string()).ok()
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// Parses exactly `width` hexadecimal digits in lower case.
fn parse_hex(digits: &str, width: usize) -> Option<u128> {
    let is_exact = digits.len() == width && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if is_exact { u128::from_str_radix(digits, 16).ok() } else { None }
}

/// The lower half of a UUIDv7, 62 bits of which are random.
fn random_u64() -> u64 {
    Uuid::now_v7().as_u64_pair().1
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn only_a_valid_traceparent_is_continued() {
        let cases = [
            (format!("00-{TRACE}-b7ad6b7169203331-01"), true),
            (format!("00-{TRACE}-b7ad6b7169203331-00"), true),
            (format!("cc-{TRACE}-b7ad6b7169203331-01"), true),
            (format!("cc-{TRACE}-b7ad6b7169203331-01-fields-of-a-later-version"), true),
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
        for (value, is_continued) in cases {
            assert_eq!(TraceContext::parse(&value).is_some(), is_continued, "{value}");
        }
    }

    #[test]
    fn the_trace_id_is_kept_and_the_span_id_is_new() {
        let given = format!("00-{TRACE}-b7ad6b7169203331-01");
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, given.parse().unwrap());
        let own = TraceContext::from_headers(&headers).to_string();
        assert!(own.starts_with(&format!("00-{TRACE}-")) && own.ends_with("-01"), "{own}");
        assert_ne!(own, given);
        assert!(TraceContext::parse(&own).is_some());
    }

    #[test]
    fn two_traceparents_are_ignored() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(TRACEPARENT, format!("00-{TRACE}-b7ad6b7169203331-01").parse().unwrap());
        }
        assert!(!TraceContext::from_headers(&headers).to_string().contains(TRACE));
    }
}
