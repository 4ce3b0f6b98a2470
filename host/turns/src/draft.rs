//! A reply while it is being written.

use std::time::{Duration, Instant};

use masque_store::UsageRecord;

use crate::timing::PluginTiming;

/// What is known of a reply so far. It outlives the pipeline, which is cancelled by dropping it.
#[derive(Debug, Default)]
pub(crate) struct ReplyDraft {
    /// The text that readers can see.
    pub(crate) text: String,
    /// What the model reported so far; zero for a count that it did not report.
    pub(crate) reported: UsageRecord,
    /// What clients are told: the same, with an estimate for each count that was not reported.
    pub(crate) usage: UsageRecord,
    /// Why the model stopped, once it has.
    pub(crate) finish: Option<&'static str>,
    /// The plugins that made the reply so far.
    pub(crate) plugins: Vec<PluginTiming>,
    /// Spent in models that failed before their first content.
    pub(crate) failed_models: Duration,
    pub(crate) first_content: Option<Instant>,
    /// The model that writes, or wrote last.
    pub(crate) model: Option<String>,
    /// Whether that model refused the prompt, for which the host is not to blame.
    pub(crate) is_prompt_rejected: bool,
}
