//! The JSON object of a completed turn.

use masque_store::{ConversationId, TurnId, UsageRecord};
use serde_json::{Value, json};

use crate::timing::TurnTiming;

/// A complete reply with everything that clients are told about it.
pub(crate) struct CompletedReply<'a> {
    pub(crate) turn: TurnId,
    pub(crate) conversation: ConversationId,
    pub(crate) companion: &'a str,
    pub(crate) content: &'a str,
    pub(crate) finish: &'a str,
    pub(crate) usage: UsageRecord,
    pub(crate) timing: &'a TurnTiming,
}

impl CompletedReply<'_> {
    /// The body of the JSON response, the data of `turn.completed`, and what a repeated request is answered with.
    pub(crate) fn to_value(&self) -> Value {
        let mut usage = json!({
            "input_tokens": self.usage.input_tokens,
            "output_tokens": self.usage.output_tokens,
            "cached_tokens": self.usage.cached_tokens,
        });
        if self.usage.estimated
            && let Some(members) = usage.as_object_mut()
        {
            members.insert("estimated".into(), true.into());
        }
        json!({
            "turn_id": self.turn,
            "conversation_id": self.conversation,
            "companion": self.companion,
            "reply": { "role": "assistant", "content": self.content },
            "finish": self.finish,
            "usage": usage,
            "timing": self.timing.to_value(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::timing::PluginTiming;

    #[test]
    fn the_reply_has_the_members_that_clients_depend_on() {
        let (turn, conversation) = (TurnId::new(), ConversationId::new());
        let model = PluginTiming {
            kind: "model".into(),
            name: "model".into(),
            version: "0.1.0".into(),
            digest: "sha256:00".into(),
            duration: Duration::from_millis(1),
        };
        let timing =
            TurnTiming { total: Duration::from_micros(1234), plugins: vec![model], ..TurnTiming::default() };
        let reply = CompletedReply {
            turn,
            conversation,
            companion: "elara",
            content: "Hello.",
            finish: "stop",
            usage: UsageRecord { input_tokens: 3, output_tokens: 2, cached_tokens: 1, estimated: false },
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
