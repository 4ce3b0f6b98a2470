//! Redacts injected secrets from what an upstream sends back, also where one is split over two frames.
//!
//! The threat: an upstream, or an error page of a proxy before it, echoes the request's headers and so hands the guest the key
//! that was kept from it. The policy: every occurrence in headers, body and trailers is replaced by `[redacted]`. The accepted
//! consequence: an echo in another encoding passes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use masque_grants::Secret;

const MARK: &str = "[redacted]";
/// Shorter secrets also occur in ordinary text and are not redacted. None that protects anything is shorter.
const MIN_SECRET_BYTES: usize = 8;

/// Redacts one body, frame by frame. It holds back only bytes that may be the beginning of a secret.
#[derive(Clone, Debug, Default)]
pub(crate) struct EchoRedactor {
    secrets: Arc<[Secret]>,
    held: BytesMut,
}

impl EchoRedactor {
    pub(crate) fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let secrets =
            secrets.into_iter().filter(|secret| secret.reveal().len() >= MIN_SECRET_BYTES).collect();
        Self { secrets, held: BytesMut::new() }
    }

    /// Takes a frame and returns what of the body may be passed on.
    pub(crate) fn push(&mut self, frame: Bytes) -> Bytes {
        if self.secrets.is_empty() {
            return frame;
        }
        let joined = if self.held.is_empty() {
            frame
        } else {
            self.held.extend_from_slice(&frame);
            self.held.split().freeze()
        };
        let mut out = self.redact(joined);
        let keep = self.partial_secret_at_end(&out);
        let rest = out.split_off(out.len() - keep);
        self.held = BytesMut::from(rest.as_ref());
        out
    }

    /// Returns what was held back, at the end of the body.
    pub(crate) fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Whether a header's value contains a secret.
    pub(crate) fn contains_secret(&self, value: &[u8]) -> bool {
        self.secrets.iter().any(|needle| find(value, needle.reveal().as_bytes()).is_some())
    }

    fn redact(&self, bytes: Bytes) -> Bytes {
        let mut bytes = bytes;
        for needle in self.secrets.iter().map(|secret| secret.reveal().as_bytes()) {
            let Some(mut at) = find(&bytes, needle) else { continue };
            let mut out = BytesMut::with_capacity(bytes.len());
            loop {
                out.extend_from_slice(&bytes.split_to(at));
                out.extend_from_slice(MARK.as_bytes());
                drop(bytes.split_to(needle.len()));
                match find(&bytes, needle) {
                    Some(next) => at = next,
                    None => break,
                }
            }
            out.extend_from_slice(&bytes);
            bytes = out.freeze();
        }
        bytes
    }

    /// The length of the longest end of `bytes` that a secret begins with.
    fn partial_secret_at_end(&self, bytes: &[u8]) -> usize {
        let longest = |needle: &[u8]| {
            let max = needle.len().saturating_sub(1).min(bytes.len());
            (1..=max)
                .rev()
                .find(|length| bytes.iter().rev().take(*length).rev().eq(needle.iter().take(*length)))
        };
        self.secrets.iter().filter_map(|secret| longest(secret.reveal().as_bytes())).max().unwrap_or(0)
    }
}

/// Replaces the value of each header that contains a secret.
pub(crate) fn redact_headers(headers: &mut HeaderMap, redactor: &EchoRedactor) {
    for value in headers.values_mut() {
        if redactor.contains_secret(value.as_bytes()) {
            *value = HeaderValue::from_static(MARK);
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "key sk-secret-1, again sk-secret-1; sk-secret-2 and sk-secre";
    const REDACTED: &str = "key [redacted], again [redacted]; sk-secret-2 and sk-secre";

    fn redactor() -> EchoRedactor {
        EchoRedactor::new(["sk-secret-1", "short"].map(|text| Secret::from(text.to_owned())))
    }

    #[test]
    fn a_secret_is_redacted_wherever_the_body_is_split() {
        for first in 0..=BODY.len() {
            for second in first..=BODY.len() {
                let (mut redactor, mut out) = (redactor(), Vec::new());
                for frame in [&BODY[..first], &BODY[first..second], &BODY[second..]] {
                    out.extend_from_slice(&redactor.push(Bytes::from_static(frame.as_bytes())));
                }
                out.extend_from_slice(&redactor.finish());
                assert_eq!(String::from_utf8(out).unwrap(), REDACTED, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn only_the_beginning_of_a_secret_is_held_back() {
        let mut redactor = redactor();
        assert_eq!(redactor.push(Bytes::from_static(b"data: hello\n\n")), "data: hello\n\n");
        assert_eq!(redactor.push(Bytes::from_static(b"xs")), "x");
        assert_eq!(redactor.push(Bytes::from_static(b"o")), "so");
    }
}
