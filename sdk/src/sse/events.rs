//! Reads server-sent events from the body of a response.

use super::{Event, Parser, TooLong};
use crate::http::{Error, Response};

/// The events of a response, as they arrive.
pub struct Events {
    response: Response,
    parser: Parser,
    /// The limit that the stream exceeded; returned after the events that were complete before.
    exceeded: Option<TooLong>,
}

impl Response {
    /// Reads the body as server-sent events.
    pub fn events(self) -> Events {
        Events { response: self, parser: Parser::default(), exceeded: None }
    }
}

impl Events {
    /// Waits for the next events. Returns those that arrived together, at least one, or `None` at the end of the
    /// stream. Drops an event whose closing empty line is missing at the end, as the specification demands.
    ///
    /// # Errors
    /// The error that ends the body early, or [`Error::TooLarge`].
    pub async fn arrived(&mut self) -> Result<Option<Vec<Event>>, Error> {
        loop {
            if let Some(error) = self.exceeded {
                return Err(Error::TooLarge(error.to_string()));
            }
            let Some(chunk) = self.response.chunk().await? else { return Ok(None) };
            self.exceeded = self.parser.push(&chunk).err();
            let events: Vec<_> = std::iter::from_fn(|| self.parser.next_event()).collect();
            if !events.is_empty() {
                return Ok(Some(events));
            }
        }
    }
}
