//! Gives the messages of a request the order that strict servers and chat templates accept. Says nothing new except one
//! opening: a greeting of the companion needs a message of the user before it.

use serde_json::{Value, json};

/// What stands for the user's silence before a greeting. A sign rather than words, since the language of the conversation
/// is not known.
const OPENING: &str = "…";

/// What becomes of a system message that comes after other messages.
#[derive(Clone, Copy, Debug, PartialEq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LateSystem {
    /// It stays where it is.
    Keep,
    /// It becomes a message of the user at its place.
    User,
    /// It is joined to the first system message.
    First,
}

/// The order that a server accepts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PromptShape {
    /// User and assistant take turns, and the user begins.
    pub(crate) alternates: bool,
    pub(crate) late_system: LateSystem,
}

impl PromptShape {
    /// Brings the messages into this order.
    pub(crate) fn apply(self, messages: Vec<Value>) -> Vec<Value> {
        let messages = self.without_late_system(messages);
        if self.alternates { alternating(messages) } else { messages }
    }

    fn without_late_system(self, messages: Vec<Value>) -> Vec<Value> {
        if self.late_system == LateSystem::Keep {
            return messages;
        }
        let (mut system, mut others) = (Vec::new(), Vec::new());
        for mut message in messages {
            let is_late = !others.is_empty();
            match (is_system(&message), self.late_system) {
                (true, LateSystem::User) if is_late => {
                    if let Some(role) = message.get_mut("role") {
                        *role = "user".into();
                    }
                    others.push(message);
                }
                (true, _) => push_or_join(&mut system, message),
                (false, _) => others.push(message),
            }
        }
        system.append(&mut others);
        system
    }
}

/// Joins messages of the same role that follow each other, and lets the user begin.
fn alternating(messages: Vec<Value>) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for message in messages {
        let begins = !out.iter().any(|earlier| !is_system(earlier));
        if begins && role(&message) == Some("assistant") {
            out.push(json!({"role": "user", "content": OPENING}));
        }
        push_or_join(&mut out, message);
    }
    out
}

/// Adds a message, or joins it to the last one if both are plain messages of one role.
fn push_or_join(out: &mut Vec<Value>, message: Value) {
    let is_plain = |message: &Value| message.get("tool_calls").is_none() && role(message) != Some("tool");
    match out.last_mut() {
        Some(last) if role(last) == role(&message) && is_plain(last) && is_plain(&message) => {
            let content = joined(content(last), content(&message));
            if let Some(place) = last.get_mut("content") {
                *place = content;
            }
        }
        _ => out.push(message),
    }
}

/// The contents after each other: as a text if both are, else as a list of parts.
fn joined(first: &Value, second: &Value) -> Value {
    match (first, second) {
        (Value::String(first), Value::String(second)) => format!("{first}\n\n{second}").into(),
        _ => parts(first).into_iter().chain(parts(second)).collect(),
    }
}

fn parts(content: &Value) -> Vec<Value> {
    match content {
        Value::Array(parts) => parts.clone(),
        Value::String(text) => vec![json!({"type": "text", "text": text})],
        _ => Vec::new(),
    }
}

fn is_system(message: &Value) -> bool {
    role(message) == Some("system")
}

fn role(message: &Value) -> Option<&str> {
    message.get("role")?.as_str()
}

fn content(message: &Value) -> &Value {
    message.get("content").unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: PromptShape = PromptShape { alternates: true, late_system: LateSystem::User };

    fn messages(list: &[(&str, &str)]) -> Vec<Value> {
        list.iter().map(|(role, content)| json!({"role": role, "content": content})).collect()
    }

    #[test]
    fn a_greeting_before_the_first_question_follows_an_opening_of_the_user() {
        let given = messages(&[("system", "You are Ida."), ("assistant", "Hello!"), ("user", "Hi.")]);
        let wanted =
            messages(&[("system", "You are Ida."), ("user", "…"), ("assistant", "Hello!"), ("user", "Hi.")]);
        assert_eq!(STRICT.apply(given), wanted);
    }

    #[test]
    fn messages_of_one_role_are_joined_and_tool_calls_are_kept_apart() {
        let given = messages(&[("user", "One."), ("user", "Two."), ("assistant", "a"), ("assistant", "b")]);
        assert_eq!(STRICT.apply(given), messages(&[("user", "One.\n\nTwo."), ("assistant", "a\n\nb")]));
        let call = json!({"role": "assistant", "content": null, "tool_calls": []});
        let result = json!({"role": "tool", "tool_call_id": "c", "content": "x"});
        let given = vec![messages(&[("user", "One.")]).remove(0), call, result.clone(), result];
        assert_eq!(STRICT.apply(given.clone()), given);
        let image = json!({"role": "user", "content": [{"type": "image_url"}]});
        let given = vec![messages(&[("user", "One.")]).remove(0), image];
        let wanted =
            json!([{"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "image_url"}]}]);
        assert_eq!(Value::from(STRICT.apply(given)), wanted);
    }

    #[test]
    fn a_late_system_message_goes_where_the_setting_says() {
        let given = [("system", "First."), ("user", "Hi."), ("system", "Be brief.")];
        let table = [
            (LateSystem::Keep, given.to_vec()),
            (LateSystem::First, vec![("system", "First.\n\nBe brief."), ("user", "Hi.")]),
            (LateSystem::User, vec![("system", "First."), ("user", "Hi."), ("user", "Be brief.")]),
        ];
        for (late_system, wanted) in table {
            let shape = PromptShape { alternates: false, late_system };
            assert_eq!(shape.apply(messages(&given)), messages(&wanted), "{late_system:?}");
        }
        assert_eq!(
            STRICT.apply(messages(&given)),
            messages(&[("system", "First."), ("user", "Hi.\n\nBe brief.")])
        );
    }
}
