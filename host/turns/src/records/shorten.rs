//! Makes a record fit its bound: texts go first, so that versions, timings and what was asked for stay.

use masque_store::RecordedTurn;
use serde_json::Value;

/// A text that is longer is left out of a record that is too large. Ids and digests are shorter.
const SHORT_TEXT: usize = 128;

/// The record with at most `max` bytes, as JSON like `body`. Texts are left out of it: of what plugins asked the host for, then
/// of what they were given and returned; then the requests to the host and what is left of the rest. Each is replaced by
/// `null`, and the record says that it is shortened. `None` if it is too large even so.
pub(super) fn shorten(body: &[u8], max: usize) -> Option<Vec<u8>> {
    const STAGES: [fn(&mut RecordedTurn); 4] =
        [leave_out_texts_of_host_calls, leave_out_texts, leave_out_host_calls, leave_out_values];
    let mut record = RecordedTurn::from_json(body).ok()?;
    record.truncated = true;
    STAGES.into_iter().find_map(|leave_out| {
        leave_out(&mut record);
        serde_json::to_vec(&record).ok().filter(|shortened| shortened.len() <= max)
    })
}

fn leave_out_texts_of_host_calls(record: &mut RecordedTurn) {
    for step in &mut record.steps {
        step.host_calls.iter_mut().for_each(|call| leave_out_long(&mut call.detail));
    }
}

fn leave_out_texts(record: &mut RecordedTurn) {
    for step in &mut record.steps {
        leave_out_long(&mut step.received);
        leave_out_long(&mut step.returned);
    }
}

fn leave_out_host_calls(record: &mut RecordedTurn) {
    for step in &mut record.steps {
        step.host_calls_dropped = step.host_calls_dropped.saturating_add(step.host_calls.len() as u64);
        step.host_calls.clear();
    }
}

fn leave_out_values(record: &mut RecordedTurn) {
    for step in &mut record.steps {
        step.received = Value::Null;
        step.returned = Value::Null;
    }
}

/// Replaces long texts by `null`.
fn leave_out_long(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > SHORT_TEXT => *value = Value::Null,
        Value::Array(items) => items.iter_mut().for_each(leave_out_long),
        Value::Object(members) => members.iter_mut().for_each(|(_, member)| leave_out_long(member)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
pub(super) mod tests {
    use masque_store::{ConversationId, RECORD_FORMAT, RecordedHostCall, RecordedStep, TurnId};
    use serde_json::json;

    use super::*;

    /// A record with texts of these lengths in what the plugin was given and returned, and in a request to the host.
    pub(in crate::records) fn record(received: usize, returned: usize, asked: usize) -> RecordedTurn {
        let text = |bytes| "x".repeat(bytes);
        let call = RecordedHostCall {
            interface: "models".into(),
            operation: "generate".into(),
            started_us: 1,
            duration_us: 2,
            outcome: "ok".into(),
            detail: json!({ "digest": "sha256:3", "text": text(asked) }),
        };
        let step = RecordedStep {
            function: "compose".into(),
            kind: "persona".into(),
            plugin: "elara".into(),
            version: "1.0.0".into(),
            digest: "sha256:1".into(),
            settings_digest: "sha256:2".into(),
            grants: vec!["state".into()],
            started_us: 1,
            duration_us: 2,
            instantiation_us: 3,
            cpu_us: 4,
            peak_memory_bytes: 5,
            limits: json!({ "cpu_us": 6 }),
            outcome: "ok".into(),
            received: json!({ "messages": [{ "id": "m", "text": text(received) }] }),
            returned: json!({ "parts": [{ "source": "card", "text": text(returned) }] }),
            host_calls: vec![call],
            host_calls_dropped: 0,
        };
        RecordedTurn {
            format: RECORD_FORMAT,
            turn_id: TurnId::new(),
            attempt: 1,
            conversation_id: ConversationId::new(),
            companion: "elara".into(),
            generation: 1,
            host: "host-1".into(),
            request_id: "r-1".into(),
            trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
            started_at: 1_700_000_000_000,
            content: "full".into(),
            outcome: "completed".into(),
            problem: None,
            timing: json!({ "total_ms": 12 }),
            usage: json!({ "input_tokens": 11 }),
            message: json!({ "id": "m" }),
            steps: vec![step],
            truncated: false,
        }
    }

    /// The shortened record, if there is one.
    fn shortened(record: &RecordedTurn, max: usize) -> Option<RecordedTurn> {
        let body = shorten(&serde_json::to_vec(record).unwrap(), max)?;
        assert!(body.len() <= max);
        let record = RecordedTurn::from_json(&body).unwrap();
        assert!(record.truncated);
        Some(record)
    }

    #[test]
    fn texts_of_host_calls_go_before_those_of_plugins_and_digests_stay() {
        let first = shortened(&record(1000, 1000, 9000), 4000).unwrap();
        let step = &first.steps[0];
        assert_eq!(step.host_calls[0].detail, json!({ "digest": "sha256:3", "text": null }));
        assert_eq!(step.received["messages"][0]["text"].as_str().map(str::len), Some(1000));

        let second = shortened(&record(9000, 9000, 9000), 4000).unwrap();
        let step = &second.steps[0];
        assert_eq!(step.received, json!({ "messages": [{ "id": "m", "text": null }] }));
        assert_eq!(step.returned, json!({ "parts": [{ "source": "card", "text": null }] }));
        assert_eq!((step.host_calls.len(), step.host_calls_dropped), (1, 0));
    }

    #[test]
    fn requests_that_are_left_out_are_counted_and_a_record_of_too_many_steps_does_not_fit() {
        let mut many = record(10, 10, 10);
        let call = many.steps[0].host_calls[0].clone();
        many.steps[0].host_calls = vec![call; 100];
        let mut many = shortened(&many, 4000).unwrap();
        assert_eq!((many.steps[0].host_calls.len(), many.steps[0].host_calls_dropped), (0, 100));
        let step = many.steps[0].clone();
        many.steps = vec![step; 100];
        assert_eq!(shortened(&many, 4000), None);
    }
}
