//! What the operator configures about tokens, as plain checked values.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The tokens that count on this host.
#[derive(Clone, Debug)]
pub struct TokenOptions {
    /// `iss` of the host's own tokens.
    pub issuer: String,
    /// `aud` of the host's own tokens.
    pub audience: String,
    /// How far the clocks of an issuer and of this host may differ.
    pub leeway: Duration,
    /// How long a minted token is valid if the request does not say.
    pub default_lifetime: Duration,
    /// The longest lifetime that can be requested.
    pub max_lifetime: Duration,
    /// What the host's own tokens are signed with; `None` if it has none.
    pub signing: Option<SigningOptions>,
    /// The identity providers that are trusted.
    pub issuers: Vec<IssuerOptions>,
}

/// The secrets that the host's own tokens are signed with.
#[derive(Clone)]
pub struct SigningOptions {
    /// The secrets at the start: the first signs, all verify.
    pub secrets: Vec<SigningSecret>,
    /// Where they are read again once a second; `None` if they can't change while the host runs.
    pub source: Option<Arc<dyn SigningSecretSource>>,
}

/// A secret that tokens are signed with by HMAC-SHA-256. Its `Debug` form shows the `kid` alone.
#[derive(Clone)]
pub struct SigningSecret {
    /// The `kid` that its tokens carry.
    pub kid: Option<String>,
    /// The key.
    pub bytes: Vec<u8>,
    /// Why nobody should rely on it, as a sentence without a full stop; `None` if it is good.
    pub weakness: Option<String>,
}

/// A place that signing secrets are read from again, such as a file that an operator replaces. Displayed as that place,
/// such as the path of the file.
pub trait SigningSecretSource: fmt::Display + Send + Sync {
    /// Reads the secrets. Called about once a second from a thread that may block.
    ///
    /// # Errors
    /// A sentence for the log that names the place and says what is wrong, without a full stop and without the secret.
    fn read(&self) -> Result<Vec<SigningSecret>, String>;
}

/// An identity provider whose tokens are trusted.
#[derive(Clone, Debug)]
pub struct IssuerOptions {
    /// The exact `iss` of its tokens.
    pub issuer: String,
    /// Where its keys are.
    pub source: JwksSource,
    /// Whether keys may be fetched over plain http from other machines.
    pub allow_http: bool,
    /// The audiences that are accepted; one of them has to be in the claim `audience_claim`.
    pub audience: Vec<String>,
    /// The claim that names the audience, or the path to it: `aud`, unless the issuer's tokens have none.
    pub audience_claim: String,
    /// The algorithms that are accepted, by their names in RFC 7518, RFC 8037 and RFC 9864. Names of others are ignored.
    pub algorithms: Vec<String>,
    /// The only `typ` that is accepted; `None` accepts the usual types of access tokens.
    pub typ: Option<String>,
    /// The claim that lists the scopes of a token, or the path to it.
    pub scope_claim: String,
    /// Scopes that each of its tokens has besides those that it lists.
    pub default_scopes: Vec<String>,
    /// The claim that names the tenant of a token, or the path to it, which then has to be there; `None` puts its users into the default
    /// tenant.
    pub tenant_claim: Option<String>,
    /// How often the keys are fetched again.
    pub refresh: Duration,
    /// The least time between two fetches that are caused by unknown keys.
    pub cooldown: Duration,
}

/// Where the keys of an identity provider are (a JWK Set, RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// In a file, which is read again once a second.
    File(PathBuf),
    /// At a URL.
    Url(String),
    /// At the URL that the issuer's metadata names (OpenID Connect Discovery 1.0, section 4).
    Discovery,
}

impl fmt::Debug for SigningOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningOptions").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningSecret").field("kid", &self.kid).finish_non_exhaustive()
    }
}
