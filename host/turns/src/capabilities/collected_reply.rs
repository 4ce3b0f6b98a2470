//! Collects a model's stream into one reply, for a plugin that asks the model.

use masque_runtime::contract::{Delta, Failure, Finish, Message, Part, Reply, Usage};

/// The longest reply, in bytes that the host holds for it.
const MAX_REPLY_BYTES: usize = 1 << 20;

/// A reply as far as it has arrived.
#[derive(Default)]
pub(super) struct CollectedReply {
    text: String,
    parts: Vec<Part>,
    usage: Option<Usage>,
    bytes: usize,
}

impl CollectedReply {
    /// Adds one item of the stream. Returns the finish reason if it was the last one.
    ///
    /// # Errors
    /// The model's failure, or `invalid` if the reply is longer than [`MAX_REPLY_BYTES`].
    pub(super) fn add(&mut self, delta: Delta) -> Result<Option<Finish>, Failure> {
        let bytes = delta.bytes();
        match delta {
            Delta::Text(text) => {
                self.count(bytes)?;
                self.text.push_str(&text);
            }
            Delta::ToolCall(call) => {
                self.count(size_of::<Part>() + bytes)?;
                self.parts.push(Part::ToolCall(call));
            }
            Delta::Usage(usage) => self.usage = Some(usage),
            Delta::Finish(finish) => return Ok(Some(finish)),
            Delta::Failed(failure) => return Err(failure),
            Delta::Thinking(_) | Delta::Other(_) => {}
        }
        Ok(None)
    }

    fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes += bytes;
        if self.bytes > MAX_REPLY_BYTES {
            return Err(Failure::new("invalid", format!("the reply is longer than {MAX_REPLY_BYTES} bytes")));
        }
        Ok(())
    }

    pub(super) fn into_reply(self, finish: Finish) -> Reply {
        let mut message = Message::new("assistant", self.text);
        message.parts.extend(self.parts);
        let none = || Usage { input_tokens: 0, output_tokens: 0, cached_tokens: 0, metadata: Vec::new() };
        Reply { message, usage: self.usage.unwrap_or_else(none), finish, metadata: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use masque_runtime::contract::{Property, ToolCall};

    use super::*;

    /// How many tool calls with this metadata a reply may have.
    fn collected(metadata: &[Property]) -> usize {
        let call =
            ToolCall { id: "".into(), name: "".into(), arguments: "".into(), metadata: metadata.to_vec() };
        let mut reply = CollectedReply::default();
        (0..MAX_REPLY_BYTES).take_while(|_| reply.add(Delta::ToolCall(call.clone())).is_ok()).count()
    }

    #[test]
    fn a_tool_call_counts_with_its_metadata_and_with_the_place_that_it_takes() {
        assert!(collected(&[]) <= MAX_REPLY_BYTES / size_of::<Part>());
        let large = Property { name: "state".into(), json: "1".repeat(60 << 10).into() };
        let few = collected(&[large]);
        assert!((10..=17).contains(&few), "{few}");
    }

    #[test]
    fn a_reply_longer_than_the_limit_is_refused() {
        let mut reply = CollectedReply::default();
        reply.add(Delta::Text("x".repeat(MAX_REPLY_BYTES))).unwrap();
        assert_eq!(reply.add(Delta::Text(String::new())).unwrap_err().code, "invalid");
    }
}
