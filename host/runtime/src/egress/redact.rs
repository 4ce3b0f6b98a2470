//! Strikes injected secrets out of what an upstream sends back, also where one is split over two frames.
//!
//! The threat: an upstream, or an error page before it, that echoes the request's headers and so hands the guest the key
//! that was kept from it. What is accepted: an echo in another encoding passes.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::grants::Secret;

const MARK: &[u8] = b"[redacted]";
/// Shorter values would be struck out of ordinary text; none that protects anything is shorter.
const SHORTEST: usize = 8;

/// Works on one body, frame by frame. Holds back only bytes that may be the beginning of a secret.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redactor {
    needles: Arc<[Secret]>,
    held: BytesMut,
}

impl Redactor {
    pub(crate) fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let needles = secrets.into_iter().filter(|secret| secret.reveal().len() >= SHORTEST).collect();
        Self { needles, held: BytesMut::new() }
    }

    /// What of the body so far may go on.
    pub(crate) fn push(&mut self, frame: Bytes) -> Bytes {
        if self.needles.is_empty() {
            return frame;
        }
        let joined = if self.held.is_empty() {
            frame
        } else {
            self.held.extend_from_slice(&frame);
            self.held.split().freeze()
        };
        let mut out = self.strike(joined);
        let keep = self.longest_beginning_at_the_end(&out);
        let rest = out.split_off(out.len() - keep);
        self.held = BytesMut::from(rest.as_ref());
        out
    }

    /// The end of the body.
    pub(crate) fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// Whether a header's value holds a secret.
    pub(crate) fn betrays(&self, value: &[u8]) -> bool {
        self.needles.iter().any(|needle| find(value, needle.reveal().as_bytes()).is_some())
    }

    fn strike(&self, bytes: Bytes) -> Bytes {
        let mut bytes = bytes;
        for needle in self.needles.iter().map(|secret| secret.reveal().as_bytes()) {
            let Some(mut at) = find(&bytes, needle) else { continue };
            let mut out = BytesMut::with_capacity(bytes.len());
            loop {
                out.extend_from_slice(&bytes.split_to(at));
                out.extend_from_slice(MARK);
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

    fn longest_beginning_at_the_end(&self, bytes: &[u8]) -> usize {
        let longest = |needle: &[u8]| {
            let most = needle.len().saturating_sub(1).min(bytes.len());
            (1..=most)
                .rev()
                .find(|length| bytes.iter().rev().take(*length).rev().eq(needle.iter().take(*length)))
        };
        self.needles.iter().filter_map(|secret| longest(secret.reveal().as_bytes())).max().unwrap_or(0)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "key sk-secret-1, again sk-secret-1; sk-secret-2 and sk-secre";
    const STRUCK: &str = "key [redacted], again [redacted]; sk-secret-2 and sk-secre";

    fn redactor() -> Redactor {
        Redactor::new(["sk-secret-1", "short"].map(|text| Secret::from(text.to_owned())))
    }

    #[test]
    fn a_secret_is_struck_out_wherever_the_body_is_split() {
        for first in 0..=BODY.len() {
            for second in first..=BODY.len() {
                let (mut redactor, mut out) = (redactor(), Vec::new());
                for frame in [&BODY[..first], &BODY[first..second], &BODY[second..]] {
                    out.extend_from_slice(&redactor.push(Bytes::from_static(frame.as_bytes())));
                }
                out.extend_from_slice(&redactor.finish());
                assert_eq!(String::from_utf8(out).unwrap(), STRUCK, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn nothing_is_held_back_that_can_not_become_a_secret() {
        let mut redactor = redactor();
        assert_eq!(redactor.push(Bytes::from_static(b"data: hello\n\n")), "data: hello\n\n");
        assert_eq!(redactor.push(Bytes::from_static(b"xs")), "x");
        assert_eq!(redactor.push(Bytes::from_static(b"o")), "so");
    }
}
