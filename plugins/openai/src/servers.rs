//! What is known about the servers of providers: the defaults of settings that the operator leaves out. A server that is
//! not listed is taken for one that follows the protocol, perhaps a slow one on the operator's own machine.

use crate::prompt_shape::LateSystem;
use std::time::Duration;

/// How long a provider's server may be silent, before its answer and within it, so that another model can take over.
const HOSTED_SILENCE: Duration = Duration::from_secs(60);

/// What a server expects of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Server {
    /// The longest reply is `max_completion_tokens`, as the newer models of OpenAI demand.
    pub(crate) has_completion_tokens: bool,
    /// It takes `stream_options`. A server that does not reports the usage without being asked.
    pub(crate) has_stream_options: bool,
    /// It refuses messages whose roles do not alternate.
    pub(crate) alternates: bool,
    pub(crate) late_system: LateSystem,
    /// The longest silence. `None` leaves the end to the turn's deadline: a model on one's own machine may read a long
    /// prompt for minutes.
    pub(crate) silence: Option<Duration>,
}

const UNKNOWN: Server = Server {
    has_completion_tokens: false,
    has_stream_options: true,
    alternates: false,
    late_system: LateSystem::Keep,
    silence: None,
};
const HOSTED: Server = Server { silence: Some(HOSTED_SILENCE), ..UNKNOWN };
const OPENAI: Server = Server { has_completion_tokens: true, ..HOSTED };
const STRICT: Server = Server { alternates: true, late_system: LateSystem::User, ..HOSTED };

/// Servers by their host name, or by its end where it begins with a dot.
const KNOWN: [(&str, Server); 20] = [
    ("api.openai.com", OPENAI),
    (".openai.azure.com", OPENAI),
    (".cognitiveservices.azure.com", OPENAI),
    (".services.ai.azure.com", OPENAI),
    ("api.mistral.ai", Server { has_stream_options: false, ..HOSTED }),
    ("api.perplexity.ai", Server { has_stream_options: false, ..STRICT }),
    ("api.deepseek.com", Server { late_system: LateSystem::Keep, ..STRICT }),
    ("openrouter.ai", HOSTED),
    ("api.groq.com", HOSTED),
    ("api.together.xyz", HOSTED),
    ("api.fireworks.ai", HOSTED),
    ("api.anthropic.com", HOSTED),
    ("generativelanguage.googleapis.com", HOSTED),
    ("aiplatform.googleapis.com", HOSTED),
    ("api.x.ai", HOSTED),
    ("api.cohere.ai", HOSTED),
    ("api.cerebras.ai", HOSTED),
    ("api.moonshot.cn", HOSTED),
    ("api.moonshot.ai", HOSTED),
    ("integrate.api.nvidia.com", HOSTED),
];

/// What is known of the server at this URL.
pub(crate) fn of(base_url: &str) -> Server {
    let host = host(base_url).to_ascii_lowercase();
    let is = |name: &str| match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name,
    };
    KNOWN.iter().find(|(name, _)| is(name)).map_or(UNKNOWN, |(_, server)| *server)
}

fn host(url: &str) -> &str {
    let rest = url.trim().split_once("://").map_or(url.trim(), |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_host_name_alone() {
        let table = [
            ("https://api.openai.com/v1", OPENAI),
            ("https://API.OpenAI.com", OPENAI),
            ("https://x.openai.azure.com/openai/deployments/d?api-version=1", OPENAI),
            ("https://api.openai.com.example.org/v1", UNKNOWN),
            ("https://notapi.openai.com/v1", UNKNOWN),
            ("https://example.org/api.openai.com/v1", UNKNOWN),
            ("http://127.0.0.1:8080/v1", UNKNOWN),
            ("https://openrouter.ai:443/api/v1", HOSTED),
        ];
        for (url, wanted) in table {
            assert_eq!(of(url), wanted, "{url}");
        }
        assert!(of("https://api.perplexity.ai").alternates);
        assert!(!of("https://api.mistral.ai/v1").has_stream_options);
    }
}
