//! Makes a record fit its bound: texts go first, so that versions, timings and what was asked for stay.

use std::io;

use masque_store::RecordedTurn;
use serde_json::Value;

/// A text that is longer is left out of a record that is too large. Ids and digests are shorter.
const SHORT_TEXT: usize = 128;

/// Leaves out texts until the record has at most `max` bytes as JSON: of what plugins asked the host for, then of what they
/// were given and returned; then the requests to the host and what is left of the rest. Each is replaced by `null`, and the
/// record says that it is shortened. False if it is too large even so.
pub(super) fn shorten(record: &mut RecordedTurn, max: usize) -> bool {
    const STAGES: [fn(&mut RecordedTurn); 4] =
        [leave_out_texts_of_host_calls, leave_out_texts, leave_out_host_calls, leave_out_values];
    if json_bytes(record) <= max {
        return true;
    }
    record.truncated = true;
    STAGES.into_iter().any(|leave_out| {
        leave_out(record);
        json_bytes(record) <= max
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

/// The bytes of the record as JSON.
fn json_bytes(record: &RecordedTurn) -> usize {
    let mut counted = Counted(0);
    // Counting fails for nothing, and a record has a JSON form.
    match serde_json::to_writer(&mut counted, record) {
        Ok(()) => counted.0,
        Err(_) => usize::MAX,
    }
}

/// Counts what is written.
struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// About how many bytes the record takes: its texts, and some for each value. One walk without a copy.
pub(super) fn approximate_bytes(record: &RecordedTurn) -> usize {
    /// What a step, a request or a value takes beside its texts.
    const EACH: usize = 32;
    fn of(value: &Value) -> usize {
        EACH + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(of).sum(),
            Value::Object(members) => members.iter().map(|(name, member)| name.len() + of(member)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
    }
    let steps = record.steps.iter().map(|step| {
        let calls = step.host_calls.iter().map(|call| 8 * EACH + of(&call.detail));
        16 * EACH + of(&step.received) + of(&step.returned) + of(&step.limits) + calls.sum::<usize>()
    });
    16 * EACH + of(&record.timing) + of(&record.usage) + of(&record.message) + steps.sum::<usize>()
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

    #[test]
    fn a_record_that_fits_stays_as_it_is() {
        let mut fits = record(1000, 1000, 1000);
        let before = fits.clone();
        assert!(shorten(&mut fits, json_bytes(&before)));
        assert_eq!(fits, before);
    }

    #[test]
    fn texts_of_host_calls_go_before_those_of_plugins_and_digests_stay() {
        let mut first = record(1000, 1000, 9000);
        assert!(shorten(&mut first, 4000));
        let step = &first.steps[0];
        assert_eq!(step.host_calls[0].detail, json!({ "digest": "sha256:3", "text": null }));
        assert_eq!(step.received["messages"][0]["text"].as_str().map(str::len), Some(1000));
        assert!(first.truncated);

        let mut second = record(9000, 9000, 9000);
        assert!(shorten(&mut second, 4000));
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
        assert!(shorten(&mut many, 4000));
        assert_eq!((many.steps[0].host_calls.len(), many.steps[0].host_calls_dropped), (0, 100));
        let step = many.steps[0].clone();
        many.steps = vec![step; 100];
        assert!(!shorten(&mut many, 4000));
    }

    #[test]
    fn the_approximate_size_is_near_that_of_the_json() {
        for record in [record(0, 0, 0), record(100_000, 10, 10), record(10, 10, 100_000)] {
            let (approximate, exact) = (approximate_bytes(&record), json_bytes(&record));
            assert!(approximate > exact / 3 && approximate < exact * 3, "{approximate} for {exact}");
        }
    }
}
