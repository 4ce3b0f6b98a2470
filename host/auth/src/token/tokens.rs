//! Mints the host's own tokens, and verifies those and the tokens of identity providers.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::FutureExt;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::compact::CompactToken;
use super::options::TokenOptions;
use super::provider::{KeyLookup, Provider, ProviderError};
use super::rejection::TokenRejection;
use super::rules::TokenRules;
use super::signing_secrets::SigningSecrets;
use super::types::{MintedToken, NoSigningSecret, TokenRequest, VerifiedToken};

#[cfg(test)]
mod tests;

/// How often files of keys and secrets are read again.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// How much of an issuer's name is repeated in the log, in characters.
const MAX_LOGGED_ISSUER_CHARS: usize = 255;
/// How many keys are tried for a token that has no `kid`. More would let forged tokens cost the host more work.
const MAX_KEYS_TRIED: usize = 4;

/// Mints and verifies tokens. There is one for a host.
pub struct Tokens {
    own: OwnIssuer,
    /// By `iss`.
    providers: HashMap<String, Arc<Provider>>,
}

/// The host as an issuer.
struct OwnIssuer {
    rules: TokenRules,
    secrets: Option<SigningSecrets>,
    default_lifetime: Duration,
    max_lifetime: Duration,
}

/// Why tokens can't be used with these options.
#[derive(Debug, thiserror::Error)]
pub enum OpenTokensError {
    /// A file of an identity provider's keys can't be read, or holds no JWK Set; a sentence that names it.
    #[error("{0}")]
    KeyFile(String),
    /// The machine has no certificates that TLS could trust.
    #[error(transparent)]
    Tls(rustls::Error),
}

impl Tokens {
    /// Reads the keys that are in files. Fetches nothing: that begins with [`Tokens::follow`], or with the first token.
    ///
    /// # Errors
    /// See [`OpenTokensError`].
    pub fn open(options: TokenOptions) -> Result<Arc<Self>, OpenTokensError> {
        let own_rules = TokenRules::own(&options);
        let TokenOptions { leeway, default_lifetime, max_lifetime, signing, issuers, .. } = options;
        let secrets = signing.map(SigningSecrets::new);
        let own = OwnIssuer { rules: own_rules, secrets, default_lifetime, max_lifetime };
        let mut providers = HashMap::new();
        for issuer in issuers {
            let provider = Provider::new(&issuer, TokenRules::of(&issuer, leeway))?;
            providers.insert(issuer.issuer, Arc::new(provider));
        }
        Ok(Arc::new(Self { own, providers }))
    }

