//! The record of a turn in an export: what it took and cost, without the texts of plugins. Those are prompts and settings of the
//! operator; the user's messages and memories, which they may quote, are in sections of their own.

use masque_store::{RecordedHostCall, RecordedStep, RecordedTurn, UnreadableTurnRecord};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::view::timestamp;

/// A record as an export has it.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportedTurnRecordEntry)]
#[serde(untagged)]
#[allow(dead_code, reason = "describes what `export` writes")]
pub(super) enum RecordEntry {
    Readable(Box<RecordView>),
    Unreadable(UnreadableRecordView),
}

/// Stands for a record that this version of the host can't read.
#[derive(Serialize, ToSchema)]
#[schema(as = UnreadableTurnRecord)]
pub(super) struct UnreadableRecordView {
    turn_id: Uuid,
    attempt: i64,
    conversation_id: Uuid,
    /// Why it can't be read: `newer-format` if a later version has written it, which can export it, or `damaged`.
    #[schema(example = "newer-format")]
    unreadable: &'static str,
    /// The number of a later format.
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<u32>,
}

impl From<UnreadableTurnRecord> for UnreadableRecordView {
    fn from(record: UnreadableTurnRecord) -> Self {
        let UnreadableTurnRecord { turn, attempt, conversation, newer_format } = record;
        Self {
            turn_id: turn.into(),
            attempt,
            conversation_id: conversation.into(),
            unreadable: if newer_format.is_some() { "newer-format" } else { "damaged" },
            format: newer_format,
        }
    }
}

/// The record of an attempt of a turn, without texts.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportedTurnRecord)]
pub(super) struct RecordView {
    turn_id: Uuid,
    attempt: u32,
    conversation_id: Uuid,
    companion: String,
    request_id: String,
    trace_id: String,
    #[schema(format = DateTime)]
    started_at: String,
    /// `completed`, `failed`, `interrupted` or `cancelled`.
    outcome: String,
    /// The type of the problem that ended it.
    problem: Option<String>,
    /// As in the answer to the turn.
    #[schema(value_type = Object)]
    timing: Value,
    #[schema(value_type = Object)]
    usage: Value,
    /// The message that the turn answers, by id and digest.
    #[schema(value_type = Object)]
    message: Value,
    /// The calls of plugins.
    steps: Vec<StepView>,
}

/// One call of a plugin.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportedTurnStep)]
struct StepView {
    function: String,
    kind: String,
    plugin: String,
    version: String,
    started_us: u64,
    duration_us: u64,
    /// `ok`, or the code of the failure.
    outcome: String,
    /// What the plugin asked the host for.
    host_calls: Vec<HostCallView>,
}

/// One request of a plugin to the host.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportedTurnHostCall)]
struct HostCallView {
    interface: String,
    operation: String,
    duration_us: u64,
    /// `ok`, or the code of the failure.
    outcome: String,
}

impl From<RecordedTurn> for RecordView {
    fn from(record: RecordedTurn) -> Self {
        Self {
            turn_id: record.turn_id.into(),
            attempt: record.attempt,
            conversation_id: record.conversation_id.into(),
            companion: record.companion,
            request_id: record.request_id,
            trace_id: record.trace_id,
            started_at: timestamp(i64::try_from(record.started_at).unwrap_or(i64::MAX)),
            outcome: record.outcome,
            problem: record.problem,
            timing: record.timing,
            usage: record.usage,
            message: record.message,
            steps: record.steps.into_iter().map(StepView::from).collect(),
        }
    }
}

impl From<RecordedStep> for StepView {
    fn from(step: RecordedStep) -> Self {
        Self {
            function: step.function,
            kind: step.kind,
            plugin: step.plugin,
            version: step.version,
            started_us: step.started_us,
            duration_us: step.duration_us,
            outcome: step.outcome,
            host_calls: step.host_calls.into_iter().map(HostCallView::from).collect(),
        }
    }
}

impl From<RecordedHostCall> for HostCallView {
    fn from(call: RecordedHostCall) -> Self {
        let RecordedHostCall { interface, operation, duration_us, outcome, .. } = call;
        Self { interface, operation, duration_us, outcome }
    }
}

#[cfg(test)]
mod tests {
    use masque_store::{ConversationId, ExportItem, RecordedTurn, TurnId};
    use serde_json::{Value, json};

    use super::RecordView;
    use crate::user_data::view::write_item;

    #[test]
    fn a_record_that_can_not_be_read_is_named_with_why() {
        let (turn, conversation) = (TurnId::new(), ConversationId::new());
        for (body, unreadable, format) in
            [("{\"format\": 99}", "newer-format", json!(99)), ("{", "damaged", Value::Null)]
        {
            let mut text = Vec::new();
            let item = ExportItem::turn_record(body.as_bytes(), turn, 3, conversation);
            write_item(&mut text, item).unwrap();
            let written: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!((&written["unreadable"], &written["format"]), (&json!(unreadable), &format), "{body}");
            assert_eq!((&written["turn_id"], &written["attempt"]), (&json!(turn.to_string()), &json!(3)));
        }
    }

    #[test]
    fn an_exported_record_has_its_steps_and_no_text_of_a_plugin() {
        let planted = json!({ "text": "planted" });
        let call = json!({
            "interface": "models", "operation": "generate", "started_us": 1, "duration_us": 2, "outcome": "ok",
            "detail": planted,
        });
        let step = json!({
            "function": "compose", "kind": "persona", "plugin": "elara", "version": "1.0.0", "digest": "sha256:1",
            "settings_digest": "planted", "grants": ["planted"], "started_us": 3, "duration_us": 4,
            "instantiation_us": 5, "cpu_us": 6, "peak_memory_bytes": 7, "limits": planted, "outcome": "ok",
            "received": planted, "returned": planted, "host_calls": [call], "host_calls_dropped": 0,
        });
        let record: RecordedTurn = serde_json::from_value(json!({
            "format": 1, "turn_id": "018f0000-0000-7000-8000-000000000000", "attempt": 2,
            "conversation_id": "018f0000-0000-7000-8000-000000000001", "companion": "elara", "generation": 1,
            "host": "planted", "request_id": "r-1", "trace_id": "t", "started_at": 0, "content": "full",
            "outcome": "completed", "timing": { "total_ms": 9 }, "usage": {}, "message": { "id": "m" },
            "steps": [step], "truncated": false,
        }))
        .unwrap();
        let exported = serde_json::to_value(RecordView::from(record)).unwrap();
        assert!(!exported.to_string().contains("planted"), "{exported}");
        assert_eq!(exported["started_at"], "1970-01-01T00:00:00.000Z");
        assert_eq!(exported["timing"]["total_ms"], 9);
        assert_eq!(exported["steps"][0]["plugin"], "elara");
        assert_eq!(exported["steps"][0]["host_calls"][0]["operation"], "generate");
    }
}
