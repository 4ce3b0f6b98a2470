//! Collects the tokens that a server reports: early or late, in part, in every frame, under several names, and in several
//! places. A count that is 0 is not known, as in the contract, and replaces none that is.

use masque_sdk::Usage;
use serde_json::{Map, Value};

const INPUT: [&str; 5] =
    ["prompt_tokens", "input_tokens", "promptTokenCount", "prompt_eval_count", "inputTokens"];
const OUTPUT: [&str; 5] =
    ["completion_tokens", "output_tokens", "candidatesTokenCount", "eval_count", "outputTokens"];
const TOTAL: [&str; 3] = ["total_tokens", "totalTokenCount", "totalTokens"];
const CACHED: [&str; 4] =
    ["cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens", "cachedContentTokenCount"];
const DETAILS: [&str; 2] = ["prompt_tokens_details", "input_tokens_details"];

/// The counts so far.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug, Default)]
pub(super) struct Tokens {
    input: Option<u64>,
    output: Option<u64>,
    cached: Option<u64>,
    total: Option<u64>,
}

impl Tokens {
    /// Takes what the object says, if it says anything: a frame or a choice.
    pub(super) fn read(&mut self, object: &Map<String, Value>) {
        let groq = object.get("x_groq").and_then(|vendor| vendor.get("usage"));
        let named = ["usage", "usage_metadata", "usageMetadata"].iter().filter_map(|name| object.get(*name));
        for usage in named.chain(groq).filter_map(Value::as_object) {
            self.take(usage);
        }
        // Ollama's own names, beside the message.
        if object.contains_key("eval_count") {
            self.take(object);
        }
        // llama.cpp reports its timings with or without being asked for the usage.
        if let Some(timings) = object.get("timings").and_then(Value::as_object)
            && self.input.is_none()
            && self.output.is_none()
        {
            let count = |name: &str| timings.get(name).and_then(count);
            self.cached = count("cache_n").or(self.cached);
            self.input = count("prompt_n").map(|read| read.saturating_add(self.cached.unwrap_or_default()));
            self.output = count("predicted_n");
        }
    }

    /// The report for the host. `None` if nothing is known.
    pub(super) fn usage(&self) -> Option<Usage> {
        let rest = |part: Option<u64>| self.total?.checked_sub(part?).filter(|rest| *rest > 0);
        let input = self.input.or_else(|| rest(self.output));
        let output = self.output.or_else(|| rest(self.input));
        if input.is_none() && output.is_none() {
            return None;
        }
        let mut usage = Usage::new(input.unwrap_or_default(), output.unwrap_or_default());
        usage.cached_tokens = self.cached.unwrap_or_default();
        Some(usage)
    }

    /// Whether both counts are known.
    pub(super) fn is_complete(&self) -> bool {
        self.input.is_some() && self.output.is_some()
    }

    fn take(&mut self, usage: &Map<String, Value>) {
        let first = |names: &[&str]| names.iter().filter_map(|name| usage.get(*name)).find_map(count);
        self.input = first(&INPUT).or(self.input);
        self.output = first(&OUTPUT).or(self.output);
        self.total = first(&TOTAL).or(self.total);
        let details = DETAILS.iter().filter_map(|name| usage.get(*name)?.as_object());
        let cached = details.filter_map(|details| details.get("cached_tokens")).find_map(count);
        self.cached = cached.or_else(|| first(&CACHED)).or(self.cached);
    }
}

/// A count above 0: a number of any form, or a text that holds one.
fn count(value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok().or_else(|| whole(text.trim().parse().ok()?)),
        _ => None,
    };
    number.filter(|number| *number > 0)
}

/// Rounds a count that was sent as a float. `None` if it is no count at all.
fn whole(number: f64) -> Option<u64> {
    // Floats up to 2^53 are exact, and no count is larger.
    let is_count = (0.0..9_007_199_254_740_992.0).contains(&number);
    is_count.then(|| number.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn usage_is_collected_from_all_frames_and_in_every_form() {
        let table = [
            (vec![json!({"usage": {}})], None),
            (vec![json!({"usage": null})], None),
            (vec![json!({"usage": {"prompt_tokens": 0, "completion_tokens": 0}})], None),
            (
                vec![json!({"usage": {"prompt_tokens": 9}}), json!({"usage": {"completion_tokens": 3}})],
                Some((9, 3, 0)),
            ),
            (vec![json!({"usage": {"prompt_tokens": 9.0, "completion_tokens": "3"}})], Some((9, 3, 0))),
            (vec![json!({"usage": {"prompt_tokens": -1, "completion_tokens": 3}})], Some((0, 3, 0))),
            (
                vec![
                    json!({"usage": {"prompt_tokens": 9, "completion_tokens": 1}}),
                    json!({"usage": {"prompt_tokens": 9, "completion_tokens": 3}}),
                    json!({"usage": {"prompt_tokens": 0, "completion_tokens": 0}}),
                ],
                Some((9, 3, 0)),
            ),
            (
                vec![
                    json!({"usage": {"input_tokens": 9, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 4}}}),
                ],
                Some((9, 3, 4)),
            ),
            (vec![json!({"usage": {"prompt_tokens": 9, "total_tokens": 12}})], Some((9, 3, 0))),
            (
                vec![json!({"x_groq": {"usage": {"prompt_tokens": 9, "completion_tokens": 3}}})],
                Some((9, 3, 0)),
            ),
            (vec![json!({"timings": {"prompt_n": 5, "cache_n": 4, "predicted_n": 3}})], Some((9, 3, 4))),
            (
                vec![
                    json!({"usage": {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": null, "prompt_cache_hit_tokens": 2}}),
                ],
                Some((9, 3, 2)),
            ),
        ];
        for (frames, wanted) in table {
            let mut tokens = Tokens::default();
            frames.iter().for_each(|frame| tokens.read(frame.as_object().unwrap()));
            let got =
                tokens.usage().map(|usage| (usage.input_tokens, usage.output_tokens, usage.cached_tokens));
            assert_eq!(got, wanted, "{frames:?}");
        }
    }
}
