//! What one model call uses: an estimate before it begins, and the count after its end. Pure.

use masque_runtime::contract::{Delta, Prompt, Usage};
use masque_store::UsageRecord;

use crate::tokens::{estimated_tokens, prompt_bytes};

/// The tokens that are set aside for a reply before it begins: an average one. A prompt that allows fewer sets aside fewer.
const RESERVED_OUTPUT: u64 = 256;

/// The most tokens of one call that are believed: ten times the largest context of any model in 2026.
const MAX_TOKENS: u64 = 100_000_000;

/// The options by which a prompt bounds its reply.
const OUTPUT_LIMITS: [&str; 3] = ["max_tokens", "max_completion_tokens", "max_output_tokens"];

/// Tokens of input and output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) input: u64,
    pub(super) output: u64,
}

/// How a model call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallEnd {
    /// The model said that its reply is complete.
    Complete,
    /// The call failed, was cut off, or nobody waited for its end.
    Incomplete,
    /// The upstream, or the host, refused the call before the model began.
    Refused,
}

/// What is known of a call's usage.
#[derive(Debug)]
pub(super) struct CallUsage {
    input_estimate: u64,
    /// The bytes that the model has written, thinking and tool calls included.
    written: usize,
    /// What the model reported so far; zero for a count that it did not report.
    reported: UsageRecord,
    /// Whether anything came from the model.
    has_begun: bool,
    reserved: u64,
}

impl CallUsage {
    pub(super) fn new(prompt: &Prompt) -> Self {
        let limit = prompt
            .options
            .iter()
            .filter(|option| OUTPUT_LIMITS.contains(&&*option.name))
            .filter_map(|option| option.json.parse::<u64>().ok())
            .min();
        Self {
            input_estimate: estimated_tokens(prompt_bytes(prompt)),
            written: 0,
            reported: UsageRecord::default(),
            has_begun: false,
            reserved: limit.unwrap_or(RESERVED_OUTPUT).min(RESERVED_OUTPUT),
        }
    }

    /// The tokens to debit before the call begins.
    pub(super) fn estimate(&self) -> Tokens {
        Tokens { input: self.input_estimate, output: self.reserved }
    }

    /// Counts one item of the reply.
    pub(super) fn add(&mut self, delta: &Delta) {
        match delta {
            Delta::Text(text) | Delta::Thinking(text) => self.written += text.len(),
            Delta::ToolCall(call) => self.written += call.name.len() + call.arguments.len(),
            Delta::Other(property) => self.written += property.json.len(),
            Delta::Usage(usage) => self.reported = plausible(usage),
            Delta::Finish(_) | Delta::Failed(_) => {}
        }
        self.has_begun |= !matches!(delta, Delta::Failed(_));
    }

    /// What the model reported so far; zero for a count that it did not report.
    pub(super) fn reported(&self) -> UsageRecord {
        self.reported
    }

    /// The same with an estimate for each count that was not reported. Zero stands for "not known" in the contract, so
    /// clients never see it as a figure; they are told that it is an estimate.
    pub(super) fn reported_or_estimated(&self) -> UsageRecord {
        let UsageRecord { input_tokens, output_tokens, cached_tokens, .. } = self.reported;
        UsageRecord {
            input_tokens: known_or(input_tokens, self.input_estimate),
            output_tokens: known_or(output_tokens, estimated_tokens(self.written)),
            cached_tokens,
            // A reply without a word has no tokens, reported or not.
            estimated: input_tokens == 0 || (output_tokens == 0 && self.written > 0),
        }
    }

    /// The tokens that the call used: what the model reported, or an estimate by the length of the text where it reported
    /// nothing. What a model reports before the end of a reply that is then cut off is the least that it used.
    pub(super) fn actual(&self, end: CallEnd) -> Tokens {
        let UsageRecord { input_tokens, output_tokens, .. } = self.reported;
        let written = estimated_tokens(self.written);
        match end {
            CallEnd::Refused if !self.has_begun => Tokens::default(),
            CallEnd::Complete => Tokens {
                input: known_or(input_tokens, self.input_estimate),
                output: known_or(output_tokens, written),
            },
            CallEnd::Incomplete | CallEnd::Refused => Tokens {
                input: known_or(input_tokens, self.input_estimate),
                output: output_tokens.max(written),
            },
        }
    }
}

/// What a model reports. A count over [`MAX_TOKENS`] is a mistake and stands for one that is not known: a budget must not be
/// spent by one bad frame.
fn plausible(usage: &Usage) -> UsageRecord {
    let count = |tokens: u64| if tokens > MAX_TOKENS { 0 } else { tokens };
    UsageRecord {
        input_tokens: count(usage.input_tokens),
        output_tokens: count(usage.output_tokens),
        cached_tokens: count(usage.cached_tokens),
        estimated: false,
    }
}

/// The reported count. Zero stands for a count that the model does not know.
fn known_or(reported: u64, estimate: u64) -> u64 {
    if reported == 0 { estimate } else { reported }
}

#[cfg(test)]
mod tests {
    use masque_runtime::contract::{Failure, Finish, Message, Property};

    use super::*;

