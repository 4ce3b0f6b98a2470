//! Makes text that a plugin wrote safe for the host's log.
//!
//! The threat: a plugin that forges log lines, writes terminal escapes, or repeats a secret. The policy: one line of at most
//! 4 KiB, control and direction characters escaped, known secrets replaced by `[redacted]`.

use crate::secret_matcher::SecretMatcher;

/// The longest line that is kept, in bytes, before the mark of a cut.
pub(crate) const MAX_LINE_BYTES: usize = 4 << 10;
/// Marks the place where a line was cut.
pub(crate) const ELLIPSIS: char = '…';

/// Returns `text` as one printable line of at most 4 KiB without the given secrets.
pub fn sanitize(text: &str, secrets: &SecretMatcher) -> String {
    let text = secrets.redact(text);
    let mut line = String::with_capacity(text.len().min(MAX_LINE_BYTES));
    for character in text.chars() {
        if line.len() >= MAX_LINE_BYTES {
            line.push(ELLIPSIS);
            break;
        }
        match character {
            // Direction marks and line separators can make a line read as another one.
            '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                line.extend(character.escape_unicode());
            }
            character if character.is_control() => line.extend(character.escape_default()),
            character => line.push(character),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use masque_grants::Secret;

    use super::*;

    #[test]
    fn a_line_can_not_forge_another_or_drive_a_terminal() {
        let sanitized = sanitize(
            "a\nb\r\u{1b}[31mc\u{202e}d é 語 sk-secret-1",
            &SecretMatcher::new([Secret::from("sk-secret-1".to_owned())]),
        );
        assert_eq!(sanitized, "a\\nb\\r\\u{1b}[31mc\\u{202e}d é 語 [redacted]");
    }

    #[test]
    fn a_line_is_cut() {
        assert!(sanitize(&"x".repeat(1 << 20), &SecretMatcher::default()).len() < MAX_LINE_BYTES + 8);
    }
}
