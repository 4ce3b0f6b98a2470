//! What a configuration is once it has been read: plain, validated values. Whoever holds one need not check it again.
//! How they are written down in a file is known to the rooms beside this one, and to no other part of the host.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
pub(crate) use masque_grants::Name;
use masque_runtime::{Grants, SandboxConfig};
use masque_store::Quota;
use serde::{Serialize, Serializer};

use super::locations::Locations;
use super::problem::Place;
use super::secrets::NamedSecret;
use super::sources::Sources;
use crate::builtin::Builtin;

/// The whole configuration of one host.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) server: Server,
    pub(crate) tls: Option<Tls>,
    pub(crate) admin: Admin,
    pub(crate) cors: Cors,
    pub(crate) auth: Auth,
    pub(crate) stream: Stream,
    pub(crate) turn: Turn,
    pub(crate) limits: Allowance,
    pub(crate) drain: Drain,
    pub(crate) data: Data,
    pub(crate) log: Log,
    pub(crate) sandbox: Sandbox,
    /// Every plugin that one of them names is in `plugins`.
    pub(crate) companions: BTreeMap<Name, Companion>,
    pub(crate) plugins: BTreeMap<Name, Plugin>,
    /// The file that was read, if there was one.
    pub(crate) file: Option<PathBuf>,
    /// Where everything stood, for mistakes that only show later, such as settings that a plugin's schema refuses.
    pub(crate) locations: Locations,
    /// What all of this was read from.
    pub(crate) sources: Sources,
}

/// The listener and what one client may cost.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Server {
    pub(crate) listen: SocketAddr,
    /// The longest message of a user.
    pub(crate) max_message_bytes: usize,
    /// The longest body of any request.
    pub(crate) max_body_bytes: usize,
    /// From the first byte awaited to the end of a request's head.
    pub(crate) header_timeout: Duration,
    /// For a request's whole body.
    pub(crate) body_timeout: Duration,
    /// How long a client may leave what it is sent unread.
    pub(crate) write_timeout: Duration,
    pub(crate) max_connections: usize,
    /// The longest path with its query.
    pub(crate) max_url_bytes: usize,
    /// Whose word counts on whom a request came from.
    #[serde(serialize_with = "as_text")]
    pub(crate) trusted_proxies: Vec<IpNet>,
}

fn as_text<S: Serializer>(networks: &[IpNet], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(networks.iter().map(ToString::to_string))
}

/// What the host shows that it is itself.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Tls {
    /// The chain, the host's own certificate first.
    pub(crate) certificate: PemFile,
    pub(crate) key: PemFile,
}

/// A file, and where it is named.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PemFile {
    pub(crate) path: PathBuf,
    #[serde(skip)]
    pub(crate) place: Place,
}

/// The operators' side.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Admin {
    /// A listener of their own, if they have one.
    pub(crate) listen: Option<SocketAddr>,
    /// Said aloud: without one, they are served where everyone is.
    pub(crate) shared: bool,
}

/// The origins whose pages may call the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Cors {
    Nobody,
    Anyone,
    /// As browsers write them, and never empty.
    Origins(Vec<String>),
}

/// Who has to prove what, and how.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Auth {
    /// Whether callers have to prove who they are.
    pub(crate) required: bool,
    /// Where it is said that they have not.
    #[serde(skip)]
    pub(crate) switched_off_at: Option<Place>,
    /// `iss` of the host's own tokens.
    pub(crate) issuer: String,
    /// Their `aud`.
    pub(crate) audience: String,
    /// What two clocks may differ by.
    pub(crate) leeway: Duration,
    /// How long a token lives whose maker does not say, and the longest that can be asked for.
    pub(crate) token_lifetime: Duration,
    pub(crate) max_token_lifetime: Duration,
    /// What the host's own tokens are signed with; without it there are none.
    pub(crate) secret: Option<SigningSecret>,
    pub(crate) issuers: BTreeMap<Name, Issuer>,
}

/// Keys that tokens are signed with: the first signs, all verify. Its text is no part of anything that is shown.
#[derive(Clone, Serialize)]
pub(crate) struct SigningSecret {
    #[serde(skip)]
    pub(crate) keys: Vec<NamedSecret>,
    /// Where they are read again when it changes.
    pub(crate) file: Option<PathBuf>,
    #[serde(skip)]
    pub(crate) place: Place,
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningSecret").field("file", &self.file).finish_non_exhaustive()
    }
}

/// An identity provider.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Issuer {
    /// The exact `iss` of its tokens.
    pub(crate) issuer: String,
    pub(crate) source: JwkSource,
    /// One of them is in the token's `aud`.
    pub(crate) audience: Vec<String>,
    /// By their names in RFC 7518; never empty.
    pub(crate) algorithms: Vec<String>,
    /// The one `typ` that is taken.
    pub(crate) typ: Option<String>,
    pub(crate) scope_claim: String,
    /// What each of its tokens may do beside what it says.
    pub(crate) default_scopes: Vec<String>,
    /// Where its tokens name a tenant.
    pub(crate) tenant_claim: Option<String>,
    /// How often the keys are read again.
    pub(crate) refresh: Duration,
    /// The least time between two readings that unknown keys cause.
    pub(crate) cooldown: Duration,
}

