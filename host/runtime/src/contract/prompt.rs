//! The prompt for a model, and a memory's recollection for the persona.

use std::sync::Arc;

use super::message::{Message, Property};

/// A tool that the model may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// The name by which the model calls it.
    pub name: Arc<str>,
    /// What it does, for the model.
    pub description: Arc<str>,
    /// A JSON Schema of the arguments, as text.
    pub parameters: Arc<str>,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

/// The input of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// At least one, in the order in which the model reads them.
    pub messages: Vec<Message>,
    /// The tools that the model may call.
    pub tools: Vec<Tool>,
    /// Sampling options by their names in the chat-completions API: `temperature`, `max_tokens`, `stop`.
    pub options: Vec<Property>,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

/// A long-term memory that is relevant for the turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// The memory plugin's own id.
    pub id: Arc<str>,
    /// The text of the memory.
    pub text: Arc<str>,
    /// The relevance: higher is more relevant. Scores are comparable within one recollection only.
    pub score: Option<f32>,
    /// Where it comes from.
    pub source: Option<Arc<str>>,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

/// The result of a recall, for the persona.
#[derive(Clone, Debug, PartialEq)]
pub struct Recollection {
    /// Earlier messages of the conversation, oldest first.
    pub messages: Vec<Message>,
    /// Long-term memories, the most important first.
    pub memories: Vec<Remembered>,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}
