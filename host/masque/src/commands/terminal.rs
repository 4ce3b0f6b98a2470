//! Text for a terminal. Pure.
//!
//! The threat: users, models and plugins wrote the texts that a command prints, and a terminal obeys control characters. The
//! policy: every such text and name is written through [`printable`], which escapes them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether the text has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// With escape sequences (ECMA-48).
    Coloured,
    /// Without.
    Plain,
}

impl Style {
    fn put(self, code: &str, text: &str) -> String {
        match self {
            Self::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }

    pub(super) fn heading(self, text: &str) -> String {
        self.put("1", text)
    }

    pub(super) fn faint(self, text: &str) -> String {
        self.put("2", text)
    }

    /// An outcome: green if it is good, else red.
    pub(super) fn outcome(self, word: &str) -> String {
        let code = if matches!(word, "ok" | "completed") { "32" } else { "31" };
        self.put(code, &printable(word))
    }
}

/// The text without characters that a terminal acts on, or that change the direction of the text around them.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    let is_unsafe = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_unsafe) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\t' => safe.push(' '),
            letter if is_unsafe(letter) => safe.extend(letter.escape_unicode()),
            letter => safe.push(letter),
        }
    }
    safe.into()
}

/// A time for people.
pub(super) fn millis(time: f64) -> String {
    if time >= 10_000.0 { format!("{:.1} s", time / 1000.0) } else { format!("{time:.2} ms") }
}

/// A size for people.
pub(super) fn bytes(size: u64) -> String {
    let mut text = String::new();
    let (kib, mib) = (size / 1024, size / (1024 * 1024));
    // Writing to a string cannot fail.
    let _ = match (mib, kib) {
        (0, 0) => write!(text, "{size} B"),
        (0, _) => write!(text, "{kib} KiB"),
        _ => write!(text, "{mib}.{} MiB", (size % (1024 * 1024)) * 10 / (1024 * 1024)),
    };
    text
}
