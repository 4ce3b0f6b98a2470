//! The keys of one identity provider: read from a file or fetched from a server, kept in memory, and read again.
//!
//! The threat is a flood of tokens that name made-up keys, each of which would cause a fetch. The policy: an unknown
//! key causes a fetch, because the provider may have begun to sign with a new one; all tokens that wait share one
//! fetch; between two fetches of this kind lies the cooldown, during which an unknown key is refused at once. So a
//! flood costs the provider one request.
//!
//! Accepted: within a cooldown that a flood has started, tokens with a new key are refused.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::FutureExt;
use jsonwebtoken::Algorithm;
use masque_files::{ReadError, read_trusted};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::algorithms::parse_algorithm;
use super::jwks::{self, KeySet, PublicKey, Reason, UnusableKey};
use super::jwks_fetcher::JwksFetcher;
use super::options::{IssuerOptions, JwksSource};
use super::rules::TokenRules;

/// How long a request waits for keys that are being fetched. A fetch has a shorter limit of its own; this one is for
/// requests that wait behind another one's fetch.
const FETCH_WAIT: Duration = Duration::from_secs(5);
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// One identity provider: its rules and its keys.
pub(super) struct Provider {
    pub(super) rules: TokenRules,
    pub(super) algorithms: Vec<Algorithm>,
    /// `None` until they are read for the first time.
    keys: RwLock<Option<Arc<[PublicKey]>>>,
    /// The keys of the set that can't be used, as they were logged last, so that each is logged once.
    unusable: RwLock<Vec<UnusableKey>>,
    source: KeySource,
}

enum KeySource {
    File {
        path: PathBuf,
        /// What was read last: a change is recognised, and an error is logged once.
        last: Mutex<Result<Vec<u8>, String>>,
    },
    Server(Box<KeyServer>),
}

struct KeyServer {
    fetcher: JwksFetcher,
    refresh: Duration,
    cooldown: Duration,
    /// Locked during a fetch, so that there is one at a time.
    last: Arc<Mutex<LastFetch>>,
}

#[derive(Default)]
struct LastFetch {
    started: Option<Instant>,
    /// The last complaint that was logged, so that each is logged once.
    logged_complaint: Option<String>,
}

/// What is known of the key that a token names.
pub(super) enum KeyLookup {
    /// It is one of these.
    Found(Vec<PublicKey>),
    /// The issuer has no such key.
    Unknown,
    /// The issuer's keys have never been read.
    Unavailable,
}

/// Why a provider can't be set up.
pub(super) enum ProviderError {
    /// The file of keys can't be read or holds no JWK Set; a sentence that names it.
    KeyFile(String),
    /// TLS can't be set up.
    Tls(rustls::Error),
}

impl Provider {
    /// Reads the keys if they are in a file; fetches nothing.
    pub(super) fn new(issuer: &IssuerOptions, rules: TokenRules) -> Result<Self, ProviderError> {
        let algorithms: Vec<Algorithm> =
            issuer.algorithms.iter().filter_map(|name| parse_algorithm(name)).collect();
        let (set, source) = match &issuer.source {
            JwksSource::File(path) => {
                let bytes = read_file(path).map_err(ProviderError::KeyFile)?;
                let set = jwks::parse(&bytes, &algorithms)
                    .map_err(|what| ProviderError::KeyFile(format!("{} is {what}", path.display())))?;
                (Some(set), KeySource::File { path: path.clone(), last: Mutex::new(Ok(bytes)) })
            }
            JwksSource::Url(_) | JwksSource::Discovery => {
                let url = match &issuer.source {
                    JwksSource::Url(url) => Some(url.clone()),
                    JwksSource::Discovery | JwksSource::File(_) => None,
                };
                let fetcher = JwksFetcher::new(issuer.issuer.clone(), url, issuer.allow_http)
                    .map_err(ProviderError::Tls)?;
                let server = KeyServer {
                    fetcher,
                    refresh: issuer.refresh,
                    cooldown: issuer.cooldown,
                    last: Arc::default(),
                };
                (None, KeySource::Server(Box::new(server)))
            }
        };
        let (keys, unusable) = (RwLock::default(), RwLock::default());
        let provider = Self { rules, algorithms, keys, unusable, source };
        if let Some(set) = set {
            provider.replace_keys(set);
        }
        Ok(provider)
    }

