//! Messages and their parts.

use std::sync::Arc;

use sha2::{Digest, Sha256};

/// A named value whose body is JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The name.
    pub name: Arc<str>,
    /// The value as JSON text.
    pub json: Arc<str>,
}

/// A file by reference.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob {
    /// Such as `image/png`.
    pub media_type: Arc<str>,
    /// Where the file is.
    pub uri: Arc<str>,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

/// A call to a tool that the model asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// Names the call in the tool's result; unique within the reply.
    pub id: Arc<str>,
    /// The name of the tool.
    pub name: Arc<str>,
    /// JSON text as the model wrote it. It may not parse.
    pub arguments: Arc<str>,
    /// Values that the model needs to get back with the call.
    pub metadata: Vec<Property>,
}

/// The result of a tool call.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult {
    /// The id of the call.
    pub id: Arc<str>,
    /// The answer.
    pub content: Arc<str>,
    /// Whether the tool failed.
    pub is_error: bool,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Text of the message.
    Text(Arc<str>),
    /// A file.
    Blob(Blob),
    /// A tool call.
    ToolCall(ToolCall),
    /// The result of an earlier tool call.
    ToolResult(ToolResult),
    /// The model's reasoning, which is not part of the message's text.
    Thinking(Arc<str>),
    /// A part for which the contract has no case.
    Other(Property),
}

/// One message of a conversation or of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The host's id; `None` for a message that a plugin wrote.
    pub id: Option<Arc<str>>,
    /// `system`, `user`, `assistant` or `tool`; 1 to 64 bytes.
    pub role: Arc<str>,
    /// The parts in order.
    pub parts: Vec<Part>,
    /// When it was sent, in milliseconds since the Unix epoch; `None` for a message that a plugin wrote.
    pub at: Option<u64>,
    /// The origin of the message, for explanations: `card.scenario`, `memory:ID`.
    pub source: Option<Arc<str>>,
    /// Whether the part of the prompt that stays the same from turn to turn ends with this message.
    pub cache: bool,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

impl Message {
    /// A message of this role with one part of text and nothing else.
    pub fn new(role: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self {
            id: None,
            role: role.into(),
            parts: vec![Part::Text(text.into())],
            at: None,
            source: None,
            cache: false,
            metadata: Vec::new(),
        }
    }

    /// The SHA-256 of the role and the parts, as `sha256:…`. Messages that say the same have the same digest, whatever their id,
    /// time and metadata.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        self.hash_into(&mut hasher);
        format!("sha256:{:x}", hasher.finalize())
    }

    /// Adds the role and the parts, each with its length, so that no other message gives the same bytes.
    pub(crate) fn hash_into(&self, hasher: &mut Sha256) {
        let mut add = |text: &str| {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        add(&self.role);
        add(&self.parts.len().to_string());
        for part in &self.parts {
            let fields: [&str; 4] = match part {
                Part::Text(text) => ["text", text, "", ""],
                Part::Blob(blob) => ["blob", &blob.media_type, &blob.uri, ""],
                Part::ToolCall(call) => ["tool-call", &call.id, &call.name, &call.arguments],
                Part::ToolResult(result) if result.is_error => {
                    ["tool-error", &result.id, &result.content, ""]
                }
                Part::ToolResult(result) => ["tool-result", &result.id, &result.content, ""],
                Part::Thinking(text) => ["thinking", text, "", ""],
                Part::Other(other) => ["other", &other.name, &other.json, ""],
            };
            fields.into_iter().for_each(&mut add);
        }
    }

    /// Whether any part is more than blank text.
    pub(crate) fn has_content(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Text(text) if text.trim().is_empty()))
    }

    /// Whether the role has a length that the contract allows.
    pub(crate) fn has_valid_role(&self) -> bool {
        (1..=64).contains(&self.role.len())
    }
}
