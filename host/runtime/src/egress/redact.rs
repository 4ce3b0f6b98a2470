//! Redacts injected secrets from what an upstream sends back, wherever the upstream splits it.
//!
//! The threat: an upstream, or an error page of a proxy before it, echoes the request's headers and so hands the guest the key that
//! was kept from it. And a guest that may choose what is echoed asks for guesses: if bytes were held back only where they may be
//! the beginning of a secret, the guest would see which guess is held back, and learn the secret one byte at a time. The policy:
//! every secret in headers, body and trailers is replaced by a mark of constant length. What is held back depends on no secret: all
//! bytes after the last line break, at most 4 KiB of them, until more or the end arrives. No credential holds a line break. The
//! length is hidden too: `content-length` is dropped. The accepted consequences: an answer that does not end its pieces with a line
//! break, as server-sent events do, arrives up to 4 KiB late; an echo in another encoding than those of a credential's secrets and
//! the escapes of JSON strings passes, and so does one whose parts are in several lines or strings; and whoever knows a whole secret
//! can see that it is redacted. What is held back is released, redacted, at the end of the body, also before an error that ends it.

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue};

use crate::secret_matcher::{MARK, SecretMatcher};

/// The most bytes that are held back. It is the same for all secrets up to a twelfth of its length, so that it tells nothing of
/// theirs: half of it holds the secret with every byte escaped.
const MAX_HELD_BYTES: usize = 4 << 10;
/// The length of `\u0073`, the longest way to escape a byte in JSON that is not within other JSON.
const ESCAPE_BYTES: usize = 6;

/// Redacts one body, frame by frame.
#[derive(Clone, Debug, Default)]
pub(crate) struct EchoRedactor {
    secrets: SecretMatcher,
    /// As received.
    held: BytesMut,
    /// The first bytes of `held` that the last mark stands for.
    redacted: usize,
}

impl EchoRedactor {
    pub(crate) fn new(secrets: SecretMatcher) -> Self {
        Self { secrets, held: BytesMut::new(), redacted: 0 }
    }

    /// Whether there is anything to redact.
    pub(crate) fn is_active(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// Takes a frame and returns what of the body may be passed on.
    pub(crate) fn push(&mut self, frame: Bytes) -> Bytes {
        if !self.is_active() {
            return frame;
        }
        // What is held has no line break.
        let line =
            frame.iter().rposition(|byte| is_line_break(*byte)).map_or(0, |at| self.held.len() + at + 1);
        let length = self.held.len() + frame.len();
        let longest = (ESCAPE_BYTES * self.secrets.longest()).next_power_of_two();
        let max = MAX_HELD_BYTES.max(2 * longest);
        // Half of it is kept, and not all but a byte, since every release searches what is held.
        let surplus = if length > max { length - max / 2 } else { 0 };
        let count = line.max(surplus);
        if self.held.is_empty() && count > 0 {
            // Most frames of server-sent events end a line, and are passed on without a copy.
            return self.release(frame, count);
        }
        self.held.extend_from_slice(&frame);
        if count == 0 {
            return Bytes::new();
        }
        let held = std::mem::take(&mut self.held).freeze();
        self.release(held, count)
    }

    /// Returns what was held back, at the end of the body.
    pub(crate) fn finish(&mut self) -> Bytes {
        let held = std::mem::take(&mut self.held).freeze();
        let count = held.len();
        self.release(held, count)
    }

    /// Redacts and returns the first `count` of these bytes, and holds the others back. A secret that begins in the first ones lies in
    /// the bytes as a whole.
    fn release(&mut self, bytes: Bytes, count: usize) -> Bytes {
        self.held.extend_from_slice(bytes.get(count..).unwrap_or_default());
        let found = self.secrets.find(&bytes);
        if found.is_empty() && self.redacted == 0 {
            return bytes.slice(..count);
        }
        let mut released = BytesMut::with_capacity(count);
        // Everything before it is passed on or redacted.
        let mut at = self.redacted;
        for found in found.into_iter().take_while(|found| found.start < count) {
            if found.start >= at {
                released.extend_from_slice(bytes.get(at..found.start).unwrap_or_default());
                released.extend_from_slice(MARK.as_bytes());
            }
            at = at.max(found.end);
        }
        released.extend_from_slice(bytes.get(at..count).unwrap_or_default());
        self.redacted = at.saturating_sub(count);
        released.freeze()
    }

    /// Replaces the value of each header that contains a secret, and drops what tells the length of the body.
    pub(crate) fn redact_headers(&self, headers: &mut HeaderMap) {
        if !self.is_active() {
            return;
        }
        headers.remove(CONTENT_LENGTH);
        for value in headers.values_mut() {
            if !self.secrets.find(value.as_bytes()).is_empty() {
                *value = HeaderValue::from_static(MARK);
            }
        }
    }
}

/// Bytes that a header, and so a secret, can't hold: line breaks and other control characters (RFC 9110, section 5.5).
fn is_line_break(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}

#[cfg(test)]
mod tests {
    use masque_grants::Secret;

    use super::*;

    const BODY: &str = "key sk-secret-1, again sk-secret-1;\nsk-secret-2 and sk-secre";
    const REDACTED: &str = "key [redacted], again [redacted];\nsk-secret-2 and sk-secre";

    fn redactor(secrets: &[&str]) -> EchoRedactor {
        EchoRedactor::new(SecretMatcher::new(secrets.iter().map(|text| Secret::from((*text).to_owned()))))
    }

