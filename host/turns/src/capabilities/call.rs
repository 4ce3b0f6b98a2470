//! The capabilities of one call, and nested calls of the companion's model.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use masque_runtime::contract::{Failure, Prompt, Reply};
use masque_runtime::{Call, CallError, Cause, Models, NestedCall, Plugin, ReuseKey};
use masque_store::Owner;
use masque_telemetry::trace::SpanParent;

use super::collected_reply::CollectedReply;
use super::context::ConversationContext;
use super::history::ConversationHistory;
use super::state::StoredState;
use crate::contract;
use crate::metering::{MeteredCall, UsageMeter};
use crate::records::{CallInput, CallOutput, OpenCall};
use crate::tokens::message_bytes;

/// What the plugins of one turn, or of one background job, may use.
pub(crate) struct Capabilities {
    context: Arc<ConversationContext>,
    /// The companion's first model, which plugins may ask. `None` if the companion no longer exists.
    model: Option<Arc<Plugin>>,
}

impl Capabilities {
    pub(crate) fn new(context: ConversationContext, model: Option<Arc<Plugin>>) -> Self {
        Self { context: Arc::new(context), model }
    }

    /// What `plugin` may use in a call that ends at `deadline` and is below `trace`.
    pub(crate) fn call(&self, plugin: &Plugin, deadline: Instant, trace: SpanParent) -> Call {
        let model = self.model.as_ref().filter(|_| plugin.grants().models);
        let access = model.map(|model| ModelAccess {
            context: Arc::clone(&self.context),
            model: Arc::clone(model),
            asked_by: plugin.name().to_owned(),
        });
        Call {
            models: access.map(|access| Arc::new(access) as _),
            ..call_without_models(&self.context, plugin, deadline, trace)
        }
    }

    /// Lists a call that begins, for the record of the turn.
    pub(crate) fn begin(
        &self,
        function: &'static str,
        plugin: &Arc<Plugin>,
        input: impl FnOnce() -> CallInput,
    ) -> OpenCall {
        self.context.calls.begin(function, plugin, input)
    }

    /// Counts the tokens of the model calls.
    pub(crate) fn meter(&self) -> &Arc<UsageMeter> {
        &self.context.meter
    }

    /// The stored values of the plugin with this name and version, held to a quota in bytes.
    pub(crate) fn state(&self, plugin: &str, version: &str, quota: u64) -> StoredState {
        StoredState::new(Arc::clone(&self.context), plugin, version, quota)
    }
}

/// Everything but models: a nested call can't make another nested call. What the plugin is not granted is not made: the runtime
/// denies it before it looks for it.
fn call_without_models(
    context: &Arc<ConversationContext>,
    plugin: &Plugin,
    deadline: Instant,
    trace: SpanParent,
) -> Call {
    let grants = plugin.grants();
    let state = || {
        let version = &plugin.package().description().version;
        StoredState::new(Arc::clone(context), plugin.name(), version, plugin.limits().state_bytes as u64)
    };
    Call {
        state: grants.state.then(|| Arc::new(state()) as _),
        history: grants.history.then(|| Arc::new(ConversationHistory(Arc::clone(context))) as _),
        reuse_key: grants.reuse.map(|_| reuse_key(context)),
        ..Call::new(deadline, trace)
    }
}

/// For whom the call is made: an instance may be reused only for the same user or conversation.
fn reuse_key(context: &ConversationContext) -> ReuseKey {
    let Owner { tenant, issuer, subject } = &context.owner;
    // Quoted, so that `ab` + `c` and `a` + `bc` differ.
    ReuseKey {
        user: format!("{tenant:?} {issuer:?} {subject:?}"),
        conversation: context.conversation.to_string(),
    }
}

/// The companion's first model, for the plugin of an outer call.
struct ModelAccess {
    context: Arc<ConversationContext>,
    model: Arc<Plugin>,
    /// The name of the plugin that asks.
    asked_by: String,
}

#[async_trait]
impl Models for ModelAccess {
    fn weight(&self) -> u32 {
        self.model.weight()
    }

    async fn ask(&self, prompt: Prompt, nested: NestedCall) -> Result<Reply, Failure> {
        let (meter, asked_by) = (&self.context.meter, Some(self.asked_by.as_str()));
        let metered = meter.begin(&prompt, &self.model, asked_by, nested.trace()).await;
        let mut metered = metered.map_err(|error| {
            tracing::warn!(?error, model = self.model.name(), "a plugin may not ask the model");
            error.failure()
        })?;
        let prompt = Arc::new(prompt);
        let open = self.context.calls.begin("generate", &self.model, || CallInput::Generate {
            prompt: Arc::clone(&prompt),
            asked_by: Some(self.asked_by.clone()),
        });
        let call = Call {
            report: open.report(),
            ..call_without_models(&self.context, &self.model, nested.deadline(), metered.trace())
        };
        let call = Call { nested: Some(nested), ..call };
        match self.collect(call, &prompt, &mut metered).await {
            Ok(reply) => {
                open.succeed(|| CallOutput::Reply {
                    finish: reply.finish.reason.clone(),
                    text_bytes: message_bytes(&reply.message),
                    usage: metered.usage(),
                });
                metered.complete(contract::finish_reason(&reply.finish.reason));
                Ok(reply)
            }
            Err(failure) => {
                open.fail(&failure.code);
                metered.fail(&failure.code);
                Err(failure)
            }
        }
    }
}

impl ModelAccess {
    async fn collect(
        &self,
        call: Call,
        prompt: &Prompt,
        metered: &mut MeteredCall,
    ) -> Result<Reply, Failure> {
        let mut deltas = self.model.generate(call, prompt).await.map_err(nested_failure)?;
        let mut reply = CollectedReply::default();
        while let Some(batch) = deltas.next().await {
            for delta in batch.map_err(nested_failure)? {
                metered.add(&delta);
                if let Some(finish) = reply.add(delta)? {
                    return Ok(reply.into_reply(finish));
                }
            }
        }
        Err(Failure::new("truncated", "the model's reply has no end"))
    }
}

/// A failed nested call as the outer plugin learns of it: the model's own failure, or the host's code without the details
/// that name another plugin.
fn nested_failure(error: CallError) -> Failure {
    match error.cause {
        Cause::Failed(failure) => *failure,
        _ => Failure::new(error.code(), "the companion's model could not answer"),
    }
}
