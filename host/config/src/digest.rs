//! Digests of a configuration and of the settings of a plugin.
//!
//! Threat: whoever reads a published digest can try guesses of a secret. Policy: the digest of a configuration, which is
//! published, leaves secrets out. A [`PluginFingerprint`] covers secrets and is never shown.

use std::fmt;

use masque_grants::{Grants, Reuse};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::sections::database::Database;
use crate::sections::plugin_limits::PluginLimits;
use crate::sections::plugins::Plugin;
use crate::sections::redis::Redis;

/// Settings, grants and limits of a plugin as hashes, to find out whether they changed without keeping them. It covers
/// secrets, so it is never shown; `Debug` leaves its fields out.
#[derive(Clone, PartialEq, Eq)]
pub struct PluginFingerprint {
    /// The SHA-256 of the settings.
    pub settings: [u8; 32],
    /// The SHA-256 of the grants with the values of the credentials.
    pub grants: [u8; 32],
    /// The limits.
    pub limits: PluginLimits,
}

impl fmt::Debug for PluginFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginFingerprint").finish_non_exhaustive()
    }
}

impl Plugin {
    /// The fingerprint of the settings, grants and limits.
    pub fn fingerprint(&self) -> PluginFingerprint {
        let mut grants = Sha256::new_with_prefix(grants(self).to_string());
        for credential in &self.grants.credentials {
            grants.update(Sha256::digest(credential.value().as_bytes()));
        }
        PluginFingerprint {
            settings: Sha256::digest(self.settings_json()).into(),
            grants: grants.finalize().into(),
            limits: self.limits,
        }
    }
}

impl Config {
    /// The headers of the sections that differ in `later`, other than companions, plugins and credentials, and other than
    /// `[active_set]` and the level of `[log]`, which take effect at once.
    pub fn changed_sections(&self, later: &Self) -> Vec<&'static str> {
        let sections = |config: &Self| {
            [
                ("[server]", json!(config.server)),
                ("[tls]", json!(config.tls)),
                ("[admin]", json!(config.admin)),
                ("[cors]", json!(config.cors)),
                ("[auth]", json!(config.auth)),
                ("[stream]", json!(config.stream)),
                ("[turn]", json!(config.turn)),
                ("[jobs]", json!(config.jobs)),
                ("[limits]", json!(config.limits)),
                ("[drain]", json!(config.drain)),
                (
                    "[data]",
                    json!([config.data.folder.to_string_lossy(), config.data.compiled.to_string_lossy()]),
                ),
                ("[database]", config.database.as_ref().map_or(Value::Null, database)),
                ("[redis]", config.redis.server.as_ref().map_or(Value::Null, redis)),
                ("[erasure]", json!(config.erasure)),
                ("[retention]", json!(config.retention)),
                ("[records]", json!(config.records)),
                ("[log]", json!(config.log.format)),
                ("[sandbox]", json!(config.sandbox)),
            ]
        };
        let pairs = sections(self).into_iter().zip(sections(later));
        pairs.filter(|(before, after)| before != after).map(|((name, _), _)| name).collect()
    }

    /// `sha256:` and the hash of the effective configuration, without secrets and without the level of the log, which follows
    /// the file of each host. Two hosts with equal configurations have equal digests.
    pub fn digest(&self) -> String {
        let plugins: Value =
            self.plugins.iter().map(|(name, entry)| (name.to_string(), plugin(entry))).collect();
        let canonical = json!({
            "server": self.server,
            "tls": self.tls,
            "admin": self.admin,
            "cors": self.cors,
            "auth": self.auth,
            "stream": self.stream,
            "turn": self.turn,
            "jobs": self.jobs,
            "limits": self.limits,
            "drain": self.drain,
            "data": self.data.folder.to_string_lossy(),
            "database": self.database.as_ref().map(database),
            "redis": self.redis.server.as_ref().map(redis),
            "erasure": self.erasure,
            "retention": self.retention,
            "records": self.records,
            "log": self.log.format,
            "sandbox": self.sandbox,
            "revision": self.active_set.revision,
            "companions": self.companions,
            "plugins": plugins,
        });
        format!("sha256:{:x}", Sha256::digest(canonical.to_string()))
    }
}

/// The database without its URLs, which hold passwords.
fn database(database: &Database) -> Value {
    let Database {
        url: _,
        direct_url: _,
        password_file,
        max_connections,
        acquire_timeout,
        statement_timeout,
    } = database;
    json!([password_file, max_connections, acquire_timeout, statement_timeout])
}

/// Redis without its URL, which holds a password.
fn redis(redis: &Redis) -> Value {
    let Redis { url: _, password_file, timeout } = redis;
    json!([password_file, timeout])
}

fn plugin(plugin: &Plugin) -> Value {
    json!({
        "source": plugin.source.to_string(),
        "settings": plugin.settings,
        "limits": plugin.limits,
        "grants": grants(plugin),
    })
}

fn grants(plugin: &Plugin) -> Value {
    // The destructuring names every field, so that a new grant can't be forgotten here.
    let Grants { http, networks, credentials, state, state_shared, history, models, scratch, reuse } =
        &plugin.grants;
    let credentials = credentials.iter().map(|credential| {
        json!([credential.name(), credential.origin().to_string(), credential.header().as_str()])
    });
    json!({
        "http": http.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "networks": networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "credentials": credentials.collect::<Vec<_>>(),
        "state": state,
        "state_shared": state_shared,
        "history": history,
        "models": models,
        "scratch": scratch,
        "reuse": reuse.map(|reuse| match reuse {
            Reuse::Conversation => "conversation",
            Reuse::User => "user",
            Reuse::Anyone => "anyone",
        }),
    })
}
