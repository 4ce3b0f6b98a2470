//! What the operator may set.

use serde_json::{Map, Value};
use std::time::Duration;

/// A model behind an OpenAI-compatible chat-completions endpoint. The key is not set here: the host adds it.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenAi {
    /// Where the API begins, mostly with `/v1` at its end. The plugin needs a grant for its origin.
    #[serde(default = "base_url")]
    pub(crate) base_url: String,
    /// The model's name as the endpoint knows it.
    pub(crate) model: String,
    #[serde(default)]
    pub(crate) temperature: Option<f64>,
    /// The longest reply, in tokens.
    #[serde(default)]
    pub(crate) max_tokens: Option<u32>,
    /// Under which name the longest reply is sent: OpenAI's newer models refuse the older one, other servers the newer.
    /// By default `max_completion_tokens` for api.openai.com and `max_tokens` elsewhere.
    #[serde(default)]
    pub(crate) max_tokens_parameter: Option<MaxTokensParameter>,
    /// Whether the reply is streamed.
    #[serde(default = "yes")]
    pub(crate) stream: bool,
    /// Whether a streamed reply is asked to report its tokens (`stream_options`); a few servers refuse the question.
    #[serde(default = "yes")]
    pub(crate) stream_usage: bool,
    /// More of the request's body: `{ top_p = 0.9, reasoning_effort = "low" }`.
    #[serde(default)]
    pub(crate) extra: Map<String, Value>,
    #[serde(default = "ten_seconds")]
    pub(crate) connect_timeout_ms: u64,
    /// How long the endpoint may think before it answers at all.
    #[serde(default = "a_minute")]
    pub(crate) first_byte_timeout_ms: u64,
    /// How long the endpoint may be silent once it has begun. Comments that it sends to keep the connection open count as
    /// a sign of life; the turn's deadline bounds those.
    #[serde(default = "half_a_minute")]
    pub(crate) stall_timeout_ms: u64,
}

#[derive(Clone, Copy, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MaxTokensParameter {
    MaxTokens,
    MaxCompletionTokens,
}

impl OpenAi {
    /// Where requests go.
    pub(crate) fn url(&self) -> String {
        let base = self.base_url.trim().trim_end_matches('/');
        let base = base.strip_suffix("/chat/completions").unwrap_or(base);
        format!("{base}/chat/completions")
    }

    /// The name under which the longest reply is sent.
    pub(crate) fn max_tokens_parameter(&self) -> &'static str {
        match self.max_tokens_parameter {
            Some(MaxTokensParameter::MaxTokens) => "max_tokens",
            Some(MaxTokensParameter::MaxCompletionTokens) => "max_completion_tokens",
            None if self.base_url.trim().starts_with("https://api.openai.com") => "max_completion_tokens",
            None => "max_tokens",
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(crate) fn first_byte_timeout(&self) -> Duration {
        Duration::from_millis(self.first_byte_timeout_ms)
    }

    pub(crate) fn stall_timeout(&self) -> Duration {
        Duration::from_millis(self.stall_timeout_ms)
    }
}

fn base_url() -> String {
    "https://api.openai.com/v1".into()
}

fn yes() -> bool {
    true
}

fn ten_seconds() -> u64 {
    10_000
}

fn half_a_minute() -> u64 {
    30_000
}

fn a_minute() -> u64 {
    60_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use masque_sdk::testing;

    fn with(json: &str) -> OpenAi {
        testing::set_settings(json);
        testing::load().unwrap()
    }

    #[test]
    fn the_url_is_right_however_its_base_is_written() {
        let table = [
            ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
            ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1/chat/completions"),
            (" http://h/v1/chat/completions ", "http://h/v1/chat/completions"),
        ];
        for (base, wanted) in table {
            assert_eq!(with(&format!(r#"{{"model": "m", "base_url": "{base}"}}"#)).url(), wanted);
        }
    }

    #[test]
    fn the_longest_reply_has_the_name_that_the_endpoint_takes() {
        let table = [
            (r#"{"model": "m"}"#, "max_completion_tokens"),
            (r#"{"model": "m", "base_url": "http://127.0.0.1:8080/v1"}"#, "max_tokens"),
            (r#"{"model": "m", "max_tokens_parameter": "max_tokens"}"#, "max_tokens"),
        ];
        for (settings, wanted) in table {
            assert_eq!(with(settings).max_tokens_parameter(), wanted);
        }
    }

    #[test]
    fn a_model_has_to_be_named_and_a_key_has_no_place() {
        testing::set_settings("{}");
        assert!(testing::load::<OpenAi>().err().unwrap().message.contains("`model`"));
        testing::set_settings(r#"{"model": "m", "api_key": "sk-1"}"#);
        assert!(testing::load::<OpenAi>().err().unwrap().message.contains("api_key"));
    }
}
