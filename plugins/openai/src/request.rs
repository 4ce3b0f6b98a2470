//! Makes the body of a chat-completions request from a prompt.

use crate::prompt_shape::PromptShape;
use crate::settings::OpenAi;
use masque_sdk::{Message, Part, Prompt};
use serde_json::{Map, Value, json};

/// Fields of the request that the options of a prompt can't set.
const RESERVED: [&str; 5] = ["messages", "model", "stream", "stream_options", "tools"];

/// Returns the body of the request, its messages in this order. The prompt's options override the setting `extra`, which
/// overrides the other settings.
pub(crate) fn body(settings: &OpenAi, prompt: &Prompt, shape: PromptShape) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("model".into(), settings.model.clone().into());
    if let Some(temperature) = settings.temperature {
        body.insert("temperature".into(), temperature.into());
    }
    if let Some(max_tokens) = settings.max_tokens {
        body.insert(settings.max_tokens_parameter().into(), max_tokens.into());
    }
    if settings.asks_for_usage() {
        body.insert("stream_options".into(), json!({"include_usage": true}));
    }
    body.extend(settings.extra.clone());
    for option in &prompt.options {
        match serde_json::from_str::<Value>(&option.json) {
            Ok(_) if RESERVED.contains(&option.name.as_str()) => {
                tracing::warn!(option = option.name, "the prompt has no say in this option");
            }
            Ok(value) if matches!(option.name.as_str(), "max_tokens" | "max_completion_tokens") => {
                body.insert(settings.max_tokens_parameter().into(), value);
            }
            Ok(value) => {
                body.insert(option.name.clone(), value);
            }
            Err(error) => tracing::warn!(option = option.name, %error, "the prompt's option is not JSON"),
        }
    }
    body.insert("stream".into(), settings.stream.into());
    body.insert("messages".into(), shape.apply(messages(&prompt.messages)).into());
    if !prompt.tools.is_empty() {
        body.insert("tools".into(), prompt.tools.iter().map(tool).collect());
    }
    body
}

fn tool(tool: &masque_sdk::Tool) -> Value {
    let parameters: Value =
        serde_json::from_str(&tool.parameters).unwrap_or_else(|_| json!({"type": "object"}));
    let function = json!({"name": tool.name, "description": tool.description, "parameters": parameters});
    json!({"type": "function", "function": function})
}

/// Converts the messages. Joins adjacent system messages, since many chat templates accept only one, at the beginning.
fn messages(messages: &[Message]) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for message in messages {
        if message.role == "system" {
            let text = message.text();
            match out.last_mut().filter(|last| last["role"] == "system") {
                Some(last) => {
                    last["content"] = format!("{}\n\n{text}", last["content"].as_str().unwrap_or("")).into()
                }
                None => out.push(json!({"role": "system", "content": text})),
            }
            continue;
        }
        out.extend(tool_results(message));
        out.extend(chat_message(message));
    }
    out
}

/// The results of tools, each of which is a message of its own in the API.
fn tool_results(message: &Message) -> impl Iterator<Item = Value> {
    message.parts.iter().filter_map(|part| match part {
        Part::ToolResult(result) => {
            Some(json!({"role": "tool", "tool_call_id": result.id, "content": result.content}))
        }
        _ => None,
    })
}

/// The message without its tool results; `None` if nothing else is in it.
fn chat_message(message: &Message) -> Option<Value> {
    let is_assistant = message.role == "assistant";
    let calls: Vec<_> = message
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::ToolCall(call) if is_assistant => Some(json!({
                "id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}
            })),
            _ => None,
        })
        .collect();
    let content = content(message);
    if content.is_null() && calls.is_empty() {
        return None;
    }
    let role = if is_assistant { "assistant" } else { "user" };
    let mut chat_message = json!({"role": role, "content": content});
    if let (Some(fields), false) = (chat_message.as_object_mut(), calls.is_empty()) {
        fields.insert("tool_calls".into(), calls.into());
    }
    Some(chat_message)
}

