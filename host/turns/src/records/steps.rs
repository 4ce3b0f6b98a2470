//! The steps of a record: one call of a plugin each. Pure.

use std::borrow::Cow;
use std::time::Duration;

use masque_companions::ActiveSet;
use masque_grants::{Grants, Limits};
use masque_runtime::{CallFacts, HostCall};
use masque_store::{Started, UsageRecord};
use serde::Serialize;

use super::call_log::{CallInput, CallOutput, LoggedCall};
use super::messages::{
    PromptReference, PromptView, RecollectionView, StoredView, Texts, as_json, digest, prompt,
    prompt_reference, recollected_tokens, recollection, safe_name, stored,
};
use super::{BuiltHostCall, BuiltStep};
use crate::draft::ReplyDraft;
use crate::tokens::estimated_tokens;

/// What the steps of one turn have in common.
pub(super) struct StepContext<'a> {
    pub(super) set: &'a ActiveSet,
    pub(super) started: &'a Started,
    pub(super) draft: &'a ReplyDraft,
}

/// What a plugin was given.
#[derive(Serialize)]
#[serde(untagged)]
enum Received<'a> {
    /// The call has no input that is recorded.
    Nothing,
    Recall {
        message: StoredView<'a>,
        tail: Vec<StoredView<'a>>,
        budget_tokens: u32,
    },
    Compose {
        message: StoredView<'a>,
        tail_messages: usize,
        recollection: Option<RecollectionSize>,
    },
    /// The prompt that the step before shows.
    Generate {
        prompt: PromptReference,
    },
    /// The prompt of a plugin that asks.
    Asked {
        asked_by: &'a str,
        prompt: PromptView<'a>,
    },
}

#[derive(Serialize)]
struct RecollectionSize {
    messages: usize,
    memories: usize,
    tokens: u64,
}

/// What a plugin has returned.
#[derive(Serialize)]
#[serde(untagged)]
enum Returned<'a> {
    /// It has returned nothing, or failed.
    Nothing,
    Recollection(RecollectionView<'a>),
    Prompt {
        prompt: PromptView<'a>,
    },
    Reply {
        #[serde(skip_serializing_if = "Option::is_none")]
        finish: Option<Cow<'a, str>>,
        usage: UsageView,
        reply: ReplyView,
    },
}

/// A reply, with its digest and its text where no other step shows them.
#[derive(Serialize)]
struct ReplyView {
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    bytes: usize,
    tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// Tokens as clients are told.
#[derive(Serialize)]
pub(super) struct UsageView {
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
    estimated: bool,
}

impl From<UsageRecord> for UsageView {
    fn from(usage: UsageRecord) -> Self {
        let UsageRecord { input_tokens, output_tokens, cached_tokens, estimated } = usage;
        Self { input_tokens, output_tokens, cached_tokens, estimated }
    }
}

/// The limits of a call.
#[derive(Serialize)]
struct LimitsView {
    wall_us: u64,
    cpu_us: u64,
    memory_bytes: usize,
    questions: usize,
    requests: usize,
    state_writes: usize,
}

/// The step of a call. `before` are the calls that began earlier; `is_last` if no later call has begun.
pub(super) fn step(
    call: &LoggedCall,
    before: &[LoggedCall],
    is_last_model: bool,
    context: &StepContext<'_>,
    texts: &mut Texts<'_>,
) -> BuiltStep {
    let facts = call.report.facts();
    let CallFacts { instantiation, cpu, peak_memory, host_calls, host_calls_dropped, .. } = facts;
    let package = call.plugin.package();
    let name = call.plugin.name();
    BuiltStep {
        function: call.function.to_owned(),
        kind: package.kind().to_string(),
        plugin: name.to_owned(),
        version: package.description().version.clone(),
        digest: package.digest().to_owned(),
        settings_digest: context
            .set
            .plugins
            .get(name)
            .map(|plugin| plugin.settings_digest().to_owned())
            .unwrap_or_default(),
        grants: grant_names(call.plugin.grants()),
        started_us: micros(call.started),
        duration_us: micros(call.duration.unwrap_or_default()),
        instantiation_us: micros(instantiation),
        cpu_us: micros(cpu),
        peak_memory_bytes: peak_memory,
        limits: as_json(&limits(call.plugin.limits())),
        outcome: call.outcome.to_owned(),
        received: as_json(&received(call, before, context, texts)),
        returned: as_json(&returned(call, is_last_model, context, texts)),
        host_calls: host_calls.into_iter().map(host_call).collect(),
        host_calls_dropped,
    }
}

fn received<'a>(
    call: &'a LoggedCall,
    before: &[LoggedCall],
    context: &StepContext<'a>,
    texts: &mut Texts<'_>,
) -> Received<'a> {
    let message = || stored(&context.started.message);
    match &call.input {
        None => Received::Nothing,
        Some(CallInput::Recall { budget }) => {
            let tail = context.started.tail.iter().map(stored).collect();
            Received::Recall { message: message(), tail, budget_tokens: *budget }
        }
        Some(CallInput::Compose) => {
            let recollection = before.iter().rev().find_map(|earlier| match &earlier.output {
                CallOutput::Recollection(recalled) => Some(RecollectionSize {
                    messages: recalled.messages.len(),
                    memories: recalled.memories.len(),
                    tokens: recollected_tokens(recalled),
                }),
                _ => None,
            });
            Received::Compose { message: message(), tail_messages: context.started.tail.len(), recollection }
        }
        Some(CallInput::Generate { prompt, asked_by: None }) => {
            Received::Generate { prompt: prompt_reference(prompt, texts) }
        }
        Some(CallInput::Generate { prompt, asked_by: Some(plugin) }) => {
            Received::Asked { asked_by: plugin, prompt: self::prompt(prompt, texts) }
        }
    }
}

