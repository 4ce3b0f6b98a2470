//! The steps of a record: one call of a plugin each. Pure.

use std::time::Duration;

use masque_companions::ActiveSet;
use masque_grants::{Grants, Limits};
use masque_runtime::{CallFacts, HostCall};
use masque_store::{MessageRecord, RecordedHostCall, RecordedStep, Started, UsageRecord};
use serde_json::{Value, json};

use super::call_log::{CallInput, CallOutput, LoggedCall};
use super::messages::{
    Texts, digest, prompt, prompt_reference, recollected_tokens, recollection, reference, safe_name,
};
use crate::draft::ReplyDraft;
use crate::tokens::estimated_tokens;

/// What the steps of one turn have in common.
pub(super) struct StepContext<'a> {
    pub(super) set: &'a ActiveSet,
    pub(super) started: &'a Started,
    pub(super) draft: &'a ReplyDraft,
}

/// The step of a call. `before` are the calls that began earlier; `is_last` if no later call has begun.
pub(super) fn step(
    call: &LoggedCall,
    before: &[LoggedCall],
    is_last_model: bool,
    context: &StepContext<'_>,
    texts: &mut Texts<'_>,
) -> RecordedStep {
    let facts = call.report.facts();
    let CallFacts { instantiation, cpu, peak_memory, host_calls, host_calls_dropped, .. } = facts;
    let package = call.plugin.package();
    let name = call.plugin.name();
    RecordedStep {
        function: call.function.to_owned(),
        kind: package.kind().to_string(),
        plugin: name.to_owned(),
        version: package.description().version.clone(),
        digest: package.digest().to_owned(),
        settings_digest: context
            .set
            .plugins
            .get(name)
            .map(|plugin| plugin.settings_digest())
            .unwrap_or_default(),
        grants: grant_names(call.plugin.grants()),
        started_us: micros(call.started),
        duration_us: micros(call.duration.unwrap_or_default()),
        instantiation_us: micros(instantiation),
        cpu_us: micros(cpu),
        peak_memory_bytes: peak_memory,
        limits: limits(call.plugin.limits()),
        outcome: call.outcome.to_owned(),
        received: received(call, before, context, texts),
        returned: returned(call, is_last_model, context, texts),
        host_calls: host_calls.into_iter().map(host_call).collect(),
        host_calls_dropped,
    }
}

fn received(
    call: &LoggedCall,
    before: &[LoggedCall],
    context: &StepContext<'_>,
    texts: &mut Texts<'_>,
) -> Value {
    match &call.input {
        None => Value::Null,
        Some(CallInput::Recall { budget }) => {
            let tail: Vec<_> = context.started.tail.iter().map(stored).collect();
            json!({ "message": stored(&context.started.message), "tail": tail, "budget_tokens": budget })
        }
        Some(CallInput::Compose) => {
            let recalled = before.iter().rev().find_map(|earlier| match &earlier.output {
                CallOutput::Recollection(recalled) => Some(recalled),
                _ => None,
            });
            let recalled = recalled.map(|recalled| {
                json!({
                    "messages": recalled.messages.len(),
                    "memories": recalled.memories.len(),
                    "tokens": recollected_tokens(recalled),
                })
            });
            json!({
                "message": stored(&context.started.message),
                "tail_messages": context.started.tail.len(),
                "recollection": recalled,
            })
        }
        Some(CallInput::Generate { prompt, asked_by: None }) => json!({ "prompt": prompt_reference(prompt) }),
        Some(CallInput::Generate { prompt, asked_by: Some(plugin) }) => {
            json!({ "asked_by": plugin, "prompt": self::prompt(prompt, texts) })
        }
    }
}

fn returned(
    call: &LoggedCall,
    is_last_model: bool,
    context: &StepContext<'_>,
    texts: &mut Texts<'_>,
) -> Value {
    let is_of_turn = matches!(call.input, Some(CallInput::Generate { asked_by: None, .. }));
    match &call.output {
        CallOutput::Recollection(recalled) => recollection(recalled, texts),
        CallOutput::Prompt(composed) => json!({ "prompt": prompt(composed, texts) }),
        CallOutput::Reply { finish, text_bytes, usage } => {
            let mut returned = json!({ "finish": safe_name(finish), "usage": usage_value(*usage) });
            if let Some(members) = returned.as_object_mut() {
                let reply = match is_of_turn {
                    true => reply(&context.draft.text, texts),
                    // The step of the plugin that asked shows the text.
                    false => json!({ "bytes": text_bytes, "tokens": estimated_tokens(*text_bytes) }),
                };
                members.insert("reply".into(), reply);
            }
            returned
        }
        // A reply that was cut off is kept as far as it had come.
        CallOutput::Nothing if is_of_turn && is_last_model && !context.draft.text.is_empty() => {
            json!({ "reply": reply(&context.draft.text, texts), "usage": usage_value(context.draft.usage) })
        }
        CallOutput::Nothing => Value::Null,
    }
}

fn reply(text: &str, texts: &mut Texts<'_>) -> Value {
    let mut object =
        json!({ "digest": digest(text), "bytes": text.len(), "tokens": estimated_tokens(text.len()) });
    texts.put(&mut object, "text", text);
    object
}

/// A message of the conversation.
pub(super) fn stored(message: &MessageRecord) -> Value {
    reference(&message.id.to_string(), &message.role, &message.content)
}

/// Tokens as clients are told.
pub(super) fn usage_value(usage: UsageRecord) -> Value {
    json!({
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "estimated": usage.estimated,
    })
}

fn host_call(call: HostCall) -> RecordedHostCall {
    let HostCall { interface, operation, started, duration, outcome, detail } = call;
    RecordedHostCall {
        interface: interface.to_owned(),
        operation,
        started_us: micros(started),
        duration_us: micros(duration),
        outcome,
        detail,
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

fn limits(limits: &Limits) -> Value {
    json!({
        "wall_us": micros(limits.wall),
        "cpu_us": micros(limits.cpu),
        "memory_bytes": limits.memory_bytes,
        "questions": limits.questions,
        "requests": limits.requests,
        "state_writes": limits.state_writes,
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