/// Returns the content: a text if there is nothing else, since some servers accept no list of parts, and null if it is
/// empty.
fn content(message: &Message) -> Value {
    let text = message.text();
    let images: Vec<_> = message
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::Blob(blob) if blob.media_type.starts_with("image/") && message.role == "user" => {
                Some(json!({"type": "image_url", "image_url": {"url": blob.uri}}))
            }
            _ => None,
        })
        .collect();
    match (text.is_empty(), images.is_empty()) {
        (true, true) => Value::Null,
        (false, true) => text.into(),
        (true, false) => images.into(),
        (false, false) => {
            let text = json!({"type": "text", "text": text});
            std::iter::once(text).chain(images).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use masque_sdk::{Blob, Property, Tool, ToolCall, ToolResult};

    fn settings(json: Value) -> OpenAi {
        let mut settings = json!({"model": "m", "base_url": "http://127.0.0.1:1/v1"});
        settings.as_object_mut().unwrap().extend(json.as_object().unwrap().clone());
        serde_json::from_value(settings).unwrap()
    }

    fn body(settings: &OpenAi, prompt: &Prompt) -> Value {
        super::body(settings, prompt, settings.prompt_shape()).into()
    }

    fn with(mut message: Message, part: Part) -> Message {
        message.parts.push(part);
        message
    }

    #[test]
    fn a_plain_prompt_is_a_plain_request() {
        let prompt =
            Prompt::new([Message::system("Be brief."), Message::system("Be kind."), Message::user("Hi")]);
        let wanted = json!({
            "model": "m", "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "system", "content": "Be brief.\n\nBe kind."}, {"role": "user", "content": "Hi"}],
        });
        assert_eq!(body(&settings(json!({})), &prompt), wanted);
    }

    #[test]
    fn the_prompt_goes_before_extra_and_extra_before_the_settings() {
        let settings = settings(json!({
            "temperature": 0.1, "max_tokens": 10, "stream": false, "extra": {"temperature": 0.2, "top_p": 0.5}
        }));
        let prompt = Prompt::new([])
            .option("temperature", 0.3)
            .option("max_completion_tokens", 7)
            .option("stop", ["\n"])
            .option("model", "other")
            .option("stream", true);
        let wanted = json!({
            "model": "m", "stream": false, "messages": [],
            "temperature": 0.3, "max_tokens": 7, "top_p": 0.5, "stop": ["\n"],
        });
        assert_eq!(body(&settings, &prompt), wanted);
    }

    #[test]
    fn an_option_that_is_not_json_is_left_out() {
        let mut prompt = Prompt::new([]);
        prompt.options.push(Property { name: "seed".into(), json: "{".into() });
        assert!(body(&settings(json!({})), &prompt).get("seed").is_none());
    }

    #[test]
    fn usage_is_not_requested_if_the_setting_is_off() {
        let body = body(&settings(json!({"stream_usage": false})), &Prompt::new([]));
        assert!(body.get("stream_options").is_none());
    }

    #[test]
    fn every_kind_of_message_has_its_form() {
        let call = Part::ToolCall(ToolCall::new("c1", "tide", "{}"));
        let result = Part::ToolResult(ToolResult {
            id: "c1".into(),
            content: "low".into(),
            is_error: false,
            metadata: Vec::new(),
        });
        let image = Part::Blob(Blob {
            media_type: "image/png".into(),
            uri: "https://e.org/a.png".into(),
            metadata: Vec::new(),
        });
        let silent = |role: &str| Message { parts: Vec::new(), ..Message::new(role, "") };
        let table = [
            (Message::assistant("Yes."), json!([{"role": "assistant", "content": "Yes."}])),
            (Message::new("narrator", "Fog."), json!([{"role": "user", "content": "Fog."}])),
            (silent("user"), json!([])),
            (with(silent("assistant"), Part::Thinking("hm".into())), json!([])),
            (
                with(silent("assistant"), call),
                json!([{"role": "assistant", "content": null, "tool_calls":
                    [{"id": "c1", "type": "function", "function": {"name": "tide", "arguments": "{}"}}]}]),
            ),
            (with(silent("tool"), result), json!([{"role": "tool", "tool_call_id": "c1", "content": "low"}])),
            (
                with(Message::user("Look"), image),
                json!([{"role": "user", "content": [
                    {"type": "text", "text": "Look"},
                    {"type": "image_url", "image_url": {"url": "https://e.org/a.png"}},
                ]}]),
            ),
        ];
        for (message, wanted) in table {
            assert_eq!(Value::from(messages(std::slice::from_ref(&message))), wanted, "{message:?}");
        }
    }

    #[test]
    fn tools_are_functions() {
        let mut prompt = Prompt::new([]);
        prompt.tools.push(Tool {
            name: "tide".into(),
            description: "High or low.".into(),
            parameters: r#"{"type": "object"}"#.into(),
            metadata: Vec::new(),
        });
        let wanted = json!([{"type": "function", "function":
            {"name": "tide", "description": "High or low.", "parameters": {"type": "object"}}}]);
        assert_eq!(body(&settings(json!({})), &prompt)["tools"], wanted);
    }
}