/// Where an identity provider's keys are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JwkSource {
    File(PathBuf),
    Url(String),
    /// Where the issuer's own metadata says (OpenID Connect Discovery 1.0, section 4).
    Discovery,
}

/// A streamed reply.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stream {
    /// How long the response's head waits for the model's first content.
    pub(crate) hold: Duration,
    /// The interval of comment lines that keep proxies from hanging up.
    pub(crate) keepalive: Duration,
}

/// One turn.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Turn {
    /// From admission to commit.
    pub(crate) timeout: Duration,
    /// Turns that run at once, over all conversations.
    pub(crate) max_concurrent: usize,
    /// Turns that may wait for one conversation.
    pub(crate) waiting: usize,
    /// How long each of them waits.
    pub(crate) wait: Duration,
    /// How long a turn goes on without a reader.
    pub(crate) linger: Duration,
    /// The same for a turn with an `Idempotency-Key`.
    pub(crate) linger_keyed: Duration,
    /// How long a turn's events can be read again after its end.
    pub(crate) log_ttl: Duration,
    /// The longest reply.
    pub(crate) reply_bytes: usize,
}

/// What one user and one address may ask of the host; `None` is as much as they like.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Allowance {
    pub(crate) user: Option<Quota>,
    /// Turns of one user at the same time.
    pub(crate) turns: Option<u32>,
    /// The model's tokens, of input and output, that one user has a day.
    pub(crate) tokens_per_day: Option<u64>,
    pub(crate) address: Option<Quota>,
}

/// Shutting down.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Drain {
    /// How long the host still accepts connections after the first signal.
    pub(crate) delay: Duration,
    /// How long running turns may take after that.
    pub(crate) timeout: Duration,
}

/// Where state is kept.
#[derive(Clone, Debug)]
pub(crate) struct Data {
    pub(crate) folder: PathBuf,
    /// Compiled components; may be deleted at any time.
    pub(crate) compiled: PathBuf,
    /// Components that are plugins by being there.
    pub(crate) plugins: PathBuf,
}

/// What the host writes to its standard error.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    /// A level, or directives of `tracing-subscriber`'s `EnvFilter`.
    pub(crate) level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// The room that all plugins share.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sandbox {
    /// Calls that may hold an instance at the same time.
    pub(crate) instances: u32,
    /// The most that any plugin's `limits.memory` may be.
    pub(crate) memory_bytes: usize,
    /// How long a call waits for a free instance.
    pub(crate) slot_wait: Duration,
}

/// A persona, a memory and the models that speak for them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Companion {
    pub(crate) persona: Name,
    pub(crate) memory: Name,
    /// Never empty; the first one serves unless the client chooses.
    pub(crate) models: Vec<Name>,
    /// Whether the next model takes over where one fails before its first content.
    pub(crate) fallback: bool,
    /// What a recollection may hold, in the model's tokens.
    pub(crate) memory_budget: u32,
    /// Passed to the model with every prompt, over what the persona asks for.
    pub(crate) options: serde_json::Map<String, serde_json::Value>,
}

/// A component with the settings and grants it runs under.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    pub(crate) source: Source,
    /// As the plugin receives them: what a setting named by `{ file = … }` is already its text.
    pub(crate) settings: serde_json::Map<String, serde_json::Value>,
    /// With the credentials themselves.
    pub(crate) grants: Grants,
    pub(crate) limits: Limits,
}

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Builtin(Builtin),
    /// A relative path of the file has been resolved against the file's own folder.
    File(PathBuf),
}

/// As it is written in a file.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(builtin) => builtin.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What one call of a plugin may spend; the runtime's other limits are not the operator's to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Limits {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    pub(crate) memory_bytes: usize,
}

impl Config {
    /// What the plugin is allowed.
    pub(crate) fn grants(&self, plugin: &Plugin) -> Grants {
        plugin.grants.clone()
    }
}

impl Companion {
    /// Whether it is made of the plugin.
    pub(crate) fn names(&self, plugin: &str) -> bool {
        [&self.persona, &self.memory].into_iter().chain(&self.models).any(|name| &**name == plugin)
    }
}

impl Plugin {
    /// The settings as a plugin is handed them.
    pub(crate) fn settings_json(&self) -> String {
        serde_json::Value::Object(self.settings.clone()).to_string()
    }
}

impl Sandbox {
    /// In the runtime's words; compiling is left to this process.
    pub(crate) fn to_runtime(&self) -> SandboxConfig {
        SandboxConfig {
            instances: self.instances,
            memory_bytes: self.memory_bytes,
            slot_wait: self.slot_wait,
            ..SandboxConfig::default()
        }
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        let SandboxConfig { instances, memory_bytes, slot_wait, .. } = SandboxConfig::default();
        Self { instances, memory_bytes, slot_wait }
    }
}

impl Limits {
    /// In the runtime's words.
    pub(crate) fn to_runtime(self) -> masque_runtime::Limits {
        masque_runtime::Limits {
            wall: self.wall,
            cpu: self.cpu,
            memory_bytes: self.memory_bytes,
            ..masque_runtime::Limits::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let masque_runtime::Limits { wall, cpu, memory_bytes, .. } = masque_runtime::Limits::default();
        Self { wall, cpu, memory_bytes }
    }
}
