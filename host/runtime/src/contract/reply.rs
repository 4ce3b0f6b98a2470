//! A model's reply, item by item or complete, and the failure of a call.

use std::fmt;

use super::message::{Message, Property, ToolCall};

/// The tokens that a reply used, as counted by the model; 0 where the number is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input_tokens: u64,
    /// Tokens of the reply.
    pub output_tokens: u64,
    /// The part of `input_tokens` that the provider read from its cache.
    pub cached_tokens: u64,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

/// Why a call did not succeed. `wit/0.1.0/types.wit` lists the codes.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// `denied`, `invalid`, `unavailable`, …; any unknown code counts as `internal`.
    pub code: String,
    /// For the operator's log, never for clients.
    pub message: String,
    /// Milliseconds until it is worth trying again.
    pub retry_after_ms: Option<u64>,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

impl Failure {
    /// A failure that the host itself reports.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), retry_after_ms: None, metadata: Vec::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}

/// The end of a successful reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Finish {
    /// `stop`, `length`, `filtered`, `tool_calls`; any other counts as `stop`.
    pub reason: String,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

/// One item of a reply. The last one is `Finish` or `Failed`.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// The next piece of the reply's text.
    Text(String),
    /// The next piece of the model's reasoning.
    Thinking(String),
    /// A whole tool call.
    ToolCall(ToolCall),
    /// The tokens used so far; the last value counts.
    Usage(Usage),
    /// The reply is complete.
    Finish(Finish),
    /// The reply failed.
    Failed(Failure),
    /// An item for which the contract has no case.
    Other(Property),
}

impl Delta {
    /// Whether a reply ends with this item.
    pub(crate) fn is_last(&self) -> bool {
        matches!(self, Self::Finish(_) | Self::Failed(_))
    }

    /// The bytes that the item holds, roughly and at least 1: an empty item takes space in the channel too.
    pub fn bytes(&self) -> usize {
        let held = match self {
            Self::Text(text) | Self::Thinking(text) => text.len(),
            Self::ToolCall(call) => {
                call.id.len() + call.name.len() + call.arguments.len() + property_bytes(&call.metadata)
            }
            Self::Other(property) => property.name.len() + property.json.len(),
            Self::Failed(failure) => {
                failure.code.len() + failure.message.len() + property_bytes(&failure.metadata)
            }
            Self::Usage(usage) => property_bytes(&usage.metadata),
            Self::Finish(finish) => finish.reason.len() + property_bytes(&finish.metadata),
        };
        held.max(1)
    }
}

/// The bytes of the properties, their headers included, so that empty properties are not free.
fn property_bytes(properties: &[Property]) -> usize {
    let bytes = |property: &Property| size_of::<Property>() + property.name.len() + property.json.len();
    properties.iter().map(bytes).sum()
}

/// A whole reply, for callers that do not stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The message.
    pub message: Message,
    /// The tokens that it used.
    pub usage: Usage,
    /// How the reply ended.
    pub finish: Finish,
    /// Values for which the contract has no field.
    pub metadata: Vec<Property>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_of_an_item_counts_towards_its_bytes() {
        let property = |name: &str, json: &str| Property { name: name.into(), json: json.into() };
        let metadata = || vec![property(&"n".repeat(100), &"1".repeat(900))];
        let failed = Failure { metadata: metadata(), ..Failure::new("internal", "no") };
        let finish = Finish { reason: "stop".into(), metadata: metadata() };
        let usage = Usage { metadata: metadata(), ..Usage::default() };
        for delta in [Delta::Failed(failed), Delta::Finish(finish), Delta::Usage(usage)] {
            assert!(delta.bytes() >= 1000, "{delta:?}");
        }
        let empty = vec![property("", ""); 1000];
        assert!(Delta::Finish(Finish { reason: "stop".into(), metadata: empty }).bytes() > 1000);
        assert_eq!(Delta::Text(String::new()).bytes(), 1);
    }
}
