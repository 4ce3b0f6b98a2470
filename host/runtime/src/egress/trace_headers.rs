//! Puts an outgoing request into the trace of its turn, whatever the guest has set.

use http::HeaderMap;
use masque_telemetry::trace::{TRACEPARENT, TraceContext};

/// Headers that are never sent. `tracestate` (W3C Trace Context) belongs to the `traceparent` that it came with, and the host
/// has none of its own. `baggage` (W3C Baggage) carries values of clients and guests to servers that they did not choose.
const DROPPED: [&str; 2] = ["tracestate", "baggage"];

/// Replaces the context of a trace with the host's own.
pub(super) fn set_trace_headers(headers: &mut HeaderMap, context: TraceContext) {
    for name in DROPPED {
        headers.remove(name);
    }
    headers.remove(TRACEPARENT);
    if let Some(value) = context.to_header() {
        headers.insert(TRACEPARENT, value);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_a_guest_says_of_a_trace_is_replaced_or_dropped() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("traceparent", "another"),
            ("tracestate", "vendor=value"),
            ("baggage", "user=ana"),
            ("baggage", "more=1"),
            ("accept", "text/plain"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let context = TraceContext::root();
        set_trace_headers(&mut headers, context);
        assert_eq!(headers.get_all("traceparent").iter().collect::<Vec<_>>(), [&context.to_string()]);
        assert_eq!(headers.keys().count(), 2, "{headers:?}");
    }
}
