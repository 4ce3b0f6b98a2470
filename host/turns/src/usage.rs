//! What a reply cost in tokens: as the model reports it, or an estimate where it reports nothing.
//!
//! A model reports its usage at the end of its stream, and some servers never do. 0 stands for "not known" in the
//! contract, so it is never passed on as a figure: clients and budgets get an estimate, and clients are told that it is
//! one.

use masque_store::UsageRecord;

use crate::draft::ReplyDraft;

/// Bytes of text that count as one token where a model reports nothing: the rule of thumb for most vocabularies.
const BYTES_PER_TOKEN: usize = 4;

/// The tokens that the model reported, with an estimate by the length of the text for each count that it left out.
pub(crate) fn reported_or_estimated(draft: &ReplyDraft) -> UsageRecord {
    let UsageRecord { input_tokens, output_tokens, cached_tokens, .. } = draft.usage;
    let written = draft.text.len() + draft.unsaid_bytes;
    let known_or = |tokens: u64, bytes: usize| if tokens == 0 { estimated_tokens(bytes) } else { tokens };
    UsageRecord {
        input_tokens: known_or(input_tokens, draft.prompt_bytes),
        output_tokens: known_or(output_tokens, written),
        cached_tokens,
        // A reply without a word has no tokens, reported or not.
        estimated: input_tokens == 0 || (output_tokens == 0 && written > 0),
    }
}

fn estimated_tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_the_model_did_not_report_is_an_estimate_and_never_zero() {
        // Reported input and output, then the figures and whether they are an estimate.
        let table = [
            ((9, 3), (9, 3, false)),
            ((0, 0), (10, 4, true)),
            ((9, 0), (9, 4, true)),
            ((0, 3), (10, 3, true)),
        ];
        for ((input_tokens, output_tokens), wanted) in table {
            let draft = ReplyDraft {
                text: "Hi, Ida.".into(),
                unsaid_bytes: 5,
                prompt_bytes: 40,
                usage: UsageRecord { input_tokens, output_tokens, ..UsageRecord::default() },
                ..ReplyDraft::default()
            };
            let usage = reported_or_estimated(&draft);
            assert_eq!((usage.input_tokens, usage.output_tokens, usage.estimated), wanted);
        }
    }

    #[test]
    fn a_reply_without_a_word_is_no_estimate_where_the_model_reports_its_input() {
        let usage = UsageRecord { input_tokens: 9, ..UsageRecord::default() };
        assert!(!reported_or_estimated(&ReplyDraft { usage, ..ReplyDraft::default() }).estimated);
    }
}
