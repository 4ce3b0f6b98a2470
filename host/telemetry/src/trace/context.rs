//! The position of a request in a trace that may span several services (W3C Trace Context, level 1).

use std::fmt;

use http::{HeaderMap, HeaderValue};
use uuid::Uuid;

/// The name of the header that carries the trace context.
pub const TRACEPARENT: &str = "traceparent";
/// The name of the header with what vendors of tracing add to a `traceparent`.
const TRACESTATE: &str = "tracestate";
/// The name of the header with properties that services hand on to each other (W3C Baggage).
const BAGGAGE: &str = "baggage";

/// The trace that a request belongs to, and the host's own span in it. Displays as a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    /// The caller's span, 0 if there is none.
    parent: u64,
    flags: u8,
    /// Whether the flags are those of a caller whose decision counts.
    is_decided: bool,
}

impl TraceContext {
    /// Continues the trace of the request with a new span, or starts a trace if the request has none that is valid. The
    /// caller's decision whether the trace is recorded counts; see [`Self::unsampled`].
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
        Self {
            trace: Uuid::now_v7().as_u128(),
            span: random_u64().max(1),
            parent: 0,
            flags: 0,
            is_decided: false,
        }
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
        let flags = u8::try_from(flags & 1).ok()?;
        Some(Self { trace, span: u64::try_from(span).ok()?, parent: 0, flags, is_decided: true })
    }

    /// The same position for a caller that is not trusted: its ids are used, its decision whether the trace is recorded is not.
    #[must_use]
    pub fn unsampled(self) -> Self {
        Self { flags: 0, is_decided: false, ..self }
    }

    /// The same position in a trace that is recorded or not, as far as is known before its end.
    #[must_use]
    pub fn with_sampled(self, is_sampled: bool) -> Self {
        Self { flags: u8::from(is_sampled), ..self }
    }

    /// Whether the caller has the trace recorded; `None` if it did not say, or does not count.
    pub fn caller_decision(self) -> Option<bool> {
        self.is_decided.then_some(self.is_sampled())
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

    /// The trace id as logs and `traceparent` have it: 32 hexadecimal digits.
    pub fn trace_id_text(self) -> String {
        format!("{:032x}", self.trace)
    }

    /// Adds the `traceparent` header to a request to another server, so that its spans are below this one. Replaces one that
    /// is there, and removes what an intermediary may have added to the trace: `tracestate` belongs to the replaced header,
    /// and `baggage` may hold what concerns only the host's own callers.
    pub fn inject(self, headers: &mut HeaderMap) {
        headers.remove(TRACESTATE);
        headers.remove(BAGGAGE);
        if let Some(value) = self.to_header() {
            headers.insert(TRACEPARENT, value);
        }
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

    #[test]
    fn the_decision_of_a_caller_that_is_not_trusted_does_not_count() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, format!("00-{TRACE}-b7ad6b7169203331-01").parse().unwrap());
        let trusted = TraceContext::from_headers(&headers);
        assert_eq!((trusted.caller_decision(), trusted.child().caller_decision()), (Some(true), Some(true)));
        let untrusted = trusted.unsampled();
        assert_eq!((untrusted.caller_decision(), untrusted.is_sampled()), (None, false));
        assert_eq!(
            (untrusted.trace_id(), untrusted.parent_span_id()),
            (trusted.trace_id(), trusted.parent_span_id())
        );
        assert_eq!(TraceContext::root().caller_decision(), None);
    }

    #[test]
    fn another_server_gets_the_position_and_neither_state_nor_baggage_of_others() {
        let mut headers = HeaderMap::new();
        for name in [TRACEPARENT, TRACESTATE, BAGGAGE] {
            headers.append(name, HeaderValue::from_static("a=b"));
        }
        let context = TraceContext::root();
        context.inject(&mut headers);
        assert_eq!(headers.len(), 1);
        assert_eq!(headers.get(TRACEPARENT).unwrap(), &context.to_string());
        assert!(context.to_string().contains(&context.trace_id_text()));
    }
}
