//! The path of a reply through the plugins: recall, compose, generate. What is said goes into the turn's log as it
//! comes; what has become of it is in a [`Draft`], which outlives the path when the path is cut short by dropping it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use masque_runtime::contract::{Delta, Prompt, Turn};
use masque_runtime::{CallError, Cause, Kind as Role, Plugin};
use masque_store::{MessageRecord, Started, UsageRecord};

use super::contract;
use super::failure;
use super::lend::Lender;
use super::log::Log;
use super::reply::Share;
use crate::active::{Companion, Redactor};
use crate::problem::Problem;

/// A reply as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) text: String,
    pub(crate) usage: UsageRecord,
    /// Of the text that the model is asked with.
    pub(crate) prompt_bytes: usize,
    /// Why the model stopped, once it has.
    pub(crate) finish: Option<&'static str>,
    /// The plugins that made it.
    pub(crate) shares: Vec<Share>,
    /// Spent in models that failed before their first content.
    pub(crate) failed_over: Duration,
    pub(crate) first_content: Option<Instant>,
    /// The model that writes, or wrote last.
    pub(crate) model: Option<String>,
}

/// What one turn's path needs.
pub(crate) struct Path {
    pub(crate) companion: Arc<Companion>,
    /// To be tried in this order; never empty.
    pub(crate) models: Vec<Arc<Plugin>>,
    pub(crate) lender: Arc<Lender>,
    pub(crate) log: Arc<Log>,
    pub(crate) redactor: Arc<Redactor>,
    /// The end of the turn.
    pub(crate) deadline: Instant,
}

/// How a model's stream went wrong.
struct Broken {
    error: CallError,
    /// Whether the reader has seen something of it.
    after_content: bool,
}

impl Path {
    /// Walks the path to its end; the reply is then whole in `draft`.
    ///
    /// # Errors
    /// What the client is told. What the plugin said is in the log.
    pub(crate) async fn walk(&self, mut turn: Turn, draft: &mut Draft) -> Result<(), Problem> {
        let Companion { memory, persona, options, memory_budget, .. } = &*self.companion;

        let began = self.begin(&mut turn);
        let recalled = memory.recall(self.call(memory), &turn, *memory_budget).await;
        let recalled = recalled.map_err(|error| self.failed(Role::Memory, &error))?;
        draft.shares.push(Share::of(memory, began.elapsed()));

        let began = self.begin(&mut turn);
        let prompt = persona.compose(self.call(persona), &turn, recalled).await;
        let mut prompt = prompt.map_err(|error| self.failed(Role::Persona, &error))?;
        draft.shares.push(Share::of(persona, began.elapsed()));

        contract::override_options(&mut prompt.options, options);
        draft.prompt_bytes = contract::text_bytes(&prompt);
        self.generate(&prompt, draft).await
    }

    /// The first model that gives content serves.
    async fn generate(&self, prompt: &Prompt, draft: &mut Draft) -> Result<(), Problem> {
        let mut models = self.models.iter().peekable();
        loop {
            let Some(model) = models.next() else {
                return Err(Problem::from(crate::problem::Kind::Internal));
            };
            draft.model = Some(model.name().to_owned());
            draft.usage = UsageRecord::default();
            let began = Instant::now();
            let Err(broken) = self.stream(model, prompt, draft).await else {
                draft.shares.push(Share::of(model, began.elapsed()));
                return Ok(());
            };
            let problem = self.failed(Role::Model, &broken.error);
            let late = Instant::now() >= self.deadline;
            if broken.after_content
                || late
                || models.peek().is_none()
                || !failure::may_fall_over(&broken.error)
            {
                return Err(problem);
            }
            draft.failed_over += began.elapsed();
            tracing::warn!(model = model.name(), code = broken.error.code(), "the next model takes over");
        }
    }

