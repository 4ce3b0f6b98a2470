//! Runs a turn through the plugins: recall, compose, generate. The text goes into the turn's log as it arrives. What is
//! known of the reply is in a [`ReplyDraft`], which outlives the pipeline when the pipeline is cancelled by dropping it.

use std::sync::Arc;
use std::time::Instant;

use masque_companions::{Companion, Redactor};
use masque_problem::{Kind, Problem};
use masque_runtime::contract::{Delta, Prompt, Turn};
use masque_runtime::{Call, CallError, Cause, MessageTexts, Plugin, PluginKind};
use masque_store::push_storable;
use masque_telemetry::metrics::turns::DELTA_GAP;
use masque_telemetry::trace::SpanParent;

use crate::capabilities::Capabilities;
use crate::clock::whole_ms;
use crate::contract;
use crate::draft::ReplyDraft;
use crate::failure::{allows_fallback, call_problem, is_prompt_rejected, log_failed_call};
use crate::log::EventLog;
use crate::metering::MeteredCall;
use crate::records::{CallInput, CallOutput, OpenCall};
use crate::timing::PluginTiming;

/// What one turn needs on its way through the plugins.
pub(crate) struct Pipeline {
    pub(crate) companion: Arc<Companion>,
    /// The models to try in this order, never empty.
    pub(crate) models: Vec<Arc<Plugin>>,
    pub(crate) capabilities: Capabilities,
    pub(crate) log: Arc<EventLog>,
    pub(crate) redactor: Arc<Redactor>,
    /// Where the steps of the turn are in its trace.
    pub(crate) trace: SpanParent,
    /// The end of the turn.
    pub(crate) deadline: Instant,
}

/// Who ended a model's stream.
enum StreamEnd {
    /// The model said that the reply is complete.
    OfModel,
    /// The host stopped the model at the reply limit.
    OfHost,
}

/// A model's stream that failed.
struct StreamFailure {
    error: CallError,
    /// Whether readers may have seen a part of it.
    is_after_content: bool,
}

impl Pipeline {
    /// Runs to the end. Then the reply is complete in `draft`.
    ///
    /// # Errors
    /// What the client is told. What the plugin said is in the log only.
    pub(crate) async fn run(&self, mut turn: Turn, draft: &mut ReplyDraft) -> Result<(), Problem> {
        let Companion { memory, persona, options, memory_budget, .. } = &*self.companion;

        let mut messages = MessageTexts::default();
        messages.add(turn.tail.iter().chain([&turn.message]));
        let began = self.begin_call(&mut turn);
        let open = self.capabilities.begin("recall", memory, || CallInput::Recall { budget: *memory_budget });
        let recalled = memory.recall(self.call(memory, &open, &self.trace), &turn, *memory_budget).await;
        let recalled =
            recalled.map_err(|error| self.report_failure(PluginKind::Memory, &error, &open, &messages))?;
        messages.add_recollection(&recalled);
        open.succeed(|| CallOutput::Recollection(Box::new(recalled.clone())));
        draft.plugins.push(PluginTiming::new(memory, began.elapsed()));

        let began = self.begin_call(&mut turn);
        let open = self.capabilities.begin("compose", persona, || CallInput::Compose);
        let prompt = persona.compose(self.call(persona, &open, &self.trace), &turn, recalled).await;
        let mut prompt =
            prompt.map_err(|error| self.report_failure(PluginKind::Persona, &error, &open, &messages))?;
        draft.plugins.push(PluginTiming::new(persona, began.elapsed()));

        contract::override_options(&mut prompt.options, options);
        let prompt = Arc::new(prompt);
        open.succeed(|| CallOutput::Prompt(Arc::clone(&prompt)));
        messages.add_prompt(&prompt);
        self.generate(&prompt, messages, draft).await
    }

    /// Tries the models in order until one gives content. `messages` are the texts that they know.
    async fn generate(
        &self,
        prompt: &Arc<Prompt>,
        mut messages: MessageTexts,
        draft: &mut ReplyDraft,
    ) -> Result<(), Problem> {
        let mut models = self.models.iter().peekable();
        loop {
            let Some(model) = models.next() else { return Err(Problem::from(Kind::Internal)) };
            draft.model = Some(model.name().to_owned());
            let metered = self.capabilities.meter().begin(prompt, model, None, &self.trace).await;
            let mut metered = metered.map_err(|error| error.problem())?;
            (draft.reported, draft.usage) = (metered.reported(), metered.usage());
            let began = Instant::now();
            let input = || CallInput::Generate { prompt: Arc::clone(prompt), asked_by: None };
            let open = self.capabilities.begin("generate", model, input);
            let call = self.call(model, &open, &metered.trace());
            let failure = match self.stream(model, call, prompt, draft, &mut metered).await {
                Ok(end) => {
                    draft.plugins.push(PluginTiming::new(model, began.elapsed()));
                    open.succeed(|| CallOutput::Reply {
                        finish: draft.finish.unwrap_or("stop").to_owned(),
                        text_bytes: draft.text.len(),
                        usage: draft.usage,
                    });
                    match end {
                        StreamEnd::OfModel => metered.complete(draft.finish),
                        StreamEnd::OfHost => metered.stop_at_limit(),
                    }
                    return Ok(());
                }
                Err(failure) => failure,
            };
            metered.fail(failure.error.code());
            messages.add_text(&draft.text);
            let problem = self.report_failure(PluginKind::Model, &failure.error, &open, &messages);
            drop(open);
            draft.is_prompt_rejected = is_prompt_rejected(&failure.error);
            let is_late = Instant::now() >= self.deadline;
            if failure.is_after_content
                || is_late
                || models.peek().is_none()
                || !allows_fallback(&failure.error)
            {
                return Err(problem);
            }
            draft.failed_models += began.elapsed();
            tracing::warn!(model = model.name(), code = failure.error.code(), "the next model takes over");
        }
    }

