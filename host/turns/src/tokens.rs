//! Estimates of tokens by the length of texts. Pure.

use masque_runtime::contract::{Message, Part, Prompt};

/// Bytes of text that count as one token where a model reports nothing: the rule of thumb for most vocabularies.
const BYTES_PER_TOKEN: usize = 4;

/// The tokens of a text of this length.
pub(crate) fn estimated_tokens(bytes: usize) -> u64 {
    u64::try_from(bytes.div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX)
}

/// The bytes of a prompt that a model reads.
pub(crate) fn prompt_bytes(prompt: &Prompt) -> usize {
    let messages = prompt.messages.iter().map(message_bytes).sum::<usize>();
    let tools =
        prompt.tools.iter().map(|tool| tool.name.len() + tool.description.len() + tool.parameters.len());
    messages + tools.sum::<usize>()
}

/// The bytes of a message that a model reads.
pub(crate) fn message_bytes(message: &Message) -> usize {
    message.parts.iter().map(part_bytes).sum()
}

/// The bytes of one part of a message that a model reads.
pub(crate) fn part_bytes(part: &Part) -> usize {
    match part {
        Part::Text(text) | Part::Thinking(text) => text.len(),
        Part::ToolCall(call) => call.name.len() + call.arguments.len(),
        Part::ToolResult(result) => result.content.len(),
        // The model's provider reads the file behind the address. Its size is not known.
        Part::Blob(blob) => blob.uri.len(),
        Part::Other(property) => property.json.len(),
    }
}
