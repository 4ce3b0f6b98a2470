//! What a turn costs its accounts.

use masque_store::{Charge, UsageRecord};

use crate::draft::ReplyDraft;

/// Bytes of text that count as one token where a model reports nothing: the rule of thumb for most vocabularies.
const BYTES_PER_TOKEN: usize = 4;

/// The charge for a turn: the tokens that the model reported, or an estimate by the length of the text where it reported
/// none. A model reports its usage at the end of its stream, so without the estimate a client that leaves before the end
/// would pay nothing.
pub(super) fn charge(accounts: &[String], draft: &ReplyDraft) -> Charge {
    let UsageRecord { input_tokens, output_tokens, cached_tokens } = draft.usage;
    let reported_or = |tokens: u64, bytes: usize| if tokens == 0 { estimated_tokens(bytes) } else { tokens };
    let usage = UsageRecord {
        input_tokens: reported_or(input_tokens, draft.prompt_bytes),
        output_tokens: reported_or(output_tokens, draft.text.len()),
        cached_tokens,
    };
    Charge { accounts: accounts.to_vec(), usage }
}

fn estimated_tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX)
}
