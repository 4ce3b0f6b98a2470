//! Collects a model's stream into one reply, for a plugin that asks the model.

use masque_runtime::contract::{Delta, Failure, Finish, Message, Part, Reply, Usage};

/// The longest reply, in bytes.
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
        match delta {
            Delta::Text(text) => {
                self.count(text.len())?;
                self.text.push_str(&text);
            }
            Delta::ToolCall(call) => {
                self.count(call.arguments.len() + call.name.len() + call.id.len())?;
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
        // An empty item takes memory too.
        self.bytes += bytes.max(1);
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
