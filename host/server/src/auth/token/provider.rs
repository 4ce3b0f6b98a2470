//! An identity provider's keys: read from a file or fetched from a server, kept, and read again.
//!
//! A token that names an unknown key has the keys fetched, since the provider may have begun to sign with a new one. All
//! tokens that wait share one fetch, and between two fetches of this kind lies the cooldown: until it is over an unknown
//! key is simply unknown, so that a flood of made-up names costs the provider one request.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::Algorithm;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::claims::Rules;
use super::jwks::{self, Key};
use crate::config::{Issuer, JwkSource};
use fetch::Fetcher;

mod fetch;

/// How long a request waits for keys that are being fetched.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of a file.
const MOST_BYTES: u64 = 256 * 1024;

pub(super) struct Provider {
    pub(super) rules: Rules,
    pub(super) algorithms: Vec<Algorithm>,
    /// `None` before the first reading.
    keys: RwLock<Option<Arc<[Key]>>>,
    source: Source,
}

enum Source {
    File {
        path: PathBuf,
        /// What was read last, so that a change is seen, and said once.
        last: Mutex<Result<Vec<u8>, String>>,
    },
    Server(Box<Server>),
}

struct Server {
    fetcher: Fetcher,
    refresh: Duration,
    cooldown: Duration,
    /// One fetch at a time.
    last: Arc<Mutex<Last>>,
}

/// The last fetch.
#[derive(Default)]
struct Last {
    begun: Option<Instant>,
    complaint: Option<String>,
}

/// What a token's key came to.
pub(super) enum Keys {
    /// It is one of these.
    Found(Vec<Key>),
    /// The issuer has no such key.
    Unknown,
    /// Nobody knows what keys the issuer has.
    Unavailable,
}

impl Provider {
    pub(super) fn new(issuer: &Issuer, rules: Rules) -> anyhow::Result<Self> {
        // The configuration knows no other names.
        let algorithms: Vec<Algorithm> =
            issuer.algorithms.iter().filter_map(|name| name.parse().ok()).collect();
        let (keys, source) = match &issuer.source {
            JwkSource::File(path) => {
                let bytes = read(path).map_err(anyhow::Error::msg)?;
                let keys = jwks::parse(&bytes, &algorithms)
                    .map_err(|what| anyhow::anyhow!("{} is {what}", path.display()))?;
                (Some(keys.into()), Source::File { path: path.clone(), last: Mutex::new(Ok(bytes)) })
            }
            JwkSource::Url(_) | JwkSource::Discovery => {
                let server = Server {
                    fetcher: Fetcher::new(issuer)?,
                    refresh: issuer.refresh,
                    cooldown: issuer.cooldown,
                    last: Arc::default(),
                };
                (None, Source::Server(Box::new(server)))
            }
        };
        Ok(Self { rules, algorithms, keys: RwLock::new(keys), source })
    }

    /// The keys that a token with this `kid` and algorithm may be signed with.
    pub(super) async fn keys(self: &Arc<Self>, kid: Option<&str>, algorithm: Algorithm) -> Keys {
        if let Keys::Found(keys) = self.known(kid, algorithm) {
            return Keys::Found(keys);
        }
        if let Source::Server(server) = &self.source {
            let looked = async {
                let mut last = Arc::clone(&server.last).lock_owned().await;
                // Someone may have fetched them meanwhile.
                if matches!(self.known(kid, algorithm), Keys::Found(_)) {
                    return;
                }
                if last.begun.is_none_or(|begun| begun.elapsed() >= server.cooldown) {
                    let provider = Arc::clone(self);
                    // In a task of its own: whoever asked may leave at any moment, and must not take the answer along that
                    // others wait for. A panic has been reported.
                    let _ended = tokio::spawn(async move { provider.fetch(&mut last).await }).await;
                }
            };
            // The fetch has a limit of its own; this one is for those who wait behind it.
            let _in_time = tokio::time::timeout(PATIENCE, looked).await;
        }
        self.known(kid, algorithm)
    }

    fn known(&self, kid: Option<&str>, algorithm: Algorithm) -> Keys {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let Some(keys) = keys.as_ref() else { return Keys::Unavailable };
        let found: Vec<_> = keys.iter().filter(|key| key.fits(kid, algorithm)).cloned().collect();
        if found.is_empty() { Keys::Unknown } else { Keys::Found(found) }
    }

    /// Fetches the keys again and again, where there is a server. Does not end by itself.
    pub(super) async fn refresh(&self) {
        let Source::Server(server) = &self.source else { return std::future::pending().await };
        loop {
            self.fetch(&mut *server.last.lock().await).await;
            tokio::time::sleep(server.refresh).await;
        }
    }

    /// Where that fails the keys stay as they were.
    async fn fetch(&self, last: &mut Last) {
        let Source::Server(server) = &self.source else { return };
        last.begun = Some(Instant::now());
        let fetched = match server.fetcher.fetch().await {
            Ok(body) => jwks::parse(&body, &self.algorithms),
            Err(what) => Err(what),
        };
        match fetched {
            Ok(keys) => {
                last.complaint = None;
                self.keep(keys);
            }
            Err(what) => {
                if last.complaint.as_ref() != Some(&what) {
                    let issuer = &self.rules.issuer;
                    tracing::warn!(issuer, "keys can't be fetched, and stay as they were: {what}");
                    last.complaint = Some(what);
                }
            }
        }
    }

    /// Reads the file again, where there is one. A file that can't be read changes nothing.
    pub(super) async fn look(&self) {
        let Source::File { path, last } = &self.source else { return };
        let (mut last, file) = (last.lock().await, path.clone());
        // A task that panicked has been reported.
        let Ok(found) = tokio::task::spawn_blocking(move || read(&file)).await else { return };
        if *last == found {
            return;
        }
        let parsed = found.clone().and_then(|bytes| {
            jwks::parse(&bytes, &self.algorithms).map_err(|what| format!("{} is {what}", path.display()))
        });
        match parsed {
            Ok(keys) => self.keep(keys),
            Err(what) => tracing::warn!("{what}; the keys stay as they were"),
        }
        *last = found;
    }

    fn keep(&self, keys: Vec<Key>) {
        if keys.is_empty() {
            tracing::warn!(
                issuer = self.rules.issuer,
                "the issuer publishes no key that its tokens may be signed with here"
            );
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys.into());
    }
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let wrong = |error: std::io::Error| format!("{} can't be read: {error}", path.display());
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
        .map_err(wrong)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(format!("{} is larger than 256 KiB", path.display()));
    }
    Ok(bytes)
}
