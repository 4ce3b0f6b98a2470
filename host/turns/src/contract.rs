//! Converts stored records to the types of the plugin contract. All functions are pure but for their log lines.

use masque_runtime::contract::{Message, Part, Property, Turn, User};
use masque_store::{MessageRecord, Owner, Started, TailLimit, UserProfile, push_storable};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::clock::now_ms;

/// How much of the history comes with every turn. The contract promises it to plugins.
pub(crate) const TAIL: TailLimit = TailLimit { messages: 64, bytes: 64 << 10 };

/// A turn as plugins see it. The caller sets `deadline_ms` before each call.
pub(crate) fn turn(started: &Started, owner: &Owner, profile: &UserProfile) -> Turn {
    Turn {
        id: started.turn.to_string().into(),
        attempt: started.attempt,
        conversation: started.conversation.to_string().into(),
        companion: started.companion.as_str().into(),
        tenant: owner.tenant.as_str().into(),
        user: user(owner, profile),
        message: message(&started.message),
        tail: started.tail.iter().map(message).collect(),
        has_earlier: has_earlier(&started.tail, started.message.sequence),
        now: now_ms(),
        deadline_ms: 0,
        // The metadata of the request, which is stored with the user's message.
        metadata: started.message.metadata.as_object().map(properties).unwrap_or_default(),
    }
}

/// A stored message as plugins see it. The metadata of an interrupted one says so.
pub(crate) fn message(record: &MessageRecord) -> Message {
    let mut metadata = record.metadata.as_object().map(properties).unwrap_or_default();
    if record.status == "interrupted" {
        metadata.push(Property { name: "interrupted".into(), json: "true".into() });
    }
    Message {
        id: Some(record.id.to_string().into()),
        at: u64::try_from(record.created_at).ok(),
        metadata,
        ..Message::new(record.role.as_str(), record.content.as_str())
    }
}

/// The text parts of a plugin's message, in order, as they can be stored.
pub(crate) fn message_text(message: &Message) -> String {
    let mut text = String::new();
    text_parts(message).for_each(|part| push_storable(&mut text, part));
    text
}

fn text_parts(message: &Message) -> impl Iterator<Item = &str> {
    message.parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(&**text),
        _ => None,
    })
}

/// The members of a JSON object, each as JSON text.
pub(crate) fn properties(object: &Map<String, Value>) -> Vec<Property> {
    object
        .iter()
        .map(|(name, value)| Property { name: name.as_str().into(), json: value.to_string().into() })
        .collect()
}

/// Sets the options in `wanted`, replacing those of the same name.
pub(crate) fn override_options(options: &mut Vec<Property>, wanted: &Map<String, Value>) {
    options.retain(|option| !wanted.contains_key(&*option.name));
    options.extend(properties(wanted));
}

/// The user as plugins see them. The id is the same in every turn and is a digest, since the subject may be an e-mail
/// address.
pub(crate) fn user(owner: &Owner, profile: &UserProfile) -> User {
    let mut digest = Sha256::new_with_prefix("masque user\0");
    for part in [&owner.tenant, &owner.issuer, &owner.subject] {
        // With the length before each part, `ab` + `c` and `a` + `bc` differ.
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    let id: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let text = |text: &Option<String>| text.as_deref().map(Into::into);
    let UserProfile { name, locale, timezone } = profile;
    User {
        id: id.into(),
        name: text(name),
        locale: text(locale),
        timezone: text(timezone),
        metadata: Vec::new(),
    }
}

/// The newest of `messages` (which are oldest first) within `limit`: whole messages without a gap.
pub(crate) fn newest_within(mut messages: Vec<MessageRecord>, limit: TailLimit) -> Vec<MessageRecord> {
    let mut room = limit.bytes;
    let kept = messages
        .iter()
        .rev()
        .take(limit.messages as usize)
        .take_while(|message| match room.checked_sub(message.content.len()) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        })
        .count();
    messages.split_off(messages.len() - kept)
}

/// Whether there may be messages before `tail`, which ends before the sequence `own_sequence`. Messages of failed turns are
/// in no tail, so in a conversation that began with one the answer is true although a plugin that asks finds nothing.
pub(crate) fn has_earlier(tail: &[MessageRecord], own_sequence: i64) -> bool {
    tail.first().map_or(own_sequence, |oldest| oldest.sequence) > 1
}

