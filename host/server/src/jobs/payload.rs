//! What a job remembers of its exchange: enough to build it again later. The messages before it are read when the job
//! runs, from the conversation they stand in anyway.

use masque_runtime::contract::{Exchange, Message, Part, Turn, Usage};
use masque_store::{JobRecord, MessageId, MessageRecord, NewMessage, Started, UsageRecord};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::turn::{contract, now_ms};

/// Stored with the job; a later version of the host must still read it, so fields are only ever added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Payload {
    pub(super) companion: String,
    /// Of the turn.
    attempt: u32,
    /// The user's message.
    message: Said,
    /// Its place in the conversation.
    pub(super) sequence: i64,
    reply: Said,
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
    interrupted: bool,
    /// When the turn ended, in milliseconds.
    at: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    id: MessageId,
    content: String,
    metadata: Value,
    /// When it was said, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
}

impl Payload {
    pub(super) fn new(started: &Started, reply: &NewMessage, usage: UsageRecord, interrupted: bool) -> Self {
        let (user, now) = (&started.message, now_ms());
        Self {
            companion: started.companion.clone(),
            attempt: started.attempt,
            message: Said {
                id: user.id,
                content: user.content.clone(),
                metadata: user.metadata.clone(),
                at: u64::try_from(user.created_at).ok(),
            },
            sequence: user.sequence,
            reply: Said {
                id: reply.id,
                content: reply.content.clone(),
                metadata: reply.metadata.clone(),
                at: Some(now),
            },
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cached_tokens: usage.cached_tokens,
            interrupted,
            at: now,
        }
    }

    pub(super) fn to_text(&self) -> String {
        // Nothing in it can fail to be JSON: no maps with other keys than strings, no foreign types.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The user's message.
    pub(super) fn asked(&self) -> MessageId {
        self.message.id
    }

    /// The exchange as it was, with `tail` before it; `deadline_ms` is this delivery's.
    pub(super) fn exchange(&self, job: &JobRecord, tail: &[MessageRecord], deadline_ms: u64) -> Exchange {
        let properties =
            |said: &Said| said.metadata.as_object().map(contract::properties).unwrap_or_default();
        let message = |said: &Said, role: &str| Message {
            id: Some(said.id.to_string()),
            role: role.into(),
            parts: vec![Part::Text(said.content.clone())],
            at: said.at,
            source: None,
            cache: false,
            metadata: properties(said),
        };
        Exchange {
            turn: Turn {
                id: job.turn.to_string(),
                attempt: self.attempt,
                conversation: job.conversation.to_string(),
                companion: self.companion.clone(),
                tenant: job.owner.tenant.clone(),
                user: contract::user(&job.owner),
                message: message(&self.message, "user"),
                tail: tail.iter().map(contract::message).collect(),
                has_earlier: contract::has_earlier(tail, self.sequence),
                now: self.at,
                deadline_ms,
                metadata: properties(&self.message),
            },
            reply: message(&self.reply, "assistant"),
            usage: Usage {
                input_tokens: self.input_tokens,
                output_tokens: self.output_tokens,
                cached_tokens: self.cached_tokens,
                metadata: Vec::new(),
            },
            interrupted: self.interrupted,
            attempt: job.attempt,
            metadata: Vec::new(),
        }
    }
}
