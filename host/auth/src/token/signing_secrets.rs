//! The secrets that the host's own tokens are signed with. There may be several, so that a new one can replace an old
//! one while the tokens of both are valid.

use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use serde_json::Value;

use super::options::{SigningOptions, SigningSecret, SigningSecretSource};

/// The `typ` of access tokens (RFC 9068, section 2.1).
const TYPE: &str = "at+jwt";

/// The secrets in use, and where they are read again.
pub(super) struct SigningSecrets {
    keys: RwLock<Arc<[PreparedSecret]>>,
    source: Option<Arc<dyn SigningSecretSource>>,
    /// What the last read found.
    last_read: RwLock<Option<Arc<[PreparedSecret]>>>,
    /// Whether the secrets at the start were all strong. Then weak ones are not taken over.
    requires_strong: bool,
    /// The last complaint about the source that was logged, so that each is logged once.
    logged_complaint: RwLock<Option<String>>,
}

/// A secret, ready for use.
#[derive(Clone)]
pub(super) struct PreparedSecret {
    kid: Option<String>,
    bytes: Vec<u8>,
    pub(super) verifying: DecodingKey,
}

impl SigningSecrets {
    pub(super) fn new(options: SigningOptions) -> Self {
        let SigningOptions { secrets, source } = options;
        Self {
            requires_strong: secrets.iter().all(|secret| secret.weakness.is_none()),
            keys: RwLock::new(secrets.into_iter().map(PreparedSecret::from).collect()),
            source,
            last_read: RwLock::default(),
            logged_complaint: RwLock::default(),
        }
    }

    /// The keys that a token with this `kid` may be signed with. A token without `kid` may be signed with any.
    pub(super) fn verifying_keys(&self, kid: Option<&str>) -> Vec<PreparedSecret> {
        let keys = self.keys();
        let matching = keys.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        matching.cloned().collect()
    }

    /// Signs a token with these claims; `None` if there is no secret.
    pub(super) fn sign(&self, claims: &Value) -> Option<String> {
        let keys = self.keys();
        let key = keys.first()?;
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.to_owned());
        header.kid = key.kid.clone();
        // Claims that the host made itself can always be written as JSON.
        encode(&header, claims, &EncodingKey::from_secret(&key.bytes)).ok()
    }

    /// Reads the source again. New secrets are taken over when two reads in a row found them, so that a half-written
    /// file is not. A source that can't be read changes nothing, and neither does a weak secret if those at the start
    /// were strong.
    pub(super) async fn reload(&self) {
        let Some(source) = self.source.clone() else { return };
        let reader = Arc::clone(&source);
        // A panic in the task has been reported by its hook; the next reload tries again.
        let Ok(read) = tokio::task::spawn_blocking(move || reader.read()).await else { return };
        let judged =
            read.and_then(|secrets| match secrets.iter().find_map(|secret| secret.weakness.as_ref()) {
                Some(weakness) if self.requires_strong => Err(format!("{source}: {weakness}")),
                _ => Ok(secrets),
            });
        match judged {
            Ok(secrets) => {
                *self.logged_complaint.write().unwrap_or_else(PoisonError::into_inner) = None;
                let found: Arc<[PreparedSecret]> = secrets.into_iter().map(PreparedSecret::from).collect();
                let last = self
                    .last_read
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .replace(Arc::clone(&found));
                if !are_same(&self.keys(), &found) && last.is_some_and(|last| are_same(&last, &found)) {
                    tracing::info!(
                        keys = found.len(),
                        "the secrets that tokens are signed with have changed"
                    );
                    *self.keys.write().unwrap_or_else(PoisonError::into_inner) = found;
                }
            }
            Err(complaint) => {
                let mut logged = self.logged_complaint.write().unwrap_or_else(PoisonError::into_inner);
                if logged.as_ref() != Some(&complaint) {
                    tracing::warn!("{complaint}; the secrets stay as they were");
                    *logged = Some(complaint);
                }
            }
        }
    }

    fn keys(&self) -> Arc<[PreparedSecret]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<SigningSecret> for PreparedSecret {
    fn from(secret: SigningSecret) -> Self {
        let SigningSecret { kid, bytes, weakness: _ } = secret;
        Self { kid, verifying: DecodingKey::from_secret(&bytes), bytes }
    }
}

fn are_same(one: &[PreparedSecret], other: &[PreparedSecret]) -> bool {
    let parts = |key: &PreparedSecret| (key.kid.clone(), key.bytes.clone());
    one.iter().map(parts).eq(other.iter().map(parts))
}
