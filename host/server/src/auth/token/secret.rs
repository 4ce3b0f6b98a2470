//! The secrets that the host's own tokens are signed with: several at a time, so that one can follow another while the
//! tokens of both are good.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use serde_json::Value;

use crate::config::{self, SigningKey, SigningKeys};

/// The type of access tokens (RFC 9068, section 2.1).
const TYPE: &str = "at+jwt";

pub(super) struct Secrets {
    keys: RwLock<Arc<[Key]>>,
    file: Option<PathBuf>,
    /// What the last look found.
    seen: RwLock<Option<Arc<[Key]>>>,
    /// Whether those that the host started with can be relied on: then no others are taken.
    strong: bool,
    /// What was said of the file last, so that it is said once.
    complaint: RwLock<Option<String>>,
}

/// One secret, ready for use.
#[derive(Clone)]
pub(super) struct Key {
    kid: Option<String>,
    bytes: Vec<u8>,
    pub(super) verifying: DecodingKey,
}

impl From<&SigningKey> for Key {
    fn from(secret: &SigningKey) -> Self {
        let bytes = secret.bytes();
        Self { kid: secret.kid.clone(), verifying: DecodingKey::from_secret(&bytes), bytes }
    }
}

impl Secrets {
    pub(super) fn new(secret: &SigningKeys) -> Self {
        Self {
            keys: RwLock::new(secret.keys.iter().map(Key::from).collect()),
            file: secret.file.clone(),
            seen: RwLock::default(),
            strong: secret.keys.iter().all(|key| key.weakness().is_none()),
            complaint: RwLock::default(),
        }
    }

    /// The keys that a token with this `kid` may be signed with: of one that has none, any.
    pub(super) fn verifying(&self, kid: Option<&str>) -> Vec<Key> {
        let keys = self.keys();
        let named = keys.iter().filter(|key| kid.is_none() || key.kid.as_deref() == kid);
        named.cloned().collect()
    }

    /// The token that says this.
    pub(super) fn sign(&self, claims: &Value) -> Option<String> {
        let keys = self.keys();
        let key = keys.first()?;
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(TYPE.to_owned());
        header.kid = key.kid.clone();
        // Claims of our own are always JSON.
        encode(&header, claims, &EncodingKey::from_secret(&key.bytes)).ok()
    }

    /// Reads the file again. It counts when two looks found the same, so that none is taken half written. One that can't be
    /// read changes nothing, nor does one that nobody should rely on, where what there is is better.
    pub(super) async fn look(&self) {
        let Some(file) = self.file.clone() else { return };
        let path = file.clone();
        // A task that panicked has been reported.
        let Ok(read) = tokio::task::spawn_blocking(move || config::read_signing_keys(&path)).await else {
            return;
        };
        let judged = read.and_then(|secrets| match secrets.iter().find_map(SigningKey::weakness) {
            Some(weakness) if self.strong => Err(format!("{}: {weakness}", file.display())),
            _ => Ok(secrets),
        });
        match judged {
            Ok(secrets) => {
                *self.complaint.write().unwrap_or_else(PoisonError::into_inner) = None;
                let found: Arc<[Key]> = secrets.iter().map(Key::from).collect();
                let last =
                    self.seen.write().unwrap_or_else(PoisonError::into_inner).replace(Arc::clone(&found));
                if !same(&self.keys(), &found) && last.is_some_and(|last| same(&last, &found)) {
                    tracing::info!(
                        keys = found.len(),
                        "the secrets that tokens are signed with have changed"
                    );
                    *self.keys.write().unwrap_or_else(PoisonError::into_inner) = found;
                }
            }
            Err(what) => {
                let mut said = self.complaint.write().unwrap_or_else(PoisonError::into_inner);
                if said.as_ref() != Some(&what) {
                    tracing::warn!("{what}; the secrets stay as they were");
                    *said = Some(what);
                }
            }
        }
    }

    fn keys(&self) -> Arc<[Key]> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn same(one: &[Key], other: &[Key]) -> bool {
    one.iter().map(Key::identity).eq(other.iter().map(Key::identity))
}

impl Key {
    fn identity(&self) -> (&Option<String>, &[u8]) {
        (&self.kid, &self.bytes)
    }
}
