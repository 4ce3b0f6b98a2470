//! Removes secrets from what a plugin said about its failure before it is logged. The text goes nowhere else.

use std::borrow::Cow;
use std::fmt;

use masque_config::Config;
use masque_runtime::{SecretMatcher, sanitize};

/// The secrets of all plugins. Those of one plugin alone are not enough: an upstream may echo what another plugin sent
/// it.
#[derive(Debug, Default)]
pub struct Redactor(SecretMatcher);

impl Redactor {
    pub(crate) fn new(config: &Config) -> Self {
        let credentials = config.plugins.values().flat_map(|plugin| &plugin.grants.credentials);
        let secrets = credentials.flat_map(|credential| credential.secrets());
        Self(SecretMatcher::new(secrets.cloned()))
    }

    /// `text` as it is, but without secrets: for the records of turns, which keep texts in full.
    pub fn redact_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.redact(text)
    }

    /// `text` on one line, without secrets and control characters, 4 KiB at most.
    pub fn redact(&self, text: &impl fmt::Display) -> String {
        sanitize(&text.to_string(), &self.0)
    }
}
