//! `REDIS_URL`, `REDIS_ENABLED` and `[redis]`: the memory that several hosts share. Without it, every host has its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use masque_grants::Secret;

use crate::environment::{Environment, REDIS_URL, is_redis_off};
use crate::secret_text::trimmed;
use crate::section::Section;
use crate::units::{MILLISECOND, SECOND};

/// A Redis server, a group of them behind sentinels, or a cluster.
#[derive(Clone, Debug)]
pub struct Redis {
    /// `REDIS_URL`, without the white space around it.
    pub url: Secret,
    /// A file with the password. It takes the place of a password in the URL.
    pub password_file: Option<PathBuf>,
    /// The longest time for one command. After it, the host goes on alone.
    pub timeout: Duration,
}

/// What the operator wants of Redis.
#[derive(Clone, Debug, Default)]
pub struct RedisChoice {
    /// The server to use.
    pub server: Option<Redis>,
    /// Whether `REDIS_URL` is set and `REDIS_ENABLED` says that it does not count.
    pub is_url_ignored: bool,
}

/// Reads the variables and the section.
pub(crate) fn read(mut section: Section<'_, '_>, environment: &Environment, base: &Path) -> RedisChoice {
    let password_file =
        section.path("password_file", "\"/run/secrets/redis\"", base).map(|found| found.value);
    let timeout = section.duration("timeout", 250 * MILLISECOND, 10 * MILLISECOND..=10 * SECOND);
    section.finish();
    let url = environment.get(REDIS_URL);
    if is_redis_off(environment) {
        return RedisChoice { server: None, is_url_ignored: url.is_some() };
    }
    let server = url.map(|url| Redis { url: Secret::from(trimmed(url).to_owned()), password_file, timeout });
    RedisChoice { server, is_url_ignored: false }
}
