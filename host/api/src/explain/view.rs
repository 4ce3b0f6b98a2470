//! The explanation of a turn as clients get it, and as `masque explain --json` prints it.
//!
//! Fields that say "with `content:read`" are `null` or empty for others.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// What made a turn. It describes the last attempt.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Explanation {
    /// The turn.
    pub turn_id: Uuid,
    /// Its conversation.
    pub conversation_id: Uuid,
    /// The companion.
    #[schema(example = "elara")]
    pub companion: String,
    /// From 1.
    pub attempt: u32,
    /// What the host recorded: `full`, or `digests` without texts.
    #[schema(example = "digests")]
    pub recorded: String,
    /// Whether prompts and the values of host calls are shown, which needs `content:read`.
    pub shows_content: bool,
    /// Whether texts were left out since the record would have been too large.
    pub truncated: bool,
    /// `completed`, `failed`, `interrupted`, `cancelled` or `refused`.
    #[schema(example = "completed")]
    pub outcome: String,
    /// The type of the problem that ended the turn.
    pub problem: Option<String>,
    /// When the request arrived.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// The id of the request.
    pub request_id: String,
    /// The id of the trace.
    pub trace_id: String,
    /// The process that ran the turn; with `content:read`.
    pub host: Option<String>,
    /// The number of the set of companions and plugins that was in use; with `content:read`.
    pub generation: Option<u64>,
    /// How long it took.
    pub timing: ExplainedTiming,
    /// The tokens of the turn.
    pub usage: ExplainedUsage,
    /// The message that the turn answers.
    pub message: ExplainedMessage,
    /// What the memory recalled. `null` if it was not asked, or failed.
    pub recalled: Option<ExplainedRecollection>,
    /// The prompt that the persona composed. `null` if it did not.
    pub prompt: Option<ExplainedPrompt>,
    /// The reply. `null` if the model wrote none.
    pub reply: Option<ExplainedReply>,
    /// The calls of plugins, in the order in which they began.
    pub steps: Vec<ExplainedStep>,
}

/// The time of a turn, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ExplainedTiming {
    /// Until the first content. `null` if there was none.
    pub first_content_ms: Option<f64>,
    /// The whole turn.
    pub total_ms: Option<f64>,
    /// Time spent in the host itself.
    pub host_ms: Option<f64>,
    /// Time spent waiting for models of others.
    pub upstream_ms: Option<f64>,
}

/// Tokens as the model counted them, or as the host estimates them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ExplainedUsage {
    /// Read by the model.
    pub input_tokens: u64,
    /// Written by the model.
    pub output_tokens: u64,
    /// Of the input, those that the provider had cached.
    pub cached_tokens: u64,
    /// Whether a count is an estimate.
    pub estimated: bool,
}

/// A message that a plugin was given, or made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ExplainedMessage {
    /// Its id in the conversation. Messages that plugins make have none, or one of their own.
    pub id: Option<String>,
    /// Its role.
    #[schema(example = "user")]
    pub role: String,
    /// Where it comes from, as the plugin says.
    #[schema(example = "card.scenario")]
    pub source: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// Its tokens, as the host estimates them.
    pub tokens: u64,
    /// Whether a stable beginning of the prompt ends here, which providers can cache.
    pub cache: bool,
    /// Whether it was a message of a conversation of the user, and has been deleted since.
    pub deleted: bool,
    /// Whether it was not looked up, since the record names too many messages. It may be deleted, so it has no text.
    pub not_looked_up: bool,
    /// Its text as the conversation has it. `null` for messages that plugins made or changed.
    pub text: Option<String>,
    /// The digest of its text; of messages that are not the user's own with `content:read`.
    pub digest: Option<String>,
    /// The parts of a message that a plugin made or changed; with `content:read`.
    pub parts: Vec<ExplainedPart>,
}

/// A part of a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ExplainedPart {
    /// `text`, `thinking`, `blob`, `tool-call`, `tool-result` or `other`.
    pub r#type: String,
    /// The name of a tool or of another kind of part.
    pub name: Option<String>,
    /// The media type of a blob.
    pub media_type: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// Its tokens, as the host estimates them.
    pub tokens: u64,
    /// Its text. `null` if the host records digests only.
    pub text: Option<String>,
}

/// What a memory recalled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ExplainedRecollection {
    /// The memory plugin.
    pub plugin: String,
    /// The tokens that it was asked to stay within.
    pub budget_tokens: Option<u64>,
    /// The tokens of what it recalled, as the host estimates them.
    pub tokens: u64,
    /// Messages of the conversation, and those that the memory made of them.
    pub messages: Vec<ExplainedMessage>,
    /// Memories.
    pub memories: Vec<ExplainedMemory>,
}

