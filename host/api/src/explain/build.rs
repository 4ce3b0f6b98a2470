//! Makes the explanation of a record.

use masque_store::{
    Conversations, OwnedTurnRecord, RecordedHostCall, RecordedStep, RecordedTurn, StoreError, Turns,
};
use serde_json::Value;

use super::content_access::ContentAccess;
use super::prompt::{message, prompt};
use super::recorded::{RecordedMemory, list, number, read, text, timing, usage};
use super::stored::{StoredMessage, StoredTexts, message_of_source};
use super::view::{
    ExplainedHostCall, ExplainedMemory, ExplainedRecollection, ExplainedReply, ExplainedStep, Explanation,
};
use crate::view::timestamp;

/// The explanation of a turn. `None` if the turn was deleted since the record was read.
///
/// Who may see it, and whether that is recorded in the audit log, is up to the caller.
///
/// # Errors
/// The store can't be read.
pub async fn explanation<S>(
    store: &S,
    owned: &OwnedTurnRecord,
    access: ContentAccess,
) -> Result<Option<Explanation>, StoreError>
where
    S: Turns + Conversations + ?Sized,
{
    let texts = StoredTexts::load(store, owned).await?;
    Ok(texts.map(|texts| explain(&owned.record, &texts, access)))
}

fn explain(record: &RecordedTurn, texts: &StoredTexts, access: ContentAccess) -> Explanation {
    let shows_content = access.shows_content();
    let composed = last(record, "compose", |step| step.returned.get("prompt"));
    Explanation {
        turn_id: record.turn_id.as_uuid(),
        conversation_id: record.conversation_id.as_uuid(),
        companion: record.companion.clone(),
        attempt: record.attempt,
        recorded: record.content.clone(),
        shows_content,
        truncated: record.truncated,
        outcome: record.outcome.clone(),
        problem: record.problem.clone(),
        started_at: timestamp(i64::try_from(record.started_at).unwrap_or(i64::MAX)),
        request_id: record.request_id.clone(),
        trace_id: record.trace_id.clone(),
        host: shows_content.then(|| record.host.clone()),
        generation: shows_content.then_some(record.generation),
        timing: timing(&record.timing),
        usage: usage(&record.usage),
        message: message(read(&record.message), texts, access),
        recalled: last(record, "recall", |step| Some(step).filter(|step| step.returned.is_object()))
            .map(|step| recollection(step, texts, access)),
        prompt: composed.map(|composed| prompt(composed, texts, access)),
        reply: last(record, "generate", |step| {
            is_of_turn(step).then(|| step.returned.get("reply").map(|reply| (step, reply)))?
        })
        .map(|(step, recorded)| reply(step, recorded, texts)),
        steps: record.steps.iter().map(|step| explain_step(step, texts, access)).collect(),
    }
}

/// What the last step of a function has, if one has it.
fn last<'a, T>(
    record: &'a RecordedTurn,
    function: &str,
    find: impl Fn(&'a RecordedStep) -> Option<T>,
) -> Option<T> {
    record.steps.iter().rev().filter(|step| step.function == function).find_map(find)
}

/// Whether the call was to write the reply, and not to answer a plugin.
fn is_of_turn(step: &RecordedStep) -> bool {
    step.received.get("asked_by").is_none_or(Value::is_null)
}

fn recollection(step: &RecordedStep, texts: &StoredTexts, access: ContentAccess) -> ExplainedRecollection {
    ExplainedRecollection {
        plugin: step.plugin.clone(),
        budget_tokens: number(&step.received, "budget_tokens"),
        tokens: number(&step.returned, "tokens").unwrap_or_default(),
        messages: list(&step.returned, "messages").map(|recorded| message(recorded, texts, access)).collect(),
        memories: list(&step.returned, "memories").map(|recorded| memory(recorded, texts)).collect(),
    }
}

fn memory(recorded: RecordedMemory, texts: &StoredTexts) -> ExplainedMemory {
    let RecordedMemory { id, source, score, digest, bytes, tokens, text } = recorded;
    let origin = source.as_deref().and_then(message_of_source).and_then(|message| texts.find(message));
    let deleted = matches!(origin, Some(StoredMessage::Deleted));
    let not_looked_up = matches!(origin, Some(StoredMessage::NotLookedUp));
    let [text, digest] = [text, digest].map(|shown| shown.filter(|_| !deleted && !not_looked_up));
    ExplainedMemory { id, source, score, bytes, tokens, deleted, not_looked_up, text, digest }
}

fn reply(step: &RecordedStep, recorded: &Value, texts: &StoredTexts) -> ExplainedReply {
    texts.reply(&read(recorded), text(&step.returned, "finish"))
}

fn explain_step(step: &RecordedStep, texts: &StoredTexts, access: ContentAccess) -> ExplainedStep {
    let shows_content = access.shows_content();
    let asked = (!is_of_turn(step)).then(|| step.received.get("prompt")).flatten();
    ExplainedStep {
        function: step.function.clone(),
        kind: step.kind.clone(),
        plugin: step.plugin.clone(),
        version: step.version.clone(),
        digest: step.digest.clone(),
        outcome: step.outcome.clone(),
        started_ms: millis(step.started_us),
        wall_ms: millis(step.duration_us),
        instantiation_ms: millis(step.instantiation_us),
        cpu_ms: millis(step.cpu_us),
        peak_memory_bytes: step.peak_memory_bytes,
        limits: shows_content.then(|| step.limits.clone()),
        settings_digest: shows_content.then(|| step.settings_digest.clone()),
        grants: shows_content.then(|| step.grants.clone()),
        asked_by: text(&step.received, "asked_by"),
        prompt: asked.map(|asked| prompt(asked, texts, access)),
        usage: step.returned.get("usage").map(usage),
        host_calls: step.host_calls.iter().map(|call| host_call(call, shows_content)).collect(),
        host_calls_dropped: step.host_calls_dropped,
    }
}

fn host_call(call: &RecordedHostCall, shows_content: bool) -> ExplainedHostCall {
    ExplainedHostCall {
        interface: call.interface.clone(),
        operation: call.operation.clone(),
        outcome: call.outcome.clone(),
        started_ms: millis(call.started_us),
        wall_ms: millis(call.duration_us),
        detail: shows_content.then(|| call.detail.clone()),
    }
}

/// Microseconds as milliseconds. A time that a `f64` can't hold exactly is longer than 100 years.
#[allow(clippy::cast_precision_loss, reason = "times are far below 2^53 µs")]
fn millis(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}