fn returned<'a>(
    call: &'a LoggedCall,
    is_last_model: bool,
    context: &StepContext<'_>,
    texts: &mut Texts<'_>,
) -> Returned<'a> {
    let is_of_turn = matches!(call.input, Some(CallInput::Generate { asked_by: None, .. }));
    let draft = context.draft;
    match &call.output {
        CallOutput::Recollection(recalled) => Returned::Recollection(recollection(recalled, texts)),
        CallOutput::Prompt(composed) => Returned::Prompt { prompt: prompt(composed, texts) },
        CallOutput::Reply { finish, text_bytes, usage } => {
            let (bytes, tokens) = (*text_bytes, estimated_tokens(*text_bytes));
            let reply = match is_of_turn {
                true => reply(&draft.text, texts),
                // The step of the plugin that asked shows the text.
                false => ReplyView { digest: None, bytes, tokens, text: None },
            };
            Returned::Reply { finish: Some(safe_name(finish)), usage: UsageView::from(*usage), reply }
        }
        // A reply that was cut off is kept as far as it had come.
        CallOutput::Nothing if is_of_turn && is_last_model && !draft.text.is_empty() => Returned::Reply {
            finish: None,
            usage: UsageView::from(draft.usage),
            reply: reply(&draft.text, texts),
        },
        CallOutput::Nothing => Returned::Nothing,
    }
}

fn reply(text: &str, texts: &mut Texts<'_>) -> ReplyView {
    ReplyView {
        digest: Some(digest(text)),
        bytes: text.len(),
        tokens: estimated_tokens(text.len()),
        text: texts.keep(text),
    }
}

fn host_call(call: HostCall) -> BuiltHostCall {
    let HostCall { interface, operation, started, duration, outcome, detail } = call;
    BuiltHostCall {
        interface: interface.to_owned(),
        operation,
        started_us: micros(started),
        duration_us: micros(duration),
        outcome,
        detail: as_json(&detail),
    }
}

/// The grants by the names in the configuration; credentials by their own names.
fn grant_names(grants: &Grants) -> Vec<String> {
    let Grants { http, networks, credentials, state, state_shared, history, models, scratch, reuse } = grants;
    let mut names: Vec<_> = http.iter().map(|grant| format!("http {}", grant.origin())).collect();
    names.extend(networks.iter().map(|network| format!("networks {network}")));
    names.extend(credentials.iter().map(|credential| format!("credentials {}", credential.name())));
    let others = [
        ("state", *state),
        ("state_shared", *state_shared),
        ("history", *history),
        ("models", *models),
        ("scratch", scratch.is_some()),
        ("reuse", reuse.is_some()),
    ];
    names.extend(others.into_iter().filter(|(_, is_granted)| *is_granted).map(|(name, _)| name.to_owned()));
    names
}

fn limits(limits: &Limits) -> LimitsView {
    LimitsView {
        wall_us: micros(limits.wall),
        cpu_us: micros(limits.cpu),
        memory_bytes: limits.memory_bytes,
        questions: limits.questions,
        requests: limits.requests,
        state_writes: limits.state_writes,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
