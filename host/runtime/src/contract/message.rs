//! Messages and their parts.

use std::sync::Arc;

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
    /// What the model wants to see again with the call.
    pub metadata: Vec<Property>,
}

/// What a tool answered.
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
    /// What is said.
    Text(Arc<str>),
    /// A file.
    Blob(Blob),
    /// A tool call.
    ToolCall(ToolCall),
    /// The result of a tool call.
    ToolResult(ToolResult),
    /// The model's reasoning, which is not part of what is said.
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
    /// What the message consists of, in order.
    pub parts: Vec<Part>,
    /// When it was said, in milliseconds since the Unix epoch; `None` for a message that a plugin wrote.
    pub at: Option<u64>,
    /// Where it comes from, for explanations: `card.scenario`, `memory:ID`.
    pub source: Option<Arc<str>>,
    /// Whether a prefix that stays the same from turn to turn ends here.
    pub cache: bool,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

impl Message {
    /// Whether any part is something else than blank text.
    pub(crate) fn has_content(&self) -> bool {
        self.parts.iter().any(|part| !matches!(part, Part::Text(text) if text.trim().is_empty()))
    }

    /// Whether the role has a length that the contract allows.
    pub(crate) fn has_valid_role(&self) -> bool {
        (1..=64).contains(&self.role.len())
    }
}