/// A memory that was recalled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ExplainedMemory {
    /// Its id, as the memory plugin gives it.
    pub id: Option<String>,
    /// Where it comes from, as the memory plugin says.
    pub source: Option<String>,
    /// How well it fits, as the memory plugin says.
    pub score: Option<f64>,
    /// Its size.
    pub bytes: u64,
    /// Its tokens, as the host estimates them.
    pub tokens: u64,
    /// Whether the message that it was made of (`message:ID`), of whichever conversation of the user, has been deleted since.
    pub deleted: bool,
    /// Whether that message was not looked up, since the record names too many. It may be deleted, so the memory has no text.
    pub not_looked_up: bool,
    /// Its text. `null` if it is deleted or not looked up, or if the host records digests only.
    pub text: Option<String>,
    /// The digest of its text.
    pub digest: Option<String>,
}

/// A prompt by its parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ExplainedPrompt {
    /// All tokens, as the host estimates them.
    pub tokens: u64,
    /// The tokens by where they come from, the most first.
    pub sources: Vec<ExplainedSource>,
    /// The messages in their order.
    pub messages: Vec<ExplainedMessage>,
    /// The tools that the model may call.
    pub tools: Vec<ExplainedTool>,
    /// The options of the model; with `content:read`.
    #[schema(value_type = Option<Object>)]
    pub options: Option<Value>,
}

/// The part of a prompt that comes from one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ExplainedSource {
    /// The source of messages as plugins name it, `memory` for all of `memory:ID`, `conversation` for messages of the
    /// conversation, `tools`, or `other`.
    #[schema(example = "card.scenario")]
    pub source: String,
    /// How many messages or tools.
    pub count: u64,
    /// Their tokens, as the host estimates them.
    pub tokens: u64,
}

/// A tool of a prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ExplainedTool {
    /// Its size.
    pub bytes: u64,
    /// Its tokens, as the host estimates them.
    pub tokens: u64,
    /// Its name; with `content:read`.
    pub name: Option<String>,
    /// Its description; with `content:read`.
    pub text: Option<String>,
    /// The digest of its description and parameters; with `content:read`.
    pub digest: Option<String>,
}

/// The reply of the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ExplainedReply {
    /// Why the model stopped. `null` if it was cut off.
    #[schema(example = "stop")]
    pub finish: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// Its tokens, as the host estimates them.
    pub tokens: u64,
    /// Its text as the conversation has it. `null` if it has no such reply, as after a failed turn.
    pub text: Option<String>,
    /// The digest of its text.
    pub digest: Option<String>,
}

/// One call of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ExplainedStep {
    /// The function: `recall`, `compose`, `generate`, ….
    #[schema(example = "recall")]
    pub function: String,
    /// `memory`, `persona` or `model`.
    #[schema(example = "memory")]
    pub kind: String,
    /// The name of the plugin in the configuration.
    pub plugin: String,
    /// The version that the component states.
    pub version: String,
    /// The digest of the component.
    pub digest: String,
    /// `ok`, or the code of the failure.
    #[schema(example = "ok")]
    pub outcome: String,
    /// From the beginning of the turn, in milliseconds.
    pub started_ms: f64,
    /// Wall time, in milliseconds.
    pub wall_ms: f64,
    /// Time to make the instance, in milliseconds. 0 if a warm one was used.
    pub instantiation_ms: f64,
    /// CPU time, in milliseconds.
    pub cpu_ms: f64,
    /// The most memory of the component.
    pub peak_memory_bytes: u64,
    /// The limits of the call: `wall_us`, `cpu_us`, `memory_bytes`, …; with `content:read`.
    #[schema(value_type = Option<Object>)]
    pub limits: Option<Value>,
    /// The digest of the plugin's settings; with `content:read`.
    pub settings_digest: Option<String>,
    /// What the plugin was granted; with `content:read`.
    pub grants: Option<Vec<String>>,
    /// The plugin that asked the model. `null` if the turn itself did.
    pub asked_by: Option<String>,
    /// The prompt of the plugin that asked the model.
    pub prompt: Option<ExplainedPrompt>,
    /// The tokens of this call of a model.
    pub usage: Option<ExplainedUsage>,
    /// What the plugin asked the host for, in order.
    pub host_calls: Vec<ExplainedHostCall>,
    /// Requests to the host that are not listed.
    pub host_calls_dropped: u64,
}

/// One request of a plugin to the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ExplainedHostCall {
    /// `state`, `history`, `models` or `http`.
    #[schema(example = "state")]
    pub interface: String,
    /// The function, or the method of an HTTP request.
    #[schema(example = "get")]
    pub operation: String,
    /// `ok`, or the code of the failure.
    #[schema(example = "ok")]
    pub outcome: String,
    /// From the beginning of the step, in milliseconds.
    pub started_ms: f64,
    /// Wall time, in milliseconds.
    pub wall_ms: f64,
    /// What was asked and answered; with `content:read`.
    #[schema(value_type = Option<Object>)]
    pub detail: Option<Value>,
}