    /// Streams one model's reply into the log until it is complete or has reached the reply limit.
    async fn stream(
        &self,
        model: &Arc<Plugin>,
        call: Call,
        prompt: &Prompt,
        draft: &mut ReplyDraft,
        metered: &mut MeteredCall,
    ) -> Result<StreamEnd, StreamFailure> {
        let failure = |error, draft: &ReplyDraft| StreamFailure {
            error,
            is_after_content: draft.first_content.is_some(),
        };
        // Looked up once: a reply has many pieces.
        let gaps = DELTA_GAP.with(&[&self.companion.name]);
        let mut last_text = None;
        let mut text = String::new();
        let mut deltas = model.generate(call, prompt).await.map_err(|error| failure(error, draft))?;
        while let Some(batch) = deltas.next().await {
            let batch = batch.map_err(|error| failure(error, draft))?;
            // A failure that comes first can still become an HTTP error, or another model can take over.
            if batch.iter().any(|delta| !matches!(delta, Delta::Failed(_))) {
                self.log.begin();
            }
            text.clear();
            let mut end = None;
            for delta in batch {
                metered.add(&delta);
                match delta {
                    Delta::Text(more) => push_storable(&mut text, &more),
                    Delta::ToolCall(_) => {
                        draft.first_content = draft.first_content.or_else(|| Some(Instant::now()))
                    }
                    Delta::Finish(finish) => {
                        end = Some(contract::finish_reason(&finish.reason).ok_or_else(|| {
                            Cause::Contract("the end of the reply has no reason, or an overlong one".into())
                        }));
                    }
                    Delta::Failed(failed) => end = Some(Err(Cause::Failed(Box::new(failed)))),
                    Delta::Usage(_) | Delta::Thinking(_) | Delta::Other(_) => {}
                }
                if end.is_some() {
                    break;
                }
            }
            // After every batch: a turn that is cancelled drops this future.
            (draft.reported, draft.usage) = (metered.reported(), metered.usage());
            if !text.is_empty() {
                let now = Instant::now();
                if let (Some(gaps), Some(last)) = (&gaps, last_text.replace(now)) {
                    gaps.observe(now.duration_since(last).as_secs_f64());
                }
            }
            if !self.write(&text, draft) {
                // Returning drops the stream, which stops the model.
                draft.finish = Some("length");
                return Ok(StreamEnd::OfHost);
            }
            match end {
                Some(Ok(finish)) => {
                    draft.finish = Some(finish);
                    return Ok(StreamEnd::OfModel);
                }
                Some(Err(cause)) => return Err(failure(model_error(model, cause), draft)),
                None => {}
            }
        }
        Err(failure(model_error(model, Cause::Truncated), draft))
    }

    /// Writes to the log and the draft. False if the reply limit was reached.
    fn write(&self, text: &str, draft: &mut ReplyDraft) -> bool {
        if text.is_empty() {
            return true;
        }
        draft.first_content.get_or_insert_with(Instant::now);
        let written = self.log.write(text);
        draft.text.push_str(text.get(..written.unwrap_or_else(|full| full.written)).unwrap_or_default());
        written.is_ok()
    }

    /// Logs a failed call with what the plugin said, without what that repeats of `messages`, and returns what the client is
    /// told.
    fn report_failure(
        &self,
        plugin_kind: PluginKind,
        error: &CallError,
        call: &OpenCall,
        messages: &MessageTexts,
    ) -> Problem {
        call.fail(error.code());
        log_failed_call(error, &self.redactor, messages);
        match self.capabilities.meter().refusal() {
            // The plugin's question to the model was refused for want of tokens.
            Some(spent) if plugin_kind != PluginKind::Model => spent.problem(),
            _ => call_problem(plugin_kind, error),
        }
    }

    fn call(&self, plugin: &Plugin, open: &OpenCall, trace: &SpanParent) -> Call {
        Call { report: open.report(), ..self.capabilities.call(plugin, self.deadline, trace.clone()) }
    }

    /// Sets `turn.deadline_ms` to the time left for the whole turn, and returns the time now.
    fn begin_call(&self, turn: &mut Turn) -> Instant {
        let now = Instant::now();
        turn.deadline_ms = whole_ms(self.deadline.saturating_duration_since(now));
        now
    }
}

fn model_error(model: &Plugin, cause: Cause) -> CallError {
    CallError {
        plugin: model.name().to_owned(),
        version: model.package().description().version.clone(),
        function: "generate",
        cause,
        denied: Vec::new(),
        missing_grants: Vec::new(),
        error_output: Vec::new(),
    }
}
