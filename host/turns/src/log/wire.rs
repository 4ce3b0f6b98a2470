//! One event as a text, for readers on other hosts.
//!
//! Hosts of two releases may share their memory during a rolling change. A host that does not know the version of an event
//! waits for the end of the turn in the store instead.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use masque_problem::{Kind, Problem};
use masque_store::{ConversationId, TurnId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::event::{Event, EventKind};
use crate::clock::whole_ms;

/// Raised by every change that a host of an earlier release would read wrongly.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct WireEvent<'a> {
    version: u32,
    sequence: u64,
    event: WireKind<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WireKind<'a> {
    Created {
        turn: TurnId,
        conversation: ConversationId,
        companion: Cow<'a, str>,
    },
    Delta {
        text: Cow<'a, str>,
    },
    Completed {
        response: Cow<'a, Value>,
    },
    Failed {
        kind: Cow<'a, str>,
        detail: Cow<'a, str>,
        retry_after_ms: Option<u64>,
        members: Cow<'a, Map<String, Value>>,
    },
}

/// The text of an event.
pub(crate) fn encode(event: &Event) -> String {
    let kind = match &event.kind {
        EventKind::Created { turn_id, conversation_id, companion } => WireKind::Created {
            turn: *turn_id,
            conversation: *conversation_id,
            companion: companion.as_str().into(),
        },
        EventKind::Delta { text } => WireKind::Delta { text: text.as_str().into() },
        EventKind::Completed(response) => WireKind::Completed { response: Cow::Borrowed(&**response) },
        EventKind::Failed(problem) => WireKind::Failed {
            kind: problem.kind.name().into(),
            detail: problem.detail.as_str().into(),
            retry_after_ms: problem.retry_after.map(whole_ms),
            members: Cow::Borrowed(&problem.members),
        },
    };
    let event = WireEvent { version: VERSION, sequence: event.sequence, event: kind };
    // Writing fails only for maps with keys that are no strings. An empty text is read as an event of another version.
    serde_json::to_string(&event).unwrap_or_default()
}

/// The event of a text. `None` if it is of another version.
pub(crate) fn decode(text: &str) -> Option<Event> {
    let WireEvent { version, sequence, event } = serde_json::from_str(text).ok()?;
    if version != VERSION {
        return None;
    }
    let kind = match event {
        WireKind::Created { turn, conversation, companion } => EventKind::Created {
            turn_id: turn,
            conversation_id: conversation,
            companion: companion.into_owned(),
        },
        WireKind::Delta { text } => EventKind::Delta { text: text.into_owned() },
        WireKind::Completed { response } => EventKind::Completed(Arc::new(response.into_owned())),
        WireKind::Failed { kind, detail, retry_after_ms, members } => EventKind::Failed(Box::new(Problem {
            // A later release may know more kinds.
            kind: Kind::ALL.iter().copied().find(|known| known.name() == kind).unwrap_or(Kind::Internal),
            detail: detail.into_owned(),
            retry_after: retry_after_ms.map(Duration::from_millis),
            members: members.into_owned(),
        })),
    };
    Some(Event { sequence, kind })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_event_is_read_as_it_was_written() {
        let problem = Problem::from(Kind::ModelRateLimited)
            .retry_after(Duration::from_millis(1500))
            .with("field", "message");
        let kinds = [
            EventKind::Created {
                turn_id: TurnId::new(),
                conversation_id: ConversationId::new(),
                companion: "elara".into(),
            },
            EventKind::Delta { text: "line\nbreak \u{1} é".into() },
            EventKind::Completed(Arc::new(json!({ "finish": "stop", "timing": { "total_ms": 1.25 } }))),
            EventKind::Failed(Box::new(problem)),
        ];
        for (sequence, kind) in (0..).zip(kinds) {
            let event = Event { sequence, kind };
            assert_eq!(decode(&encode(&event)), Some(event));
        }
    }

    #[test]
    fn an_event_of_another_version_is_not_read() {
        let event = encode(&Event { sequence: 1, kind: EventKind::Delta { text: "Hello.".into() } });
        assert_eq!(decode(&event.replace("\"version\":1", "\"version\":2")), None);
        assert_eq!(decode(""), None);
        let unknown = r#"{"version":1,"sequence":1,"event":{"failed":{"kind":"of-a-later-release","detail":"","retry_after_ms":null,"members":{}}}}"#;
        let Some(Event { kind: EventKind::Failed(problem), .. }) = decode(unknown) else {
            panic!("not read")
        };
        assert_eq!(problem.kind, Kind::Internal);
    }
}
