//! Turns that another host runs: read, cancelled and kept alive from here.
//!
//! What is in the memory that hosts share is read only after the store has said whose the turn is. If that memory is away, the
//! store alone tells how a turn ends.

mod cancel;
mod copy;
mod events;
mod inbox;

pub(crate) use events::unknown_event;
