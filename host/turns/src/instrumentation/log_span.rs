//! The span of the log's lines about a turn.

use masque_store::{ConversationId, TurnId};
use masque_telemetry::trace::TraceContext;
use tracing::Span;
use tracing::field::{Empty, display};

/// For the lines that are logged of a turn. The span of the request around it has the ids of the request and the trace already, and
/// each of them is to be on a line once. The turn has them itself where the operator's directives leave that span out.
pub(crate) fn log_span(
    turn: TurnId,
    conversation: ConversationId,
    companion: &str,
    request_id: &str,
    trace: TraceContext,
) -> Span {
    let span = tracing::error_span!(
        "turn",
        turn_id = %turn,
        conversation_id = %conversation,
        companion,
        request_id = Empty,
        trace_id = Empty,
    );
    if Span::current().is_disabled() {
        span.record("request_id", request_id);
        span.record("trace_id", display(trace.trace_id_text()));
    }
    span
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What a subscriber has written.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_of_a_turn_has_both_ids_once_with_and_without_the_span_of_its_request() {
        let trace = TraceContext::root();
        let written = Written::default();
        let writer = written.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let line = || {
                let span = log_span(TurnId::new(), ConversationId::new(), "elara", "look-for-me", trace);
                span.in_scope(|| tracing::warn!("a line"));
            };
            line();
            tracing::error_span!("request", request_id = "look-for-me", trace_id = trace.trace_id_text())
                .in_scope(line);
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text}");
        for line in text.lines() {
            for once in ["look-for-me", &trace.trace_id_text(), "turn{turn_id=", "a line"] {
                assert_eq!(line.matches(once).count(), 1, "{once} in {line}");
            }
        }
    }
}