    /// Keeps keys and secrets current until it is stopped: reads their files every second, and fetches the keys of
    /// identity providers at their intervals.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let files = async {
            let mut ticks = tokio::time::interval(RELOAD_INTERVAL);
            loop {
                ticks.tick().await;
                let reload = async {
                    if let Some(secrets) = &self.own.secrets {
                        secrets.reload().await;
                    }
                    for provider in self.providers.values() {
                        provider.reload_file().await;
                    }
                };
                // A panic at what a file holds is that round's alone, and its hook has reported it.
                let _panicked = AssertUnwindSafe(reload).catch_unwind().await;
            }
        };
        let fetches = self.providers.values().map(|provider| provider.keep_fetching());
        let servers = futures::future::join_all(fetches);
        // Neither of the two returns, so only `stop` ends this.
        stop.run_until_cancelled(futures::future::join(files, servers)).await;
    }

    /// How long a minted token is valid if the request does not say.
    pub fn default_lifetime(&self) -> Duration {
        self.own.default_lifetime
    }

    /// The longest lifetime that can be requested.
    pub fn max_lifetime(&self) -> Duration {
        self.own.max_lifetime
    }

    /// `iss` of the host's own tokens.
    pub fn issuer(&self) -> &str {
        &self.own.rules.issuer
    }

    /// Whether tokens of this issuer can be valid here.
    pub fn trusts(&self, issuer: &str) -> bool {
        issuer == self.issuer() || self.providers.contains_key(issuer)
    }

    /// Checks signature and claims of a token. May wait up to 5 s for the keys of its issuer.
    ///
    /// # Errors
    /// Why the token proves nothing, or [`TokenRejection::KeysUnavailable`] if it can't be judged.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, TokenRejection> {
        self.verify_at(token, now()).await
    }

    async fn verify_at(&self, token: &str, now: i64) -> Result<VerifiedToken, TokenRejection> {
        let token = CompactToken::parse(token)?;
        let issuer = token.payload.get("iss").and_then(Value::as_str).ok_or(TokenRejection::UnknownIssuer)?;
        if let Some(secrets) = self.own.secrets.as_ref().filter(|_| issuer == self.own.rules.issuer) {
            self.own.rules.check_header(&token, &[Algorithm::HS256])?;
            let keys = secrets.verifying_keys(token.kid.as_deref());
            check_signature(&token, Algorithm::HS256, keys.iter().map(|key| &key.verifying))?;
            return self.own.rules.check_claims(token, now, true);
        }
        let Some(provider) = self.providers.get(issuer) else {
            self.log_unknown_issuer(issuer);
            return Err(TokenRejection::UnknownIssuer);
        };
        let algorithm = provider.rules.check_header(&token, &provider.algorithms)?;
        match provider.find_keys(token.kid.as_deref(), algorithm).await {
            KeyLookup::Found(keys) => {
                check_signature(&token, algorithm, keys.iter().map(|key| &key.verifying))?;
            }
            KeyLookup::Unknown => return Err(TokenRejection::UnknownKey),
            KeyLookup::Unavailable => return Err(TokenRejection::KeysUnavailable),
        }
        provider.rules.check_claims(token, now, false)
    }

    /// Logs the issuer that a token names next to those that are trusted: the usual difference is a slash at the end, which
    /// nobody finds without both. Nothing of the token is proven, so the text is cut and escaped.
    fn log_unknown_issuer(&self, named: &str) {
        let named: String = named.chars().take(MAX_LOGGED_ISSUER_CHARS).collect();
        let own = self.own.secrets.as_ref().map(|_| self.own.rules.issuer.as_str());
        let mut trusted: Vec<&str> =
            own.into_iter().chain(self.providers.keys().map(String::as_str)).collect();
        trusted.sort_unstable();
        tracing::warn!("a token names the issuer {named:?}, and the host trusts {trusted:?}");
    }

    /// Mints a token, signed with the first of the host's secrets.
    ///
    /// # Errors
    /// The host has no secret.
    pub fn mint(&self, request: &TokenRequest) -> Result<MintedToken, NoSigningSecret> {
        let secrets = self.own.secrets.as_ref().ok_or(NoSigningSecret)?;
        let jti = Uuid::now_v7().to_string();
        let claims = self.own.rules.write_claims(request, &jti, now());
        let token = secrets.sign(&claims).ok_or(NoSigningSecret)?;
        Ok(MintedToken { token, jti, expires_in: request.lifetime })
    }
}

/// Checks that one of these keys has signed the token. `algorithm` is one that the issuer may use, and each key is for
/// it.
fn check_signature<'k>(
    token: &CompactToken<'_>,
    algorithm: Algorithm,
    keys: impl Iterator<Item = &'k DecodingKey>,
) -> Result<(), TokenRejection> {
    let mut tried = 0;
    for key in keys.take(MAX_KEYS_TRIED) {
        tried += 1;
        // An error means that the signature does not have the form of one. To the sender that is a wrong signature.
        if crypto::verify(token.signature, token.message.as_bytes(), key, algorithm).unwrap_or(false) {
            return Ok(());
        }
    }
    Err(if tried == 0 { TokenRejection::UnknownKey } else { TokenRejection::Signature })
}

/// Seconds since the Unix epoch.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

impl From<ProviderError> for OpenTokensError {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::KeyFile(what) => Self::KeyFile(what),
            ProviderError::Tls(error) => Self::Tls(error),
        }
    }
}
