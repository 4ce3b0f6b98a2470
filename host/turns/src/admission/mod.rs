//! Admission: from a request to a turn that runs, or to the log of a turn that the same request began before.
//!
//! The order matters. Requests with one idempotency key are admitted one after another, so that the second finds the turn
//! of the first instead of waiting behind it. A turn takes the slots of user and host before it asks the store, which decides.
//! If another turn has the conversation, the store gives this one a place in the conversation's queue, over all hosts. Then it
//! gives its slots back, so that a turn that waits holds nothing, and asks again when it is woken or some time has passed.
//! The active set is pinned before each question, so that a turn that has waited uses the plugins of now.

mod admit;
mod capacity;
mod earlier;
mod join;
mod pending;
mod queue;
mod selection;
mod ticket;
mod wait;

pub(crate) use earlier::CHAT_ROUTE;
pub(crate) use selection::{find_companion, only_companion, select_models};
pub(crate) use ticket::Ticket;
