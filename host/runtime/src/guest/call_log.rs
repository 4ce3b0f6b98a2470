//! The log lines of one call.
//!
//! The threat: a plugin that fills the disk, forges lines of the host's, or writes terminal escapes. The policy: each call has a
//! budget of lines and bytes; each line is cut, its control characters are escaped, and known secrets are redacted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use masque_grants::Limits;
use tracing::{Level, Span};

use crate::diagnostics::CallDiagnostics;
use crate::secret_matcher::SecretMatcher;
use crate::text::{ELLIPSIS, MAX_LINE_BYTES, sanitize};

/// The most lines of standard error that are kept for the error of a call. A panic has two: its place and its message.
const MAX_KEPT_LINES: usize = 3;

/// The plugin, version and function that the lines belong to.
#[derive(Debug)]
pub(crate) struct LogSource {
    pub(crate) plugin: Arc<str>,
    pub(crate) version: Arc<str>,
    pub(crate) function: &'static str,
    /// Redacted from the lines.
    pub(crate) secrets: SecretMatcher,
    /// Told of the limits on lines and bytes.
    pub(crate) diagnostics: CallDiagnostics,
}

/// The log of one call. Clones share its budget.
#[derive(Clone)]
pub(crate) struct CallLog(Arc<Inner>);

struct Inner {
    source: LogSource,
    /// The log's span in which the call was made, which has the ids of the request and the trace. Standard output and standard
    /// error may be written outside of it, and the last line when the store is dropped.
    span: Span,
    /// The call may not log at all.
    is_silent: bool,
    budget: Mutex<Budget>,
    /// The last lines of standard error, as they were written.
    error_output: Mutex<VecDeque<String>>,
}

struct Budget {
    lines: usize,
    bytes: usize,
    dropped: usize,
    /// The limit that the first dropped line exceeded.
    limit: Option<&'static str>,
}

impl Budget {
    fn drop_line(&mut self, limit: &'static str) {
        self.dropped += 1;
        self.limit.get_or_insert(limit);
    }
}

impl CallLog {
    pub(crate) fn new(source: LogSource, limits: &Limits) -> Self {
        let budget = Budget { lines: limits.log_lines, bytes: limits.log_bytes, dropped: 0, limit: None };
        Self(Arc::new(Inner {
            source,
            span: Span::current(),
            is_silent: limits.log_lines == 0,
            budget: Mutex::new(budget),
            error_output: Mutex::default(),
        }))
    }

    /// Writes a line of standard error, and keeps it for the call's error, whether or not it is logged. Of many lines the last
    /// ones are kept.
    pub(crate) fn write_error_output(&self, line: &str) {
        // The last line of a panic in Rust advises to set a variable, which a guest does not have.
        if line.starts_with("note: run with `RUST_BACKTRACE") {
            return;
        }
        self.keep_error_output(line);
        self.write(Level::WARN, line, &[]);
    }

    fn keep_error_output(&self, line: &str) {
        let mut kept = self.0.error_output.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == MAX_KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(line.to_owned());
    }

    /// The last lines of standard error, without secrets and control characters.
    pub(crate) fn error_output(&self) -> Vec<String> {
        let kept = self.0.error_output.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|line| sanitize(line, &self.0.source.secrets)).collect()
    }

    /// Writes one line, or counts it as dropped where the budget is used up.
    pub(crate) fn write(&self, level: Level, message: &str, fields: &[(String, String)]) {
        if self.0.is_silent {
            return;
        }
        let budget = || self.0.budget.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut budget = budget();
            if budget.lines == 0 {
                budget.drop_line("log_lines");
                self.0.source.diagnostics.record_limit("log_lines");
                return;
            }
        }
        let line = self.format_line(message, fields);
        {
            let mut budget = budget();
            if budget.bytes < line.len() {
                budget.drop_line("log_bytes");
                self.0.source.diagnostics.record_limit("log_bytes");
                return;
            }
            budget.lines = budget.lines.saturating_sub(1);
            budget.bytes -= line.len();
        }
        let LogSource { plugin, version, function, .. } = &self.0.source;
        let (plugin, version) = (&**plugin, &**version);
        let _entered = self.0.span.enter();
        match level {
            Level::ERROR => tracing::error!(target: "plugin", plugin, version, function, "{line}"),
            Level::WARN => tracing::warn!(target: "plugin", plugin, version, function, "{line}"),
            Level::INFO => tracing::info!(target: "plugin", plugin, version, function, "{line}"),
            Level::DEBUG => tracing::debug!(target: "plugin", plugin, version, function, "{line}"),
            Level::TRACE => tracing::trace!(target: "plugin", plugin, version, function, "{line}"),
        }
    }

    /// Writes the host's own line about a write to `state` that it refused. `refused` is the number of them, over all calls.
    pub(crate) fn refused_write(&self, reason: &str, refused: u64) {
        let LogSource { plugin, version, function, .. } = &self.0.source;
        let (plugin, version) = (&**plugin, &**version);
        let _entered = self.0.span.enter();
        tracing::warn!(target: "plugin", plugin, version, function, refused, "a write to `state` was refused: {reason}");
    }

    /// Message and fields, together no longer than a line may be.
    fn format_line(&self, message: &str, fields: &[(String, String)]) -> String {
        let secrets = &self.0.source.secrets;
        let mut line = sanitize(message, secrets);
        for (name, value) in fields {
            if line.len() >= MAX_LINE_BYTES {
                break;
            }
            line.push(' ');
            line.push_str(&sanitize(name, secrets));
            line.push('=');
            line.push_str(&sanitize(value, secrets));
        }
        if line.len() > MAX_LINE_BYTES {
            line.truncate(line.floor_char_boundary(MAX_LINE_BYTES - ELLIPSIS.len_utf8()));
            line.push(ELLIPSIS);
        }
        line
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Budget { dropped, limit, .. } = *self.budget.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = limit {
            let LogSource { plugin, version, function, .. } = &self.source;
            let (plugin, version) = (&**plugin, &**version);
            let _entered = self.span.enter();
            tracing::warn!(target: "plugin", plugin, version, function, dropped, limit, "the call logged more than its limit");
        }
    }
}

