//! Server-sent events as the WHATWG specification reads them (HTML, section 9.2.6, "Interpreting an event stream").
//!
//! [`Parser`] is pure: it turns bytes into events, wherever the chunks are cut. [`Events`] reads the events of a
//! response. [`Lines`] only splits bytes into lines, for streams that do not follow the specification.

mod events;
mod lines;
mod parser;
#[cfg(test)]
mod tests;

pub use events::Events;
pub use lines::{Lines, TooLong};
pub use parser::{Event, Parser};
