//! What the hosts of one installation share in memory, and may lose at any moment: nothing that was acknowledged is here
//! alone.
//!
//! Each trait is one use, and each of its methods is one atomic operation. None returns an error: where the shared memory
//! can't be reached, an implementation answers as the documentation of the method says, and the caller goes on with what
//! the [store](crate::Store) knows.

mod events;
mod in_process;
mod inbox;
mod live_hosts;
mod slots;
mod status;
mod uses;

pub use events::{
    EVENT_PAGE_BYTES, EventPage, RUNNING_TURN_EVENTS_RETENTION, TURN_EVENTS_RETENTION, TurnEvents,
};
pub use in_process::{InProcessInbox, InProcessTurnEvents, InProcessTurnSlots};
pub use inbox::{Inbox, InboxMessage, Recipient};
pub use live_hosts::LiveHosts;
pub use slots::{TURN_SLOT_LIFETIME, TurnSlots};
pub use status::{SharedHealth, SharedStatus};
pub use uses::Shared;
