//! One line that is equal where two hosts run with the same configuration. Secrets are no part of it: whoever reads a
//! status page could try out guesses.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::types::{Config, Plugin};

impl Config {
    /// `sha256:` and the hash of the effective configuration in a canonical form.
    pub(crate) fn digest(&self) -> String {
        let plugins: Value =
            self.plugins.iter().map(|(name, entry)| (name.to_string(), plugin(entry))).collect();
        let canonical = json!({
            "server": self.server,
            "stream": self.stream,
            "turn": self.turn,
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
    let grants = &plugin.grants;
    let credentials = grants.credentials.iter().map(|credential| {
        json!([credential.name(), credential.origin().to_string(), credential.header().as_str()])
    });
    json!({
        "source": plugin.source.to_string(),
        "settings": plugin.settings,
        "limits": plugin.limits,
        "grants": {
            "http": grants.http.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "networks": grants.networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "credentials": credentials.collect::<Vec<_>>(),
            "state": grants.state,
            "state_shared": grants.state_shared,
            "history": grants.history,
            "models": grants.models,
        },
    })
}
