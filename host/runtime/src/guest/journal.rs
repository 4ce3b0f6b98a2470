//! What a guest says to the operator: `host.log`, standard output and standard error, as bounded lines of the host's log.
//!
//! The threat: a plugin that fills the disk, forges lines of the host's, or writes terminal escapes. The policy: a budget
//! of lines and bytes for each call, each line cut and its control characters escaped, known secrets struck out.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use crate::grants::Secret;
use crate::limits::Limits;

/// The longest line that is kept.
const LINE: usize = 4 << 10;
/// Stands where a line was cut.
const ELLIPSIS: char = '…';

/// Who speaks.
#[derive(Debug)]
pub(crate) struct Speaker {
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) function: &'static str,
    pub(crate) secrets: Vec<Secret>,
}

/// The log of one call. Clones share its budget.
#[derive(Clone)]
pub(crate) struct Journal(Arc<Inner>);

struct Inner {
    speaker: Speaker,
    budget: Mutex<Budget>,
}

struct Budget {
    lines: usize,
    bytes: usize,
    dropped: usize,
    /// What the first dropped line ran into.
    limit: Option<&'static str>,
}

impl Budget {
    fn drop_line(&mut self, limit: &'static str) {
        self.dropped += 1;
        self.limit.get_or_insert(limit);
    }
}

impl Journal {
    pub(crate) fn new(speaker: Speaker, limits: &Limits) -> Self {
        let budget = Budget { lines: limits.log_lines, bytes: limits.log_bytes, dropped: 0, limit: None };
        Self(Arc::new(Inner { speaker, budget: Mutex::new(budget) }))
    }

    /// Writes one line, or counts it where the call has said enough.
    pub(crate) fn write(&self, level: Level, message: &str, fields: &[(String, String)]) {
        let budget = || self.0.budget.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut budget = budget();
            if budget.lines == 0 {
                budget.drop_line("log_lines");
                return;
            }
        }
        let line = self.line(message, fields);
        {
            let mut budget = budget();
            if budget.bytes < line.len() {
                budget.drop_line("log_bytes");
                return;
            }
            budget.lines = budget.lines.saturating_sub(1);
            budget.bytes -= line.len();
        }
        let Speaker { plugin, version, function, .. } = &self.0.speaker;
        match level {
            Level::ERROR => tracing::error!(target: "plugin", plugin, version, function, "{line}"),
            Level::WARN => tracing::warn!(target: "plugin", plugin, version, function, "{line}"),
            Level::INFO => tracing::info!(target: "plugin", plugin, version, function, "{line}"),
            Level::DEBUG => tracing::debug!(target: "plugin", plugin, version, function, "{line}"),
            Level::TRACE => tracing::trace!(target: "plugin", plugin, version, function, "{line}"),
        }
    }

    /// Message and fields, together no longer than a line may be.
    fn line(&self, message: &str, fields: &[(String, String)]) -> String {
        let secrets = &self.0.speaker.secrets;
        let mut line = clean(message, secrets);
        for (name, value) in fields {
            if line.len() >= LINE {
                break;
            }
            line.push(' ');
            line.push_str(&clean(name, &[]));
            line.push('=');
            line.push_str(&clean(value, secrets));
        }
        if line.len() > LINE {
            line.truncate(line.floor_char_boundary(LINE - ELLIPSIS.len_utf8()));
            line.push(ELLIPSIS);
        }
        line
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Budget { dropped, limit, .. } = *self.budget.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = limit {
            let Speaker { plugin, version, function, .. } = &self.speaker;
            tracing::warn!(target: "plugin", plugin, version, function, dropped, limit, "the call logged more than its limit");
        }
    }
}

/// A plugin's own text as it may stand in a log: one line, printable, bounded to 4 KiB, without the given secrets.
pub fn clean(text: &str, secrets: &[Secret]) -> String {
    let mut text = std::borrow::Cow::Borrowed(text);
    for secret in secrets.iter().map(Secret::reveal).filter(|secret| secret.len() >= 8) {
        if text.contains(secret) {
            text = text.replace(secret, "[redacted]").into();
        }
    }
    let mut line = String::with_capacity(text.len().min(LINE));
    for character in text.chars() {
        if line.len() >= LINE {
            line.push(ELLIPSIS);
            break;
        }
        match character {
            // Right-to-left overrides and their kin can make a line read as another.
            '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                line.extend(character.escape_unicode());
            }
            character if character.is_control() => line.extend(character.escape_default()),
            character => line.push(character),
        }
    }
    line
}

