//! What a plugin said of its failure, on its way into the log: the only place where it is written at all.

use std::fmt;

use masque_runtime::{Secret, clean};

use crate::config::Config;

/// The secrets that must not be written, of all plugins: an upstream may echo what another one sent it.
#[derive(Debug, Default)]
pub(crate) struct Redactor(Vec<Secret>);

impl Redactor {
    pub(crate) fn new(config: &Config) -> Self {
        let credentials = config.plugins.values().flat_map(|plugin| &plugin.grants.credentials);
        let mut secrets: Vec<Secret> = credentials.map(|credential| credential.secret().clone()).collect();
        // Longest first: one secret may be part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.reveal().len()));
        secrets.dedup();
        Self(secrets)
    }

    /// `text` on one line, without secrets, 4 KiB at most.
    pub(crate) fn clean(&self, text: &impl fmt::Display) -> String {
        clean(&text.to_string(), &self.0)
    }
}