    fn redact(secrets: &[&str], frames: &[&str]) -> String {
        let (mut redactor, mut out) = (redactor(secrets), Vec::new());
        for frame in frames {
            out.extend_from_slice(&redactor.push(Bytes::copy_from_slice(frame.as_bytes())));
        }
        out.extend_from_slice(&redactor.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_secret_is_redacted_wherever_the_body_is_split() {
        for first in 0..=BODY.len() {
            for second in first..=BODY.len() {
                let frames = [&BODY[..first], &BODY[first..second], &BODY[second..]];
                assert_eq!(
                    redact(&["sk-secret-1", "short"], &frames),
                    REDACTED,
                    "split at {first} and {second}"
                );
            }
        }
    }

    #[test]
    fn a_secret_is_redacted_wherever_the_window_ends() {
        for before in MAX_HELD_BYTES / 2 - 30..MAX_HELD_BYTES / 2 + 30 {
            let body = format!("{}{BODY}{}", "x".repeat(before), "y".repeat(MAX_HELD_BYTES));
            let expected = format!("{}{REDACTED}{}", "x".repeat(before), "y".repeat(MAX_HELD_BYTES));
            let bytes: Vec<_> = body.split_inclusive(|_: char| true).collect();
            assert!(redact(&["sk-secret-1"], &bytes) == expected, "{before} bytes before");
        }
    }

    #[test]
    fn a_secret_with_json_escapes_is_redacted_wherever_the_body_or_the_window_ends() {
        let escaped = r"\u0073k-\u0073ecret-\u0031";
        let body = format!(r#"{{"key": "{escaped}", "nested": "{}"}}"#, escaped.replace('\\', r"\\"));
        let expected = r#"{"key": "[redacted]", "nested": "[redacted]"}"#;
        for at in 0..=body.len() {
            assert_eq!(redact(&["sk-secret-1"], &[&body[..at], &body[at..]]), expected, "split at {at}");
        }
        for before in MAX_HELD_BYTES / 2 - 100..MAX_HELD_BYTES / 2 + 10 {
            let (before, after) = ("x".repeat(before), "y".repeat(MAX_HELD_BYTES));
            let body = format!("{before}{body}{after}");
            let bytes: Vec<_> = body.split_inclusive(|_: char| true).collect();
            assert!(
                redact(&["sk-secret-1"], &bytes) == format!("{before}{expected}{after}"),
                "{}",
                before.len()
            );
        }
    }

    #[test]
    fn secrets_that_overlap_across_the_window_become_one_mark() {
        let secrets = ["aaaaaaaa"];
        let body = "a".repeat(3 * MAX_HELD_BYTES);
        let pieces: Vec<_> = body.split_inclusive(|_: char| true).collect();
        assert_eq!(redact(&secrets, &pieces), MARK);
        assert_eq!(redact(&secrets, &[&body]), MARK);
        let mut long = "s".repeat(2 * MAX_HELD_BYTES);
        long.push('t');
        let body = format!("{long}.{long}");
        let pieces: Vec<_> = body.split_inclusive(|_: char| true).collect();
        assert_eq!(redact(&[&long], &pieces), "[redacted].[redacted]");
    }

    /// The sizes of what the guest receives after each frame.
    fn sizes(secret: &str, frames: &[&str]) -> Vec<usize> {
        let mut redactor = redactor(&[secret]);
        frames.iter().map(|frame| redactor.push(Bytes::copy_from_slice(frame.as_bytes())).len()).collect()
    }

    #[test]
    fn what_is_held_back_depends_on_no_secret() {
        let long = "0123456789".repeat(MAX_HELD_BYTES / 10);
        for guess in ["s", "sk-", "sk-secret", "sk-secret-", "x", "\n", "a line\nsk-sec", &long] {
            let frames = [guess, guess, "and more\n", guess];
            let expected = sizes("another-secret-of-another-length", &frames);
            assert_eq!(sizes("sk-secret-1", &frames), expected, "{guess:?}");
        }
    }

    #[test]
    fn a_line_is_passed_on_at_once() {
        let mut redactor = redactor(&["sk-secret-1"]);
        assert_eq!(redactor.push(Bytes::from_static(b"data: hello\n\n")), "data: hello\n\n");
        assert_eq!(redactor.push(Bytes::from_static(b"data: sk-secret-1\n\ndata")), "data: [redacted]\n\n");
        assert_eq!(redactor.push(Bytes::from_static(b": x\n\n")), "data: x\n\n");
    }

    #[test]
    fn what_holds_no_secret_is_passed_on_without_a_copy() {
        let mut redactor = redactor(&["sk-secret-1"]);
        let frame = Bytes::from_static(b"data: hello\n\ndata");
        assert_eq!(redactor.push(frame.clone()).as_ptr(), frame.as_ptr());
        assert_eq!(redactor.push(Bytes::from_static(b": x\n\n")), "data: x\n\n");
    }

    #[test]
    fn without_a_secret_nothing_is_held_back_and_no_header_dropped() {
        let mut redactor = redactor(&["short"]);
        assert_eq!(redactor.push(Bytes::from_static(b"short")), "short");
        let mut headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("5"))]);
        redactor.redact_headers(&mut headers);
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn headers_are_redacted_and_the_length_of_the_body_is_dropped() {
        let echo = "x-echo".parse::<http::HeaderName>().unwrap();
        let mut headers = HeaderMap::from_iter([
            (CONTENT_LENGTH, HeaderValue::from_static("42")),
            (echo.clone(), HeaderValue::from_static("Bearer sk-secret-1")),
        ]);
        redactor(&["sk-secret-1"]).redact_headers(&mut headers);
        assert_eq!(headers, HeaderMap::from_iter([(echo, HeaderValue::from_static(MARK))]));
    }
}
