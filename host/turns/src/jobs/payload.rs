//! The stored form of a job's exchange. The messages before it are not part of it: they are read from the conversation when
//! the job runs.

use masque_runtime::contract::{Exchange, Message, Turn, Usage};
use masque_store::{
    BudgetAccount, JobRecord, MessageId, MessageRecord, NewMessage, Started, UsageRecord, UserProfile,
};
use masque_telemetry::trace::TraceContext;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::now_ms;
use crate::contract;

/// What is stored with a job. Later versions of the host must still read it, so fields may only be added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Payload {
    pub(super) companion: String,
    /// The attempt of the turn.
    attempt: u32,
    /// What the turn's plugins were told of the user.
    #[serde(default, skip_serializing_if = "UserProfile::is_empty")]
    user: UserProfile,
    /// The user's message.
    message: StoredMessage,
    /// The place of the user's message in the conversation.
    pub(super) sequence: i64,
    reply: StoredMessage,
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
    interrupted: bool,
    /// When the turn ended, in milliseconds since the Unix epoch.
    at: u64,
    /// The accounts that pay if the plugin asks the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    accounts: Vec<StoredAccount>,
    /// The `traceparent` of the turn's span, to which the trace of the job is linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    /// The id of the request that began the turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// An exchange that has ended, and what its jobs need to know beside it.
pub(crate) struct EndedExchange<'a> {
    pub(crate) started: &'a Started,
    /// What the turn's plugins were told of the user.
    pub(crate) profile: &'a UserProfile,
    pub(crate) reply: &'a NewMessage,
    /// What the model reported.
    pub(crate) usage: UsageRecord,
    pub(crate) is_interrupted: bool,
    /// The accounts that pay if a plugin asks the model.
    pub(crate) accounts: &'a [BudgetAccount],
    /// The position of the turn's span.
    pub(crate) trace: TraceContext,
    /// The id of the request that began the turn.
    pub(crate) request_id: &'a str,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredAccount {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens_per_day: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredMessage {
    id: MessageId,
    content: String,
    metadata: Value,
    /// When it was sent, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
}

/// The id of the request that began the turn of a job; `None` for a job of an earlier version, or one that can't be read.
pub(super) fn request_id(payload: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Origin {
        request_id: Option<String>,
    }
    serde_json::from_str::<Origin>(payload).ok()?.request_id
}

impl Payload {
    pub(super) fn new(exchange: &EndedExchange<'_>) -> Self {
        let EndedExchange { started, profile, reply, usage, is_interrupted, accounts, trace, request_id } =
            *exchange;
        let (message, now) = (&started.message, now_ms());
        Self {
            companion: started.companion.clone(),
            attempt: started.attempt,
            user: profile.clone(),
            message: StoredMessage {
                id: message.id,
                content: message.content.clone(),
                metadata: message.metadata.clone(),
                at: u64::try_from(message.created_at).ok(),
            },
            sequence: message.sequence,
            reply: StoredMessage {
                id: reply.id,
                content: reply.content.clone(),
                metadata: reply.metadata.clone(),
                at: Some(now),
            },
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cached_tokens: usage.cached_tokens,
            interrupted: is_interrupted,
            at: now,
            accounts: accounts
                .iter()
                .map(|BudgetAccount { name, tokens_per_day }| StoredAccount {
                    name: name.clone(),
                    tokens_per_day: *tokens_per_day,
                })
                .collect(),
            trace: Some(trace.to_string()),
            request_id: Some(request_id.to_owned()),
        }
    }

    /// The position of the span of the turn; `None` for a job of an earlier version.
    pub(super) fn turn_trace(&self) -> Option<TraceContext> {
        self.trace.as_deref().and_then(TraceContext::parse)
    }

    /// The accounts that pay if the plugin asks the model, with the budgets that they had at the turn's end.
    pub(super) fn accounts(&self) -> Vec<BudgetAccount> {
        self.accounts
            .iter()
            .map(|StoredAccount { name, tokens_per_day }| BudgetAccount {
                name: name.clone(),
                tokens_per_day: *tokens_per_day,
            })
            .collect()
    }

    pub(super) fn to_text(&self) -> String {
        // Can't fail: every map has string keys.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The id of the user's message.
    pub(super) fn user_message(&self) -> MessageId {
        self.message.id
    }

    /// The exchange as the plugin gets it. `tail` holds the messages before it, `deadline_ms` is the time for this call.
    pub(super) fn exchange(&self, job: &JobRecord, tail: &[MessageRecord], deadline_ms: u64) -> Exchange {
        let properties = |message: &StoredMessage| {
            message.metadata.as_object().map(contract::properties).unwrap_or_default()
        };
        let message = |message: &StoredMessage, role: &str| Message {
            id: Some(message.id.to_string().into()),
            at: message.at,
            metadata: properties(message),
            ..Message::new(role, message.content.as_str())
        };
        Exchange {
            turn: Turn {
                id: job.turn.to_string().into(),
                attempt: self.attempt,
                conversation: job.conversation.to_string().into(),
                companion: self.companion.as_str().into(),
                tenant: job.owner.tenant.as_str().into(),
                user: contract::user(&job.owner, &self.user),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_keeps_the_users_name_and_one_without_it_is_read() {
        let text = r#"{"companion": "ida", "attempt": 1, "sequence": 1, "interrupted": false, "at": 0,
            "message": {"id": "01998a3e-7c1f-7d52-9b7e-3f1d2c4b5a69", "content": "Hi.", "metadata": {}},
            "reply": {"id": "01998a3e-7c1f-7d52-9b7e-3f1d2c4b5a70", "content": "Hi.", "metadata": {}},
            "input_tokens": 1, "output_tokens": 1, "cached_tokens": 0}"#;
        let mut payload = Payload::from_text(text).unwrap();
        assert!(payload.user.is_empty());
        assert_eq!((payload.turn_trace(), request_id(text)), (None, None));
        payload.user.name = Some("Ada".to_owned());
        assert_eq!(Payload::from_text(&payload.to_text()).unwrap(), payload);
    }
}
