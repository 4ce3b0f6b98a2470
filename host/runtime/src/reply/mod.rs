//! A reply on its way out of the sandbox: from the guest's stream through a bounded channel to one reader.
//!
//! Stores are connected only to channels. If a reader is slow, the channel fills up, by items or by bytes, and then the guest's
//! write waits.

mod deltas;
mod sink;

pub use self::deltas::Deltas;
pub(crate) use self::sink::{OpenedReply, ReplySink, open_reply};
