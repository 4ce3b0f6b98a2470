//! What a model is asked, and what a memory hands to the persona.

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

/// What a model is asked.
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

/// A long-term memory that bears on the turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// The memory plugin's own id.
    pub id: Arc<str>,
    /// What is remembered.
    pub text: Arc<str>,
    /// Higher is nearer; comparable within one recollection only.
    pub score: Option<f32>,
    /// Where it comes from.
    pub source: Option<Arc<str>>,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

/// What the memory hands to the persona.
#[derive(Clone, Debug, PartialEq)]
pub struct Recollection {
    /// Earlier messages of the conversation, oldest first.
    pub messages: Vec<Message>,
    /// What is known beyond them, the most important first.
    pub memories: Vec<Remembered>,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}