#[cfg(test)]
mod tests {
    use masque_grants::Secret;

    use super::*;

    fn call_log(limits: &Limits) -> CallLog {
        let source = LogSource {
            plugin: "noisy".into(),
            version: "1.0.0".into(),
            function: "compose",
            secrets: SecretMatcher::new([Secret::from("sk-secret-1".to_owned())]),
            diagnostics: CallDiagnostics::default(),
        };
        CallLog::new(source, limits)
    }

    #[test]
    fn message_and_fields_are_one_line_within_one_bound() {
        let field = |size: usize| ("field".to_owned(), "é".repeat(size));
        let log = call_log(&Limits::default());
        for (message, fields) in [
            ("x".repeat(1 << 20), vec![]),
            ("x".repeat(MAX_LINE_BYTES - 1), vec![field(1 << 20)]),
            (String::new(), vec![field(1000), field(1000), field(1000)]),
        ] {
            let line = log.format_line(&message, &fields);
            assert!(line.len() <= MAX_LINE_BYTES && line.ends_with(ELLIPSIS), "{} bytes", line.len());
        }
        let short = log.format_line("said", &[("key".to_owned(), "sk-secret-1".to_owned())]);
        assert_eq!(short, "said key=[redacted]");
    }

    #[test]
    fn the_last_lines_of_standard_error_are_kept_without_secrets_even_where_nothing_is_logged() {
        let log = call_log(&Limits { log_lines: 0, ..Limits::default() });
        for line in ["one", "two", "sk-secret-1\u{1b}", "panicked", "note: run with `RUST_BACKTRACE=1`"] {
            log.write_error_output(line);
        }
        let kept = log.error_output();
        assert!(kept.len() == MAX_KEPT_LINES && kept[0] == "two" && kept[2] == "panicked", "{kept:?}");
        assert!(kept[1].starts_with("[redacted]") && !kept[1].contains('\u{1b}'), "{kept:?}");
    }

    #[test]
    fn a_call_is_charged_for_what_is_written_and_the_exceeded_limit_is_named() {
        let spent = |limits: &Limits, lines: &[&str]| {
            let log = call_log(limits);
            lines.iter().for_each(|line| log.write(Level::INFO, line, &[]));
            let budget = log.0.budget.lock().unwrap();
            let limits = log.0.source.diagnostics.limits();
            assert_eq!(limits, budget.limit.into_iter().collect::<Vec<_>>());
            (budget.lines, budget.bytes, budget.dropped, budget.limit)
        };
        let few = Limits { log_lines: 2, log_bytes: 1000, ..Limits::default() };
        assert_eq!(spent(&few, &["a", "b", "c", "d"]), (0, 998, 2, Some("log_lines")));
        let silent = Limits { log_lines: 0, log_bytes: 1000, ..Limits::default() };
        assert_eq!(spent(&silent, &["a", "b"]), (0, 1000, 0, None));
        let little = Limits { log_lines: 10, log_bytes: 10, ..Limits::default() };
        // The first line has five bytes once it is escaped.
        assert_eq!(spent(&little, &["\u{1}", "abcdef", "abcde"]), (8, 0, 1, Some("log_bytes")));
    }
    /// What was logged.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_has_the_ids_of_the_calls_span_wherever_it_is_written() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let limits = Limits { log_lines: 1, ..Limits::default() };
            let log = tracing::info_span!("turn", request_id = "r-1", trace_id = "t-1")
                .in_scope(|| call_log(&limits));
            // Standard error, the host's own line, and the one that is written when the log is dropped. The advice of the Rust runtime
            // is none of them.
            log.write_error_output("from standard error");
            log.write_error_output(
                "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace",
            );
            log.refused_write("too much", 1);
            log.write(Level::WARN, "one line too many", &[]);
            drop(log);
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(text.lines().count() == 3 && !text.contains("RUST_BACKTRACE"), "{text}");
        assert!(text.contains("dropped=1"), "{text}");
        for line in text.lines() {
            assert!(line.contains("r-1") && line.contains("t-1"), "{line}");
        }
    }
}