/// The finish reason that clients are told. An unknown reason of a model is logged and counts as `stop`; `None` if it is empty or longer
/// than 64 bytes.
pub(crate) fn finish_reason(reason: &str) -> Option<&'static str> {
    match reason {
        "length" => Some("length"),
        "filtered" => Some("filtered"),
        "tool_calls" => Some("tool_calls"),
        "stop" => Some("stop"),
        _ if (1..=64).contains(&reason.len()) => {
            // One that is no name may be words of the reply.
            let is_name = reason.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
            let reason = if is_name { reason } else { "(no name)" };
            tracing::warn!(reason, "the model ended its reply with an unknown reason; it counts as `stop`");
            Some("stop")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use masque_store::MessageId;
    use serde_json::json;

    use super::*;

    fn owner(tenant: &str, issuer: &str, subject: &str) -> Owner {
        Owner { tenant: tenant.into(), issuer: issuer.into(), subject: subject.into() }
    }

    #[test]
    fn a_greeting_loses_the_character_zero() {
        let mut greeting = Message::new("assistant", "Good\0 ");
        greeting.parts.extend([Part::Text("\0".into()), Part::Text("evening.".into())]);
        assert_eq!(message_text(&greeting), "Good evening.");
    }

    fn record(content: &str) -> MessageRecord {
        MessageRecord {
            id: MessageId::new(),
            turn: None,
            parent: None,
            sequence: 1,
            role: "user".into(),
            content: content.into(),
            status: "complete".into(),
            created_at: 0,
            metadata: json!({}),
        }
    }

    #[test]
    fn a_user_id_is_stable_unique_and_hides_the_subject() {
        let user = |owner: &Owner| super::user(owner, &UserProfile::default());
        let ana = owner("default", "local", "ana@example.com");
        assert_eq!(user(&ana).id, user(&ana).id);
        assert_ne!(user(&ana).id, user(&owner("default", "loca", "lana@example.com")).id);
        assert_ne!(user(&ana).id, user(&owner("other", "local", "ana@example.com")).id);
        assert!(!user(&ana).id.contains("ana"));
    }

    #[test]
    fn an_interrupted_message_is_marked() {
        let mut cut = record("Once upon");
        assert!(message(&cut).metadata.is_empty());
        cut.status = "interrupted".into();
        assert_eq!(message(&cut).metadata.len(), 1);
    }

    #[test]
    fn an_unknown_finish_reason_ends_a_reply_and_an_empty_one_does_not() {
        assert_eq!(finish_reason("length"), Some("length"));
        assert_eq!(finish_reason("end_of_scene"), Some("stop"));
        assert_eq!(finish_reason(""), None);
        assert_eq!(finish_reason(&"x".repeat(65)), None);
    }

    #[test]
    fn the_operators_options_override_the_personas() {
        let mut options = vec![
            Property { name: "temperature".into(), json: "1".into() },
            Property { name: "stop".into(), json: "[]".into() },
        ];
        override_options(&mut options, json!({ "temperature": 0.2 }).as_object().unwrap());
        let named: Vec<_> = options.iter().map(|option| (&*option.name, &*option.json)).collect();
        assert_eq!(named, [("stop", "[]"), ("temperature", "0.2")]);
    }

    #[test]
    fn the_tail_holds_the_newest_messages_without_a_gap() {
        let messages = vec![record("a"), record(&"b".repeat(20)), record("c"), record("d")];
        let contents =
            |limit| newest_within(messages.clone(), limit).into_iter().map(|m| m.content).collect::<Vec<_>>();
        assert_eq!(contents(TailLimit { messages: 1, bytes: 100 }), ["d"]);
        assert_eq!(contents(TailLimit { messages: 9, bytes: 10 }), ["c", "d"]);
        assert_eq!(contents(TailLimit { messages: 9, bytes: 100 }).len(), 4);
    }

    #[test]
    fn a_tail_that_does_not_reach_the_first_message_is_not_the_whole_history() {
        let at = |sequence| MessageRecord { sequence, ..record("a") };
        assert!(!has_earlier(&[], 1), "a conversation's first turn");
        assert!(!has_earlier(&[at(1), at(2)], 3));
        assert!(has_earlier(&[at(2)], 3), "the first message did not fit");
        assert!(has_earlier(&[], 3), "no message fitted");
    }
}
