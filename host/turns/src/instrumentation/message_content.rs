//! The texts of a model call in the form of OpenTelemetry's conventions on generative AI: JSON in the attributes
//! `gen_ai.system_instructions`, `gen_ai.input.messages` and `gen_ai.output.messages`. They are set only where the operator has
//! switched message content on.

use masque_runtime::contract::{Delta, Message, Part, Prompt};
use serde_json::{Value, json};

/// The most bytes of the texts in one attribute. What follows is left out.
const MAX_BYTES: usize = 64 << 10;

/// The texts of a prompt: instructions of the system, and the messages that follow each other.
pub(super) struct PromptContent {
    pub(super) instructions: String,
    pub(super) messages: String,
}

impl PromptContent {
    pub(super) fn new(prompt: &Prompt) -> Self {
        let mut room = MAX_BYTES;
        let (mut instructions, mut messages) = (Vec::new(), Vec::new());
        for message in &prompt.messages {
            let parts = parts(message, &mut room);
            match &*message.role {
                "system" => instructions.extend(parts),
                role => messages.push(json!({ "role": role, "parts": parts })),
            }
        }
        Self {
            instructions: Value::from(instructions).to_string(),
            messages: Value::from(messages).to_string(),
        }
    }
}

/// The text parts of a message, as far as there is room.
fn parts(message: &Message, room: &mut usize) -> Vec<Value> {
    let texts = message.parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(&**text),
        _ => None,
    });
    texts
        .map(|text| {
            let text = fitting(text, *room);
            *room -= text.len();
            json!({ "type": "text", "content": text })
        })
        .collect()
}

/// The text of a reply while it is written.
#[derive(Debug, Default)]
pub(super) struct ReplyContent(String);

impl ReplyContent {
    pub(super) fn add(&mut self, delta: &Delta) {
        if let Delta::Text(text) = delta {
            self.0.push_str(fitting(text, MAX_BYTES - self.0.len()));
        }
    }

    pub(super) fn messages(&self, finish: Option<&str>) -> String {
        let parts = json!([{ "type": "text", "content": self.0 }]);
        json!([{ "role": "assistant", "parts": parts, "finish_reason": finish }]).to_string()
    }
}

fn fitting(text: &str, room: usize) -> &str {
    text.get(..text.floor_char_boundary(room)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_a_call_have_the_form_of_the_conventions_and_a_bound() {
        let prompt = Prompt {
            messages: vec![
                Message::new("system", "Be kind."),
                Message::new("user", "x".repeat(MAX_BYTES).as_str()),
            ],
            tools: Vec::new(),
            options: Vec::new(),
            metadata: Vec::new(),
        };
        let content = PromptContent::new(&prompt);
        assert_eq!(content.instructions, r#"[{"content":"Be kind.","type":"text"}]"#);
        let messages: Value = serde_json::from_str(&content.messages).unwrap();
        assert_eq!(messages[0]["role"], "user");
        assert_eq!(messages[0]["parts"][0]["content"].as_str().unwrap().len(), MAX_BYTES - "Be kind.".len());

        let mut reply = ReplyContent::default();
        reply.add(&Delta::Text("Good ".into()));
        reply.add(&Delta::Text("evening.".into()));
        let messages: Value = serde_json::from_str(&reply.messages(Some("stop"))).unwrap();
        assert_eq!(messages[0]["parts"][0]["content"], "Good evening.");
        assert_eq!(
            (&messages[0]["role"], &messages[0]["finish_reason"]),
            (&"assistant".into(), &"stop".into())
        );
    }
}
