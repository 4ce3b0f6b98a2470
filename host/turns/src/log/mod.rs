//! The events of one turn: written once, read by any number of readers at their own pace, here or, as texts, on other hosts.

mod copy;
mod event;
mod event_log;
mod lease;
mod reader;
mod wire;

#[cfg(test)]
mod tests;

pub use event::{Event, EventKind, TurnEnd};
pub(crate) use event_log::ResumePoint;
pub use event_log::{EventLog, LogFull};
pub use reader::EventReader;
pub(crate) use wire::{decode, encode};
