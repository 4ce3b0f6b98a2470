//! The JSON reply, and the accounts in it: whose time a turn took, and when the reader saw something.

use std::time::Duration;

use masque_runtime::Plugin;
use masque_store::{ConversationId, TurnId, UsageRecord};
use serde_json::{Value, json};

/// One plugin's share of the path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Share {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) digest: String,
    pub(crate) took: Duration,
}

impl Share {
    pub(crate) fn of(plugin: &Plugin, took: Duration) -> Self {
        let package = plugin.package();
        Self {
            kind: package.kind().to_string(),
            name: plugin.name().to_owned(),
            version: package.description().version.clone(),
            digest: package.digest().to_owned(),
            took,
        }
    }
}

/// What a turn's time went into.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Timing {
    pub(crate) first_content: Option<Duration>,
    /// From the request's arrival to the commit.
    pub(crate) total: Duration,
    /// The plugins that made the reply, in the order they were called.
    pub(crate) shares: Vec<Share>,
    /// Spent in models that failed before another took over: the host's doing no more than the others' time is.
    pub(crate) failed_over: Duration,
}

impl Timing {
    /// What the host took itself: everything that no plugin did.
    pub(crate) fn host(&self) -> Duration {
        let plugins: Duration = self.shares.iter().map(|share| share.took).sum();
        self.total.saturating_sub(plugins).saturating_sub(self.failed_over)
    }

    fn to_value(&self) -> Value {
        let plugins: Vec<_> = self
            .shares
            .iter()
            .map(|share| {
                let Share { kind, name, version, digest, took } = share;
                json!({ "kind": kind, "name": name, "version": version, "digest": digest, "ms": ms(*took) })
            })
            .collect();
        json!({
            "first_content_ms": self.first_content.map(ms),
            "total_ms": ms(self.total),
            "host_ms": ms(self.host()),
            "plugins": plugins,
        })
    }
}

/// A reply that is whole.
pub(crate) struct Whole<'a> {
    pub(crate) turn: TurnId,
    pub(crate) conversation: ConversationId,
    pub(crate) companion: &'a str,
    pub(crate) content: &'a str,
    pub(crate) finish: &'a str,
    pub(crate) usage: UsageRecord,
    pub(crate) timing: &'a Timing,
}

impl Whole<'_> {
    /// What JSON clients get, what `turn.completed` carries, and what a repeated request is given again.
    pub(crate) fn to_value(&self) -> Value {
        json!({
            "turn_id": self.turn,
            "conversation_id": self.conversation,
            "companion": self.companion,
            "reply": { "role": "assistant", "content": self.content },
            "finish": self.finish,
            "usage": {
                "input_tokens": self.usage.input_tokens,
                "output_tokens": self.usage.output_tokens,
                "cached_tokens": self.usage.cached_tokens,
            },
            "timing": self.timing.to_value(),
        })
    }
}

/// Milliseconds to the hundredth: the host's own share is often less than one.
pub(crate) fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(kind: &str, ms: u64) -> Share {
        Share {
            kind: kind.into(),
            name: kind.into(),
            version: "0.1.0".into(),
            digest: "sha256:00".into(),
            took: Duration::from_millis(ms),
        }
    }

    #[test]
    fn the_hosts_time_is_what_no_plugin_took() {
        let timing = Timing {
            first_content: Some(Duration::from_millis(40)),
            total: Duration::from_millis(100),
            shares: vec![share("memory", 1), share("persona", 2), share("model", 70)],
            failed_over: Duration::from_millis(20),
        };
        assert_eq!(timing.host(), Duration::from_millis(7));
        assert_eq!(Timing { total: Duration::ZERO, ..timing }.host(), Duration::ZERO);
    }

    #[test]
    fn the_reply_has_the_members_that_clients_depend_on() {
        let (turn, conversation) = (TurnId::new(), ConversationId::new());
        let timing = Timing {
            total: Duration::from_micros(1234),
            shares: vec![share("model", 1)],
            ..Timing::default()
        };
        let reply = Whole {
            turn,
            conversation,
            companion: "elara",
            content: "Hello.",
            finish: "stop",
            usage: UsageRecord { input_tokens: 3, output_tokens: 2, cached_tokens: 1 },
            timing: &timing,
        };
        let expected = json!({
            "turn_id": turn.to_string(),
            "conversation_id": conversation.to_string(),
            "companion": "elara",
            "reply": { "role": "assistant", "content": "Hello." },
            "finish": "stop",
            "usage": { "input_tokens": 3, "output_tokens": 2, "cached_tokens": 1 },
            "timing": {
                "first_content_ms": null,
                "total_ms": 1.23,
                "host_ms": 0.23,
                "plugins": [{ "kind": "model", "name": "model", "version": "0.1.0", "digest": "sha256:00", "ms": 1.0 }],
            },
        });
        assert_eq!(reply.to_value(), expected);
    }
}
