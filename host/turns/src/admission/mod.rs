//! Admission: from a request to a turn that runs, or to the log of a turn that the same request began before.
//!
//! The order matters. Requests with one idempotency key are admitted one after another, so that the second finds the turn
//! of the first instead of waiting behind it. The conversation's slot is taken before the host's slot, so that a turn that
//! waits for its conversation holds nothing. The active set is pinned after the waits, so that a turn that has waited uses
//! the plugins of now. The store decides at the end.

mod admit;
mod earlier;
mod selection;
mod ticket;
mod wait;

pub(crate) use earlier::CHAT_ROUTE;
pub(crate) use selection::{find_companion, only_companion, select_models};
pub(crate) use ticket::Ticket;