    /// Streams one model's reply into the log until it is whole or has reached the reply limit.
    async fn stream(&self, model: &Arc<Plugin>, prompt: &Prompt, draft: &mut Draft) -> Result<(), Broken> {
        let broken = |error, draft: &Draft| Broken { error, after_content: draft.first_content.is_some() };
        let mut deltas =
            model.generate(self.call(model), prompt).await.map_err(|error| broken(error, draft))?;
        while let Some(batch) = deltas.next().await {
            let batch = batch.map_err(|error| broken(error, draft))?;
            // A failure that comes first can still be a real HTTP error, or another model's turn.
            if batch.iter().any(|delta| !matches!(delta, Delta::Failed(_))) {
                self.log.begin();
            }
            let mut text = String::new();
            let mut end = None;
            for delta in batch {
                match delta {
                    Delta::Text(more) => text.push_str(&more),
                    Delta::Usage(usage) => {
                        draft.usage = UsageRecord {
                            input_tokens: usage.input_tokens,
                            output_tokens: usage.output_tokens,
                            cached_tokens: usage.cached_tokens,
                        };
                    }
                    Delta::ToolCall(_) => {
                        draft.first_content = draft.first_content.or_else(|| Some(Instant::now()))
                    }
                    Delta::Finish(finish) => {
                        end = Some(contract::finish(&finish.reason).ok_or_else(|| {
                            Cause::Contract("the end of the reply has no reason, or an overlong one".into())
                        }));
                    }
                    Delta::Failed(failure) => end = Some(Err(Cause::Failed(Box::new(failure)))),
                    Delta::Thinking(_) | Delta::Other(_) => {}
                }
                if end.is_some() {
                    break;
                }
            }
            if !self.say(&text, draft) {
                // Dropping the stream stops the model.
                draft.finish = Some("length");
                return Ok(());
            }
            match end {
                Some(Ok(finish)) => {
                    draft.finish = Some(finish);
                    return Ok(());
                }
                Some(Err(cause)) => return Err(broken(self.error(model, cause), draft)),
                None => {}
            }
        }
        Err(broken(self.error(model, Cause::Truncated), draft))
    }

    /// Whether all of it fitted.
    fn say(&self, text: &str, draft: &mut Draft) -> bool {
        if text.is_empty() {
            return true;
        }
        draft.first_content.get_or_insert_with(Instant::now);
        let written = self.log.write(text);
        draft.text.push_str(text.get(..written.unwrap_or_else(|full| full.written)).unwrap_or_default());
        written.is_ok()
    }

    fn error(&self, model: &Plugin, cause: Cause) -> CallError {
        CallError {
            plugin: model.name().to_owned(),
            version: model.package().description().version.clone(),
            function: "generate",
            cause,
            denied: Vec::new(),
        }
    }

    /// What is told of a failed call, after the whole story went to the log.
    fn failed(&self, role: Role, error: &CallError) -> Problem {
        let cause = self.redactor.clean(error);
        tracing::warn!(
            plugin = error.plugin,
            function = error.function,
            code = error.code(),
            cause,
            "a call failed"
        );
        failure::problem(role, error)
    }

    fn call(&self, plugin: &Plugin) -> masque_runtime::Call {
        self.lender.call(plugin, self.deadline)
    }

    /// A call begins: it is told how long the turn has left.
    fn begin(&self, turn: &mut Turn) -> Instant {
        let began = Instant::now();
        turn.deadline_ms = whole_ms(self.deadline.saturating_duration_since(began));
        began
    }
}

/// The turn as plugins see it. `deadline_ms` is set anew for every call.
pub(crate) fn turn(started: &Started, owner: &masque_store::Owner) -> Turn {
    Turn {
        id: started.turn.to_string(),
        attempt: started.attempt,
        conversation: started.conversation.to_string(),
        companion: started.companion.clone(),
        tenant: owner.tenant.clone(),
        user: contract::user(owner),
        message: contract::message(&started.message),
        tail: started.tail.iter().map(contract::message).collect(),
        has_earlier: contract::has_earlier(&started.tail, started.message.sequence),
        now: now_ms(),
        deadline_ms: 0,
        metadata: metadata(&started.message),
    }
}

/// The request's metadata, which is stored with the user's message.
pub(crate) fn metadata(message: &MessageRecord) -> Vec<masque_runtime::contract::Property> {
    message.metadata.as_object().map(contract::properties).unwrap_or_default()
}

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    whole_ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(crate) fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