    /// The keys that a token with this `kid` and algorithm may be signed with.
    pub(super) async fn find_keys(self: &Arc<Self>, kid: Option<&str>, algorithm: Algorithm) -> KeyLookup {
        if let KeyLookup::Found(keys) = self.known_keys(kid, algorithm) {
            return KeyLookup::Found(keys);
        }
        if let KeySource::Server(server) = &self.source {
            let fetch = async {
                let mut last = Arc::clone(&server.last).lock_owned().await;
                // Another request may have fetched the key while this one waited for the lock.
                if matches!(self.known_keys(kid, algorithm), KeyLookup::Found(_)) {
                    return;
                }
                if last.started.is_none_or(|started| started.elapsed() >= server.cooldown) {
                    let provider = Arc::clone(self);
                    // The fetch runs in a task of its own: a client that disconnects cancels its request, and must not
                    // cancel the fetch that others wait for. A panic in the task has been reported by its hook.
                    let _joined = tokio::spawn(async move { provider.fetch(&mut last).await }).await;
                }
            };
            // Whether it came in time shows in the keys.
            let _in_time = tokio::time::timeout(FETCH_WAIT, fetch).await;
        }
        self.known_keys(kid, algorithm)
    }

    fn known_keys(&self, kid: Option<&str>, algorithm: Algorithm) -> KeyLookup {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let Some(keys) = keys.as_ref() else { return KeyLookup::Unavailable };
        let found: Vec<_> = keys.iter().filter(|key| key.fits(kid, algorithm)).cloned().collect();
        if found.is_empty() { KeyLookup::Unknown } else { KeyLookup::Found(found) }
    }

    /// Fetches the keys from the server at the configured interval, and never returns. Waits forever if they are in a
    /// file.
    pub(super) async fn keep_fetching(&self) {
        let KeySource::Server(server) = &self.source else { return std::future::pending().await };
        loop {
            // A panic at what the server answered is that fetch's alone, and its hook has reported it.
            let fetch = async { self.fetch(&mut *server.last.lock().await).await };
            let _panicked = AssertUnwindSafe(fetch).catch_unwind().await;
            tokio::time::sleep(server.refresh).await;
        }
    }

    /// Fetches the keys once. If that fails, they stay as they were.
    async fn fetch(&self, last: &mut LastFetch) {
        let KeySource::Server(server) = &self.source else { return };
        last.started = Some(Instant::now());
        let fetched = match server.fetcher.fetch().await {
            Ok(body) => jwks::parse(&body, &self.algorithms),
            Err(what) => Err(what),
        };
        match fetched {
            Ok(set) => {
                last.logged_complaint = None;
                self.replace_keys(set);
            }
            Err(what) => {
                if last.logged_complaint.as_ref() != Some(&what) {
                    let issuer = &self.rules.issuer;
                    tracing::warn!(issuer, "keys can't be fetched, and stay as they were: {what}");
                    last.logged_complaint = Some(what);
                }
            }
        }
    }

    /// Reads the file again, if the keys are in one. If that fails, the keys stay as they were.
    pub(super) async fn reload_file(&self) {
        let KeySource::File { path, last } = &self.source else { return };
        let (mut last, file) = (last.lock().await, path.clone());
        // A panic in the task has been reported by its hook; the next reload tries again.
        let Ok(found) = tokio::task::spawn_blocking(move || read_file(&file)).await else { return };
        if *last == found {
            return;
        }
        let parsed = found.clone().and_then(|bytes| {
            jwks::parse(&bytes, &self.algorithms).map_err(|what| format!("{} is {what}", path.display()))
        });
        match parsed {
            Ok(set) => self.replace_keys(set),
            Err(what) => tracing::warn!("{what}; the keys stay as they were"),
        }
        *last = found;
    }

    fn replace_keys(&self, set: KeySet) {
        let KeySet { usable, unusable } = set;
        let issuer = &self.rules.issuer;
        let mut logged = self.unusable.write().unwrap_or_else(PoisonError::into_inner);
        if *logged != unusable {
            for UnusableKey { name, reason } in &unusable {
                match reason {
                    Reason::Defect(why) => {
                        tracing::warn!(issuer, "a published key is not used: the key {name} {why}");
                    }
                    Reason::OtherUse(why) => {
                        tracing::info!(issuer, "a published key is not used: the key {name} {why}");
                    }
                }
            }
            *logged = unusable;
        }
        drop(logged);
        if usable.is_empty() {
            tracing::warn!(issuer, "the issuer publishes no key that its tokens may be signed with here");
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(usable.into());
    }
}

/// Whoever may write the file can make tokens for every user, so it is read as a secret is.
fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let name = path.display();
    read_trusted(path, MAX_FILE_BYTES).map_err(|error| match error {
        ReadError::Missing => format!("there is no file {name}"),
        ReadError::TooLarge => format!("{name} is larger than 256 KiB"),
        ReadError::Other(error) => format!("{name} can't be read: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_of_keys_that_every_user_may_write_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        std::fs::write(&file, "{}").unwrap();
        for (mode, is_read) in [(0o444, true), (0o640, true), (0o644, true), (0o666, false), (0o602, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = read_file(&file);
            assert_eq!(read.is_ok(), is_read, "{mode:o}: {read:?}");
            assert!(read.err().is_none_or(|error| error.contains("chmod go-w")), "{mode:o}");
        }
    }
}
