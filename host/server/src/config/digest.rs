//! One line that is equal where two hosts run with the same configuration. Secrets are no part of it: whoever reads a
//! status page could try out guesses.

use std::fmt;

use masque_runtime::{Grants, Reuse};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::types::{Config, Limits, Plugin};

/// What a plugin runs under beside its component, told apart without being kept. It covers secrets, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) settings: [u8; 32],
    pub(crate) grants: [u8; 32],
    pub(crate) limits: Limits,
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").finish_non_exhaustive()
    }
}

impl Plugin {
    pub(crate) fn terms(&self) -> Terms {
        let mut grants = Sha256::new_with_prefix(grants(self).to_string());
        for credential in &self.grants.credentials {
            grants.update(Sha256::digest(credential.secret().reveal()));
        }
        Terms {
            settings: Sha256::digest(self.settings_json()).into(),
            grants: grants.finalize().into(),
            limits: self.limits,
        }
    }
}

impl Config {
    /// The sections in which `later` differs beside companions, plugins and credentials.
    pub(crate) fn other_sections(&self, later: &Self) -> Vec<&'static str> {
        let sections = |config: &Self| {
            [
                ("[server]", json!(config.server)),
                ("[tls]", json!(config.tls)),
                ("[admin]", json!(config.admin)),
                ("[cors]", json!(config.cors)),
                ("[auth]", json!(config.auth)),
                ("[stream]", json!(config.stream)),
                ("[turn]", json!(config.turn)),
                ("[limits]", json!(config.limits)),
                ("[drain]", json!(config.drain)),
                (
                    "[data]",
                    json!([config.data.folder.to_string_lossy(), config.data.compiled.to_string_lossy()]),
                ),
                ("[log]", json!(config.log)),
                ("[sandbox]", json!(config.sandbox)),
            ]
        };
        let pairs = sections(self).into_iter().zip(sections(later));
        pairs.filter(|(before, after)| before != after).map(|((name, _), _)| name).collect()
    }

    /// `sha256:` and the hash of the effective configuration in a canonical form.
    pub(crate) fn digest(&self) -> String {
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
            "limits": self.limits,
            "drain": self.drain,
            "data": self.data.folder.to_string_lossy(),
            "log": self.log,
            "sandbox": self.sandbox,
            "companions": self.companions,
            "plugins": plugins,
        });
        format!("sha256:{:x}", Sha256::digest(canonical.to_string()))
    }
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
    // By name, so that no grant can be added and left out here.
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
