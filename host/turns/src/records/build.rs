//! Builds the record of a turn that has ended. Pure, but for the host's clock.

use masque_companions::ActiveSet;
use masque_runtime::ReportContent;
use masque_store::{RECORD_FORMAT, Started};
use serde::Serialize;
use uuid::Uuid;

use super::BuiltRecord;
use super::call_log::{CallInput, CallLog, LoggedCall};
use super::messages::{Texts, as_json, stored};
use super::options::RecordContent;
use super::steps::{StepContext, UsageView, step};
use crate::clock::{fractional_ms, now_ms, whole_ms};
use crate::draft::ReplyDraft;
use crate::log::TurnEnd;
use crate::request::ChatRequest;
use crate::timing::TurnTiming;

/// How the turn ended.
pub(crate) struct RecordedEnd<'a> {
    /// `completed`, `failed`, `interrupted`, `cancelled` or `refused`.
    pub(crate) outcome: &'a str,
    pub(crate) end: &'a TurnEnd,
    pub(crate) draft: &'a ReplyDraft,
    pub(crate) timing: &'a TurnTiming,
}

#[derive(Serialize)]
struct TimingView {
    first_content_ms: Option<f64>,
    total_ms: f64,
    host_ms: f64,
    upstream_ms: f64,
}

/// The record of one attempt of a turn, which used `set` and made these calls. It takes the calls out of the log.
pub(crate) fn build(
    host: Uuid,
    request: &ChatRequest,
    set: &ActiveSet,
    started: &Started,
    calls: &CallLog,
    ended: &RecordedEnd<'_>,
) -> BuiltRecord {
    let content = calls.content().unwrap_or(ReportContent::Digests);
    let mut texts = Texts::new(content, &set.redactor);
    let upstream_wait = calls.upstream_wait();
    let listed = calls.take();
    let context = StepContext { set, started, draft: ended.draft };
    let last_model = listed.iter().rposition(is_of_turn);
    let steps = listed.iter().enumerate().map(|(index, call)| {
        let before = listed.get(..index).unwrap_or_default();
        step(call, before, last_model == Some(index), &context, &mut texts)
    });
    let steps = steps.collect();
    let problem = match ended.end {
        TurnEnd::Failed(problem) => Some(problem.kind.name().to_owned()),
        TurnEnd::Completed(_) => None,
    };
    let TurnTiming { first_content, total, .. } = ended.timing;
    let timing = TimingView {
        first_content_ms: first_content.map(fractional_ms),
        total_ms: fractional_ms(*total),
        host_ms: fractional_ms(ended.timing.host()),
        upstream_ms: fractional_ms(upstream_wait),
    };
    BuiltRecord {
        format: RECORD_FORMAT,
        turn_id: started.turn,
        attempt: started.attempt,
        conversation_id: started.conversation,
        companion: started.companion.clone(),
        generation: set.generation,
        host: host.to_string(),
        request_id: request.request_id.clone(),
        trace_id: format!("{:032x}", request.trace.trace_id()),
        started_at: now_ms().saturating_sub(whole_ms(calls.elapsed())),
        content: content_name(content).to_owned(),
        outcome: ended.outcome.to_owned(),
        problem,
        timing: as_json(&timing),
        usage: as_json(&UsageView::from(ended.draft.usage)),
        message: as_json(&stored(&started.message)),
        steps,
        truncated: texts.truncated,
    }
}

/// Whether the call was to write the reply, and not to answer a plugin.
fn is_of_turn(call: &LoggedCall) -> bool {
    matches!(call.input, Some(CallInput::Generate { asked_by: None, .. }))
}

fn content_name(content: ReportContent) -> &'static str {
    match content {
        ReportContent::Full => RecordContent::Full.name(),
        ReportContent::Digests | ReportContent::Times => RecordContent::Digests.name(),
    }
}
