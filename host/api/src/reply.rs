//! The whole reply of a turn, as `POST /chat` answers it.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A complete reply.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChatReply {
    pub(crate) turn_id: Uuid,
    pub(crate) conversation_id: Uuid,
    #[schema(example = "elara")]
    pub(crate) companion: String,
    pub(crate) reply: ReplyView,
    /// `stop`, `length` (a limit of length was reached), `filtered` (a filter stopped it, or the model refused) or
    /// `tool_calls`. A turn that was cut short has `interrupted`.
    #[schema(example = "stop")]
    pub(crate) finish: String,
    pub(crate) usage: UsageView,
    pub(crate) timing: TimingView,
}

/// The timing of a turn, in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Timing)]
pub(crate) struct TimingView {
    /// Until the first content. `null` if there was none.
    pub(crate) first_content_ms: Option<f64>,
    pub(crate) total_ms: f64,
    /// Time spent in the host itself.
    pub(crate) host_ms: f64,
    pub(crate) plugins: Vec<PluginTimingView>,
}

/// Time spent in one plugin.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginTiming)]
pub(crate) struct PluginTimingView {
    /// `persona`, `memory` or `model`.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) version: String,
    /// The digest of the component, as `sha256:…`.
    pub(crate) digest: String,
    pub(crate) ms: f64,
}

/// The companion's message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reply)]
pub(crate) struct ReplyView {
    #[schema(example = "assistant")]
    pub(crate) role: String,
    pub(crate) content: String,
}

/// Tokens as counted by the model, or as estimated by the host where the model reports none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageView {
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    /// Input tokens that the provider read from its cache, as far as the model reports them.
    pub(crate) cached_tokens: u64,
    /// `true` if the model did not report a count: it is then estimated by the length of the text, four bytes a token.
    /// Absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) estimated: bool,
}
