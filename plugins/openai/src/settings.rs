//! The settings of the plugin.

use crate::prompt_shape::{LateSystem, PromptShape};
use crate::servers::{self, Server};
use masque_sdk::{Failure, Result};
use serde_json::{Map, Value};
use std::time::Duration;

/// A model behind an OpenAI-compatible chat-completions endpoint. The key is not set here: the host adds it.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenAi {
    /// Where the API begins, mostly with `/v1` at its end; a query is kept, as in Azure's
    /// `https://NAME.openai.azure.com/openai/deployments/MODEL?api-version=…`. The plugin needs a grant for its origin.
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
    /// By default `max_completion_tokens` for OpenAI and Azure and `max_tokens` elsewhere. A server that refuses one of
    /// them is asked again with the other.
    #[serde(default)]
    pub(crate) max_tokens_parameter: Option<MaxTokensParameter>,
    /// Whether the reply is streamed.
    #[serde(default = "default_true")]
    pub(crate) stream: bool,
    /// Whether a streamed reply is asked to report its tokens (`stream_options`); a few servers refuse the question. By
    /// default it is asked, except of servers that are known to refuse or not to need it.
    #[serde(default)]
    pub(crate) stream_usage: Option<bool>,
    /// Whether the roles of the messages must alternate, beginning with the user: messages of one role are joined, and a
    /// greeting gets a message `…` of the user before it. By default for servers that are known to demand it, and for one
    /// that refuses the request for this reason.
    #[serde(default)]
    pub(crate) alternate_roles: Option<bool>,
    /// What becomes of a system message that comes after other messages: `keep` leaves it, `user` makes it a message of
    /// the user, `first` joins it to the first system message. By default `keep`, and `user` for servers that are known
    /// to refuse it, or that do so.
    #[serde(default)]
    pub(crate) late_system: Option<LateSystem>,
    /// Whether a reply that begins with `<think>` is thinking until `</think>`.
    #[serde(default = "default_true")]
    pub(crate) think_tags: bool,
    /// More of the request's body: `{ top_p = 0.9, reasoning_effort = "low" }`.
    #[serde(default)]
    pub(crate) extra: Map<String, Value>,
    #[serde(default = "default_connect_timeout_ms")]
    pub(crate) connect_timeout_ms: u64,
    /// How long the endpoint may think before it answers at all. By default a minute for the servers of known providers,
    /// and as long as the turn for others: a model on one's own machine may read a long prompt for minutes.
    #[serde(default)]
    pub(crate) first_byte_timeout_ms: Option<u64>,
    /// How long the endpoint may be silent once it has begun. Comments that it sends to keep the connection open count as
    /// a sign of life; the turn's deadline bounds those. The default is that of `first_byte_timeout_ms`.
    #[serde(default)]
    pub(crate) stall_timeout_ms: Option<u64>,
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
        let base = self.base_url.trim();
        let base = base.split_once('#').map_or(base, |(base, _)| base);
        let (base, query) = base.split_once('?').map_or((base, None), |(base, query)| (base, Some(query)));
        let base = base.trim_end_matches('/');
        let base = base.strip_suffix("/chat/completions").unwrap_or(base);
        match query.filter(|query| !query.is_empty()) {
            Some(query) => format!("{base}/chat/completions?{query}"),
            None => format!("{base}/chat/completions"),
        }
    }

    /// Returns the URL for messages: without what may hold a secret, which are the query, and the user before the host.
    pub(crate) fn address(&self) -> String {
        let url = self.url();
        let url = url.split_once('?').map_or(url.as_str(), |(address, _)| address);
        let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        format!("{scheme}://{host}{path}")
    }

    /// Checks what the schema can't say.
    ///
    /// # Errors
    /// `invalid`, naming the setting.
    pub(crate) fn check(&self) -> Result<()> {
        let base = self.base_url.trim();
        let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        if authority.is_empty() || base.contains(char::is_whitespace) {
            let message =
                "`base_url` is not a URL such as `https://api.openai.com/v1` or `http://127.0.0.1:11434/v1`";
            return Err(Failure::invalid_setting("/base_url", message));
        }
        if !has_valid_port(authority) {
            let message = "the port in `base_url` is no number from 1 to 65535; write it as in `http://127.0.0.1:11434/v1`";
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
            None if self.server().has_completion_tokens => "max_completion_tokens",
            None => "max_tokens",
        }
    }

    /// Whether a streamed reply is asked for its usage.
    pub(crate) fn asks_for_usage(&self) -> bool {
        self.stream && self.stream_usage.unwrap_or_else(|| self.server().has_stream_options)
    }

    /// The order of messages for this server.
    pub(crate) fn prompt_shape(&self) -> PromptShape {
        let server = self.server();
        PromptShape {
            alternates: self.alternate_roles.unwrap_or(server.alternates),
            late_system: self.late_system.unwrap_or(server.late_system),
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// `None` leaves the end to the turn's deadline.
    pub(crate) fn first_byte_timeout(&self) -> Option<Duration> {
        self.first_byte_timeout_ms.map(Duration::from_millis).or(self.server().silence)
    }

    /// `None` leaves the end to the turn's deadline.
    pub(crate) fn stall_timeout(&self) -> Option<Duration> {
        self.stall_timeout_ms.map(Duration::from_millis).or(self.server().silence)
    }

    fn server(&self) -> Server {
        servers::of(&self.base_url)
    }
}

/// Whether the port is left out, or a number that a server can listen on. The host refuses a request to any other.
fn has_valid_port(authority: &str) -> bool {
    let server = authority.rsplit_once('@').map_or(authority, |(_user, server)| server);
    match server.rsplit_once(':') {
        // The last colon of an address in brackets is before no port.
        Some((_, port)) if !port.ends_with(']') => {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        _ => true,
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
            (
                "https://x.openai.azure.com/openai/deployments/d?api-version=1",
                "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=1",
            ),
            ("https://h/d/chat/completions/?a=1&b=2/", "https://h/d/chat/completions?a=1&b=2/"),
            ("https://h/v1?", "https://h/v1/chat/completions"),
        ];
        for (base, wanted) in table {
            assert_eq!(with(&format!(r#"{{"model": "m", "base_url": "{base}"}}"#)).url(), wanted);
        }
    }

    #[test]
    fn the_address_in_messages_holds_neither_query_nor_user() {
        for (base, wanted) in [
            ("https://h/v1?key=sk-1", "https://h/v1/chat/completions"),
            ("https://me:pass@h:81/v1?key=sk-1", "https://h:81/v1/chat/completions"),
            ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1/chat/completions"),
            ("https://h/a@b", "https://h/a@b/chat/completions"),
        ] {
            assert_eq!(with(&format!(r#"{{"model": "m", "base_url": "{base}"}}"#)).address(), wanted);
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
            ("http://127.0.0.1:99999/v1", "m", "/base_url"),
            ("http://127.0.0.1:0", "m", "/base_url"),
            ("http://127.0.0.1:/v1", "m", "/base_url"),
            ("http://[::1]:+80/v1", "m", "/base_url"),
            ("http://h/v1", " ", "/model"),
        ] {
            let failure =
                with(&format!(r#"{{"model": "{model}", "base_url": "{base}"}}"#)).check().unwrap_err();
            assert!(failure.metadata.iter().any(|setting| setting.json.contains(refused)), "{base}");
        }
        for base in
            [" http://127.0.0.1:11434/v1/?a=b ", "http://[::1]/v1", "http://[::1]:11434", "https://me:x@h/v1"]
        {
            assert!(with(&format!(r#"{{"model": "m", "base_url": "{base}"}}"#)).check().is_ok(), "{base}");
        }
    }

    #[test]
    fn the_token_limit_has_the_field_name_of_the_endpoint() {
        let table = [
            (r#"{"model": "m"}"#, "max_completion_tokens"),
            (r#"{"model": "m", "base_url": "http://127.0.0.1:8080/v1"}"#, "max_tokens"),
            (
                r#"{"model": "m", "base_url": "https://x.openai.azure.com/d?api-version=1"}"#,
                "max_completion_tokens",
            ),
            (r#"{"model": "m", "max_tokens_parameter": "max_tokens"}"#, "max_tokens"),
        ];
        for (settings, wanted) in table {
            assert_eq!(with(settings).max_tokens_parameter(), wanted);
        }
    }

    #[test]
    fn an_endpoint_that_no_one_knows_has_the_whole_turn_and_a_known_one_a_minute() {
        let minute = Some(Duration::from_secs(60));
        let table = [
            (r#"{"model": "m", "base_url": "http://127.0.0.1:8080/v1"}"#, None, None),
            (r#"{"model": "m"}"#, minute, minute),
            (r#"{"model": "m", "stall_timeout_ms": 5}"#, minute, Some(Duration::from_millis(5))),
            (
                r#"{"model": "m", "base_url": "http://h", "first_byte_timeout_ms": 5}"#,
                Some(Duration::from_millis(5)),
                None,
            ),
        ];
        for (settings, first_byte, stall) in table {
            let settings = with(settings);
            assert_eq!((settings.first_byte_timeout(), settings.stall_timeout()), (first_byte, stall));
        }
    }

    #[test]
    fn a_setting_goes_before_what_is_known_of_a_server() {
        let strict = r#""model": "m", "base_url": "https://api.perplexity.ai""#;
        let known = with(&format!("{{{strict}}}"));
        assert_eq!(known.prompt_shape(), PromptShape { alternates: true, late_system: LateSystem::User });
        assert!(!known.asks_for_usage());
        let set = with(&format!(
            r#"{{{strict}, "alternate_roles": false, "late_system": "keep", "stream_usage": true}}"#
        ));
        assert_eq!(set.prompt_shape(), PromptShape { alternates: false, late_system: LateSystem::Keep });
        assert!(set.asks_for_usage());
    }

    #[test]
    fn a_model_is_required_and_a_key_is_refused() {
        testing::set_settings("{}");
        assert!(testing::load::<OpenAi>().err().unwrap().message.contains("`model`"));
        testing::set_settings(r#"{"model": "m", "api_key": "sk-1"}"#);
        assert!(testing::load::<OpenAi>().err().unwrap().message.contains("api_key"));
    }
}
