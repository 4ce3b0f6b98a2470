//! Removes secrets, and the texts of messages, from what a plugin said about its failure before it is logged. The text goes
//! nowhere else.

use std::borrow::Cow;
use std::fmt;

use masque_config::Config;
use masque_runtime::{CallError, MessageTexts, SecretMatcher, sanitize, settings_secrets};

/// The secrets of all plugins. Those of one plugin alone are not enough: an upstream may echo what another plugin sent
/// it.
#[derive(Debug, Default)]
pub struct Redactor(SecretMatcher);

impl Redactor {
    pub(crate) fn new(config: &Config) -> Self {
        let plugins = || config.plugins.values();
        let credentials = plugins().flat_map(|plugin| &plugin.grants.credentials);
        let of_credentials = credentials.flat_map(|credential| credential.secrets()).cloned();
        let of_settings = plugins().flat_map(|plugin| settings_secrets(&plugin.settings_json()));
        Self(SecretMatcher::new(of_credentials.chain(of_settings)))
    }

    /// `text` as it is, but without secrets: for the records of turns, which keep texts in full.
    pub fn redact_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.redact(text)
    }

    /// `text` on one line, without secrets and control characters, 4 KiB at most.
    pub fn redact(&self, text: &impl fmt::Display) -> String {
        sanitize(&text.to_string(), &self.0)
    }

    /// The same for a failed call, with the plugin's last words. What its cause and they repeat of the messages that the call knew
    /// is left out; what the host has refused it is in the host's own words, and stays.
    pub fn redact_failure(&self, error: &CallError, messages: &MessageTexts) -> String {
        // Secrets go first: a message that holds half of one would leave the other half.
        let cause = error.cause_and_last_words();
        let cause = self.redact_text(&cause);
        self.redact(&error.text_with_cause(&messages.hide_in(&cause)))
    }
}

#[cfg(test)]
mod tests {
    use masque_grants::Secret;
    use masque_runtime::Cause;
    use masque_runtime::contract::{Failure, Message};

    use super::*;

    fn error(said: &str) -> CallError {
        CallError {
            plugin: "openai".into(),
            version: "0.1.0".into(),
            function: "generate",
            cause: Cause::Failed(Box::new(Failure::new("invalid", said))),
            denied: vec!["GET https://a.test/hidden/behind/the/door needs an `http` grant".into()],
            missing_grants: Vec::new(),
            error_output: Vec::new(),
        }
    }

    #[test]
    fn a_failure_repeats_neither_a_message_nor_a_secret() {
        let redactor = Redactor(SecretMatcher::new([Secret::from("sk-123456789".to_owned())]));
        let mut messages = MessageTexts::default();
        messages.add([&Message::new("user", "It is hidden behind the door.")]);
        let error = error("no answer to: It is hidden behind the door. (Bearer sk-123456789)");
        assert_eq!(error.text_with_cause(&error.cause.to_string()), error.to_string());
        assert_eq!(
            redactor.redact_failure(&error, &messages),
            "plugin `openai` 0.1.0, generate: failed with `invalid`: no answer to: [message]. (Bearer [redacted]) \
             (refused during the call: GET https://a.test/hidden/behind/the/door needs an `http` grant)"
        );
    }

    #[test]
    fn the_last_words_of_a_plugin_repeat_neither_a_message_nor_a_secret() {
        let redactor = Redactor(SecretMatcher::new([Secret::from("sk-123456789".to_owned())]));
        let mut messages = MessageTexts::default();
        messages.add([&Message::new("user", "It is hidden behind the door.")]);
        let panicked = CallError {
            cause: Cause::Trap("unreachable".into()),
            denied: Vec::new(),
            error_output: vec![
                "thread panicked at src/lib.rs:1:1:".into(),
                "no answer to It is hidden behind the door. with sk-123456789".into(),
            ],
            ..error("")
        };
        assert_eq!(
            redactor.redact_failure(&panicked, &messages),
            "plugin `openai` 0.1.0, generate: trapped: unreachable; its last words: thread panicked at src/lib.rs:1:1: \
             no answer to [message]. with [redacted]"
        );
    }
}
