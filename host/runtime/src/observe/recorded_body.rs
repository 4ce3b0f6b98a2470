//! What is kept of the body of an outgoing request or its answer.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::report::ReportBudget;
use crate::secret_matcher::SecretMatcher;

/// The most bytes of a body that a report has as text.
const MAX_BODY_TEXT: usize = 64 << 10;
/// The longest way to write a byte of a secret in a JSON string.
const ESCAPE_BYTES: usize = 6;

/// Where a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyDirection {
    /// To the upstream.
    Sent,
    /// To the guest.
    Received,
}

/// What is kept of a body: its size, and for a report its digest and, where the report has texts, its beginning.
pub(super) struct RecordedBody {
    bytes: u64,
    reported: Option<Reported>,
}

struct Reported {
    hasher: Sha256,
    texts: ReportBudget,
    text: Vec<u8>,
    is_cut: bool,
}

impl std::fmt::Debug for RecordedBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordedBody").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl RecordedBody {
    /// Without `texts`, of a report, only the size is kept.
    pub(super) fn new(texts: Option<ReportBudget>) -> Self {
        let reported = texts.map(|texts| Reported {
            hasher: Sha256::new(),
            is_cut: texts.is_spent(),
            texts,
            text: Vec::new(),
        });
        Self { bytes: 0, reported }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let Some(reported) = &mut self.reported else { return };
        reported.hasher.update(bytes);
        if reported.is_cut {
            return;
        }
        let room = MAX_BODY_TEXT.saturating_sub(reported.text.len());
        let taken = bytes.get(..room).unwrap_or(bytes);
        if reported.texts.take(taken.len()) {
            reported.text.extend_from_slice(taken);
            reported.is_cut = taken.len() < bytes.len();
        } else {
            reported.is_cut = true;
        }
    }

    /// The size, the digest and the text so far.
    pub(super) fn describe(&self, secrets: &SecretMatcher) -> Value {
        let mut described = Map::new();
        described.insert("bytes".to_owned(), self.bytes.into());
        let Some(reported) = &self.reported else { return Value::Object(described) };
        let digest = format!("sha256:{:x}", reported.hasher.clone().finalize());
        described.insert("digest".to_owned(), digest.into());
        if !reported.text.is_empty() {
            let text = String::from_utf8_lossy(&reported.text);
            let mut text = secrets.redact(&text).into_owned();
            if reported.is_cut {
                // The last secret may be cut, and is not found then.
                let kept = text.len().saturating_sub(ESCAPE_BYTES * secrets.longest());
                text.truncate(text.floor_char_boundary(kept));
                described.insert("is_cut".to_owned(), true.into());
            }
            described.insert("text".to_owned(), text.into());
        }
        Value::Object(described)
    }
}

#[cfg(test)]
mod tests {
    use masque_grants::Secret;

    use super::*;
    use crate::report::{CallReport, ReportContent};

    fn described(content: ReportContent, body: &[u8]) -> Value {
        let mut recorded = RecordedBody::new(Some(CallReport::new(content).texts().clone()));
        body.chunks(10_000).for_each(|piece| recorded.push(piece));
        recorded.describe(&SecretMatcher::new([Secret::from("sk-secret-1".to_owned())]))
    }

    #[test]
    fn a_body_is_text_in_full_reports_only_and_without_secrets() {
        let full = described(ReportContent::Full, b"{\"key\": \"sk-secret-1\"}");
        assert_eq!((&full["bytes"], &full["text"]), (&22.into(), &"{\"key\": \"[redacted]\"}".into()));
        let digests = described(ReportContent::Digests, b"hello");
        assert_eq!((&digests["bytes"], &digests["text"]), (&5.into(), &Value::Null));
    }

    #[test]
    fn no_part_of_a_secret_is_left_at_the_end_of_a_body_that_is_cut() {
        for shift in 0..12 {
            let mut body = vec![b'.'; MAX_BODY_TEXT - shift];
            body.extend_from_slice(b"sk-secret-1 and more");
            let full = described(ReportContent::Full, &body);
            let text = full["text"].as_str().unwrap();
            assert!(full["is_cut"] == true && !text.contains("sk-"), "{}", &text[text.len() - 20..]);
        }
    }
}