/// The journal of the call that runs, for pipes that live as long as their store.
#[derive(Clone)]
pub(crate) struct Desk(Arc<Mutex<Journal>>);

impl Desk {
    pub(crate) fn new(journal: Journal) -> Self {
        Self(Arc::new(Mutex::new(journal)))
    }

    pub(crate) fn hand_over(&self, journal: Journal) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = journal;
    }

    fn journal(&self) -> Journal {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Standard output or standard error of a guest.
pub(crate) struct Pipe {
    pub(crate) desk: Desk,
    pub(crate) level: Level,
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Lines { desk: self.desk.clone(), level: self.level, partial: Vec::new() })
    }
}

struct Lines {
    desk: Desk,
    level: Level,
    partial: Vec<u8>,
}

impl Lines {
    fn end_line(&mut self) {
        if !self.partial.is_empty() {
            self.desk.journal().write(self.level, &String::from_utf8_lossy(&self.partial), &[]);
            self.partial.clear();
        }
    }
}

impl AsyncWrite for Lines {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = LINE.saturating_sub(self.partial.len());
            self.partial.extend(text.iter().take(room));
            if text.len() < piece.len() {
                self.end_line();
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end_line();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_not_forge_another_or_drive_a_terminal() {
        let cleaned =
            clean("a\nb\r\u{1b}[31mc\u{202e}d é 語 sk-secret-1", &[Secret::from("sk-secret-1".to_owned())]);
        assert_eq!(cleaned, "a\\nb\\r\\u{1b}[31mc\\u{202e}d é 語 [redacted]");
    }

    #[test]
    fn a_line_is_cut() {
        assert!(clean(&"x".repeat(1 << 20), &[]).len() < LINE + 8);
    }

    fn journal(limits: &Limits) -> Journal {
        let speaker = Speaker {
            plugin: "noisy".into(),
            version: "1.0.0".into(),
            function: "compose",
            secrets: vec![Secret::from("sk-secret-1".to_owned())],
        };
        Journal::new(speaker, limits)
    }

    #[test]
    fn message_and_fields_are_one_line_within_one_bound() {
        let field = |size: usize| ("field".to_owned(), "é".repeat(size));
        let journal = journal(&Limits::default());
        for (message, fields) in [
            ("x".repeat(1 << 20), vec![]),
            ("x".repeat(LINE - 1), vec![field(1 << 20)]),
            (String::new(), vec![field(1000), field(1000), field(1000)]),
        ] {
            let line = journal.line(&message, &fields);
            assert!(line.len() <= LINE && line.ends_with(ELLIPSIS), "{} bytes", line.len());
        }
        let short = journal.line("said", &[("key".to_owned(), "sk-secret-1".to_owned())]);
        assert_eq!(short, "said key=[redacted]");
    }

    #[test]
    fn a_call_is_charged_what_is_written_and_told_which_limit_it_met() {
        let spent = |limits: &Limits, lines: &[&str]| {
            let journal = journal(limits);
            lines.iter().for_each(|line| journal.write(Level::INFO, line, &[]));
            let budget = journal.0.budget.lock().unwrap();
            (budget.lines, budget.bytes, budget.dropped, budget.limit)
        };
        let few = Limits { log_lines: 2, log_bytes: 1000, ..Limits::default() };
        assert_eq!(spent(&few, &["a", "b", "c", "d"]), (0, 998, 2, Some("log_lines")));
        let little = Limits { log_lines: 10, log_bytes: 10, ..Limits::default() };
        // Five bytes once it is escaped.
        assert_eq!(spent(&little, &["\u{1}", "abcdef", "abcde"]), (8, 0, 1, Some("log_bytes")));
    }
}
