//! The events of one turn: written once, read by any number of readers at their own pace.

mod event;
mod event_log;
mod reader;

#[cfg(test)]
mod tests;

pub use event::{Event, EventKind, TurnEnd};
pub(crate) use event_log::ResumePoint;
pub use event_log::{EventLog, LogFull};
pub use reader::EventReader;