    fn prompt(text: &str, options: &[(&str, &str)]) -> Prompt {
        let options = options
            .iter()
            .map(|(name, json)| Property { name: (*name).into(), json: (*json).into() })
            .collect();
        Prompt {
            messages: vec![Message::new("user", text)],
            tools: Vec::new(),
            options,
            metadata: Vec::new(),
        }
    }

    fn usage(input_tokens: u64, output_tokens: u64) -> Delta {
        Delta::Usage(Usage { input_tokens, output_tokens, ..Usage::default() })
    }

    fn text(bytes: usize) -> Delta {
        Delta::Text("x".repeat(bytes))
    }

    fn thinking(bytes: usize) -> Delta {
        Delta::Thinking("x".repeat(bytes))
    }

    fn failed() -> Delta {
        Delta::Failed(Failure::new("overloaded", ""))
    }

    #[test]
    fn a_call_is_estimated_by_its_prompt_and_an_average_reply() {
        let estimate =
            |options: &[(&str, &str)]| CallUsage::new(&prompt(&"x".repeat(400), options)).estimate();
        assert_eq!(estimate(&[]), Tokens { input: 100, output: RESERVED_OUTPUT });
        assert_eq!(estimate(&[("max_tokens", "20")]).output, 20);
        assert_eq!(estimate(&[("max_completion_tokens", "1000000")]).output, RESERVED_OUTPUT);
        assert_eq!(estimate(&[("max_tokens", "\"many\"")]).output, RESERVED_OUTPUT);
    }

    #[test]
    fn a_count_that_the_model_did_not_report_is_an_estimate_and_never_zero() {
        // Reported input and output, then the figures and whether they are an estimate.
        let table = [
            ((9, 3), (9, 3, false)),
            ((0, 0), (10, 4, true)),
            ((9, 0), (9, 4, true)),
            ((0, 3), (10, 3, true)),
        ];
        for ((input, output), wanted) in table {
            let mut call = CallUsage::new(&prompt(&"x".repeat(40), &[]));
            [text(8), thinking(5), usage(input, output)].iter().for_each(|delta| call.add(delta));
            let told = call.reported_or_estimated();
            assert_eq!((told.input_tokens, told.output_tokens, told.estimated), wanted);
            assert_eq!((call.reported().input_tokens, call.reported().output_tokens), (input, output));
        }
    }

    #[test]
    fn a_count_that_no_model_can_reach_is_not_believed() {
        let mut call = CallUsage::new(&prompt(&"x".repeat(40), &[]));
        [text(8), usage(u64::MAX, MAX_TOKENS + 1)].iter().for_each(|delta| call.add(delta));
        assert_eq!(call.actual(CallEnd::Complete), Tokens { input: 10, output: 2 });
        assert!(call.reported_or_estimated().estimated);
        call.add(&usage(MAX_TOKENS, MAX_TOKENS));
        assert_eq!(call.actual(CallEnd::Complete), Tokens { input: MAX_TOKENS, output: MAX_TOKENS });
    }

    #[test]
    fn a_reply_without_a_word_is_no_estimate_where_the_model_reports_its_input() {
        let mut call = CallUsage::new(&prompt("Hi", &[]));
        call.add(&usage(9, 0));
        assert!(!call.reported_or_estimated().estimated);
    }

    #[test]
    fn what_counts_is_the_report_and_an_estimate_where_there_is_none() {
        use CallEnd::{Complete, Incomplete, Refused};
        let finish = || Delta::Finish(Finish { reason: "stop".into(), metadata: Vec::new() });
        // The prompt has 40 bytes, so its estimate is 10 tokens.
        let table: [(&str, Vec<Delta>, CallEnd, u64, u64); 13] = [
            ("a report counts", vec![text(400), usage(12, 3), finish()], Complete, 12, 3),
            ("without one, the text is estimated", vec![text(400), finish()], Complete, 10, 100),
            ("thinking without a report counts", vec![thinking(400), text(40), finish()], Complete, 10, 110),
            ("a report of zero is none", vec![text(400), usage(0, 0), finish()], Complete, 10, 100),
            ("a half report is completed", vec![text(400), usage(12, 0), finish()], Complete, 12, 100),
            ("the last report counts", vec![usage(12, 1), text(8), usage(12, 2), finish()], Complete, 12, 2),
            ("a reply that is cut off counts", vec![thinking(400)], Incomplete, 10, 100),
            ("a report before a cut is the least", vec![usage(12, 1), text(400)], Incomplete, 12, 100),
            ("a high report before a cut counts", vec![usage(12, 500), text(400)], Incomplete, 12, 500),
            ("a failure after thinking counts", vec![thinking(400), failed()], Refused, 10, 100),
            ("the prompt of a failed call counts", vec![], Incomplete, 10, 0),
            ("a refused call costs nothing", vec![], Refused, 0, 0),
            ("also if the refusal is an item", vec![failed()], Refused, 0, 0),
        ];
        for (what, deltas, end, input, output) in table {
            let mut call = CallUsage::new(&prompt(&"x".repeat(40), &[]));
            deltas.iter().for_each(|delta| call.add(delta));
            assert_eq!(call.actual(end), Tokens { input, output }, "{what}");
        }
    }
}
