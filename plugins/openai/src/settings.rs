//! The settings of the plugin.

use masque_sdk::{Failure, Result};
use serde_json::{Map, Value};
use std::time::Duration;

/// A model behind an OpenAI-compatible chat-completions endpoint. The key is not set here: the host adds it.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenAi {
    /// Where the API begins, mostly with `/v1` at its end. The plugin needs a grant for its origin.
    #[serde(default = "default_base_url")]
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
    #[serde(default = "default_true")]
    pub(crate) stream: bool,
    /// Whether a streamed reply is asked to report its tokens (`stream_options`); a few servers refuse the question.
    #[serde(default = "default_true")]
    pub(crate) stream_usage: bool,
    /// More of the request's body: `{ top_p = 0.9, reasoning_effort = "low" }`.
    #[serde(default)]
    pub(crate) extra: Map<String, Value>,
    #[serde(default = "default_connect_timeout_ms")]
    pub(crate) connect_timeout_ms: u64,
    /// How long the endpoint may think before it answers at all.
    #[serde(default = "default_first_byte_timeout_ms")]
    pub(crate) first_byte_timeout_ms: u64,
    /// How long the endpoint may be silent once it has begun. Comments that it sends to keep the connection open count as
    /// a sign of life; the turn's deadline bounds those.
    #[serde(default = "default_stall_timeout_ms")]
    pub(crate) stall_timeout_ms: u64,
}

#[derive(Clone, Copy, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MaxTokensParameter {
    MaxTokens,
    MaxCompletionTokens,
}

impl OpenAi {
    /// Returns the URL of the endpoint.
    pub(crate) fn url(&self) -> String {
        let base = self.base_url.trim().trim_end_matches('/');
        let base = base.strip_suffix("/chat/completions").unwrap_or(base);
        format!("{base}/chat/completions")
    }

    /// Checks what the schema can't say.
    ///
    /// # Errors
    /// `invalid`, naming the setting.
    pub(crate) fn check(&self) -> Result<()> {
        let base = self.base_url.trim();
        let authority = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        let is_url = authority.is_some_and(|rest| !rest.starts_with(['/', '?', '#']) && !rest.is_empty())
            && !base.contains(char::is_whitespace);
        if !is_url {
            let message =
                "`base_url` is not a URL such as `https://api.openai.com/v1` or `http://127.0.0.1:11434/v1`";
            return Err(Failure::invalid_setting("/base_url", message));
        }
        if self.model.trim().is_empty() {
            return Err(Failure::invalid_setting(
                "/model",
                "`model` is empty; name the model as the endpoint knows it",
            ));
        }
        Ok(())
    }

    /// Returns the name of the request's field for `max_tokens`.
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

fn default_base_url() -> String {
    "https://api.openai.com/v1".into()
}

fn default_true() -> bool {
    true
}

fn default_connect_timeout_ms() -> u64 {
    10_000
}

fn default_stall_timeout_ms() -> u64 {
    30_000
}

fn default_first_byte_timeout_ms() -> u64 {
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
    fn every_way_to_write_the_base_url_gives_the_same_endpoint() {
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
    fn an_address_or_model_that_can_not_be_asked_is_refused_by_setting() {
        for (base, model, refused) in [
            ("api.openai.com/v1", "m", "/base_url"),
            ("ftp://h/v1", "m", "/base_url"),
            ("https://", "m", "/base_url"),
            ("https:///v1", "m", "/base_url"),
            ("https://h /v1", "m", "/base_url"),
            ("http://h/v1", " ", "/model"),
        ] {
            let failure =
                with(&format!(r#"{{"model": "{model}", "base_url": "{base}"}}"#)).check().unwrap_err();
            assert!(failure.metadata.iter().any(|setting| setting.json.contains(refused)), "{base}");
        }
        assert!(with(r#"{"model": "m", "base_url": " http://127.0.0.1:11434/v1/?a=b "}"#).check().is_ok());
    }

    #[test]
    fn the_token_limit_has_the_field_name_of_the_endpoint() {
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
    fn a_model_is_required_and_a_key_is_refused() {
        testing::set_settings("{}");
        assert!(testing::load::<OpenAi>().err().unwrap().message.contains("`model`"));
        testing::set_settings(r#"{"model": "m", "api_key": "sk-1"}"#);
        assert!(testing::load::<OpenAi>().err().unwrap().message.contains("api_key"));
    }
}
