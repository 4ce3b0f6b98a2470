//! Tokens: JSON Web Tokens (RFC 7519) as access tokens (RFC 9068), held to the best current practice (RFC 8725).
//!
//! `compact` takes a token apart, `claims` judges what it says, and the keys come from `secret` (the host's own) or from
//! `provider` (an identity provider's). A token names its issuer, and that chooses the keys, the algorithms and the
//! rules; nothing else in it chooses anything (RFC 8725, sections 3.1 and 3.8 to 3.10).

mod claims;
mod compact;
mod jwks;
mod provider;
mod refused;
mod secret;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config;
use claims::Rules;
pub(crate) use claims::is_subject;
use compact::Compact;
use provider::{Keys, Provider};
pub(crate) use refused::Refused;
use secret::Secrets;

/// How often files of keys are looked at.
const FOLLOW: Duration = Duration::from_secs(1);
/// Keys that are tried for a token that does not say which; more would be work for whoever sends forgeries.
const TRIED: usize = 4;

/// Makes tokens, and judges those that come back. One for a host.
pub(crate) struct Tokens {
    own: Own,
    providers: HashMap<String, Arc<Provider>>,
}

/// The host as an issuer.
struct Own {
    rules: Rules,
    secrets: Option<Secrets>,
    lifetime: Duration,
    longest: Duration,
}

/// A token that is good at this moment, revocation aside.
#[derive(Clone, Debug)]
pub(crate) struct Verified {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) tenant: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) jti: Option<String>,
    pub(crate) client_id: Option<String>,
    /// Seconds since the Unix epoch.
    pub(crate) issued_at: Option<i64>,
    /// Whether it is signed with the host's own secret.
    pub(crate) own: bool,
    pub(crate) claims: Map<String, Value>,
}

/// A token to make.
pub(crate) struct Wish {
    pub(crate) subject: String,
    pub(crate) tenant: String,
    pub(crate) scopes: Vec<String>,
    /// The API key that it is made with.
    pub(crate) client_id: Option<String>,
    pub(crate) lifetime: Duration,
}

/// A token that was made.
pub(crate) struct Minted {
    pub(crate) token: String,
    pub(crate) jti: String,
    pub(crate) expires_in: Duration,
}

/// The host has no secret to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no secret to sign tokens with")]
pub(crate) struct NoSecret;

impl Tokens {
    /// Reads the files of keys; fetches nothing yet.
    ///
    /// # Errors
    /// A file of an identity provider's keys can't be read, or the machine has no certificates to trust.
    pub(crate) fn new(auth: &config::Auth) -> anyhow::Result<Arc<Self>> {
        let own = Own {
            rules: Rules::own(auth),
            secrets: auth.secret.as_ref().map(Secrets::new),
            lifetime: auth.token_lifetime,
            longest: auth.max_token_lifetime,
        };
        let providers = auth.issuers.values().map(|issuer| {
            Ok((issuer.issuer.clone(), Arc::new(Provider::new(issuer, Rules::of(issuer, auth.leeway))?)))
        });
        Ok(Arc::new(Self { own, providers: providers.collect::<anyhow::Result<_>>()? }))
    }

    /// Keeps the keys as their files and their servers have them.
    pub(crate) async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let files = async {
            let mut ticks = tokio::time::interval(FOLLOW);
            loop {
                ticks.tick().await;
                if let Some(secrets) = &self.own.secrets {
                    secrets.look().await;
                }
                for provider in self.providers.values() {
                    provider.look().await;
                }
            }
        };
        let servers = futures::future::join_all(self.providers.values().map(|provider| provider.refresh()));
        // Neither ends by itself.
        stop.run_until_cancelled(futures::future::join(files, servers)).await;
    }

    /// How long a token lives: where nothing is asked for, and at most.
    pub(crate) fn lifetimes(&self) -> (Duration, Duration) {
        (self.own.lifetime, self.own.longest)
    }

    /// The issuer of the host's own tokens.
    pub(crate) fn issuer(&self) -> &str {
        &self.own.rules.issuer
    }

    /// Whether tokens of this issuer can count here.
    pub(crate) fn knows(&self, issuer: &str) -> bool {
        issuer == self.issuer() || self.providers.contains_key(issuer)
    }

    /// Judges a token.
    ///
    /// # Errors
    /// Why it proves nothing, or [`Refused::KeysUnavailable`] where that can't be said.
    pub(crate) async fn verify(&self, token: &str) -> Result<Verified, Refused> {
        self.verify_at(token, now()).await
    }

    async fn verify_at(&self, token: &str, now: i64) -> Result<Verified, Refused> {
        let token = Compact::parse(token)?;
        let issuer = token.payload.get("iss").and_then(Value::as_str).ok_or(Refused::UnknownIssuer)?;
        if issuer == self.own.rules.issuer {
            let secrets = self.own.secrets.as_ref().ok_or(Refused::UnknownIssuer)?;
            self.own.rules.admit(&token, &[Algorithm::HS256])?;
            let keys = secrets.verifying(token.kid.as_deref());
            signed(&token, Algorithm::HS256, keys.iter().map(|key| &key.verifying))?;
            return self.own.rules.judge(token, now, true);
        }
        let provider = self.providers.get(issuer).ok_or(Refused::UnknownIssuer)?;
        let algorithm = provider.rules.admit(&token, &provider.algorithms)?;
        match provider.keys(token.kid.as_deref(), algorithm).await {
            Keys::Found(keys) => signed(&token, algorithm, keys.iter().map(|key| &key.verifying))?,
            Keys::Unknown => return Err(Refused::UnknownKey),
            Keys::Unavailable => return Err(Refused::KeysUnavailable),
        }
        provider.rules.judge(token, now, false)
    }

    /// Makes a token, signed with the first of the host's secrets.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn mint(&self, wish: &Wish) -> Result<Minted, NoSecret> {
        let secrets = self.own.secrets.as_ref().ok_or(NoSecret)?;
        let jti = Uuid::now_v7().to_string();
        let claims = self.own.rules.claims(wish, &jti, now());
        let token = secrets.sign(&claims).ok_or(NoSecret)?;
        Ok(Minted { token, jti, expires_in: wish.lifetime })
    }
}

/// Whether one of these keys has signed the token. `algorithm` is what the configuration allows the issuer, and the keys
/// are of its kind.
fn signed<'k>(
    token: &Compact<'_>,
    algorithm: Algorithm,
    keys: impl Iterator<Item = &'k DecodingKey>,
) -> Result<(), Refused> {
    let mut tried = 0;
    for key in keys.take(TRIED) {
        tried += 1;
        // An error is a signature that has no form; to the sender it is as wrong as another.
        if crypto::verify(token.signature, token.message.as_bytes(), key, algorithm).unwrap_or(false) {
            return Ok(());
        }
    }
    Err(if tried == 0 { Refused::UnknownKey } else { Refused::Signature })
}

/// Seconds since the Unix epoch.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
