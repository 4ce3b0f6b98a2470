//! A reply on its way out of the sandbox: from the guest's stream through a bounded buffer to one reader.
//!
//! The reader drives the call: the guest runs while the reader waits for the next items, and what it writes is there when the
//! reader looks. So no item costs a task switch. Stores are connected only to buffers. If the buffer is full, by items or by
//! bytes, the guest's write waits.

mod buffer;
mod deltas;
mod poll_on_wake;
mod sink;

pub(crate) use self::buffer::ReplyBuffer;
pub use self::deltas::Deltas;
pub(crate) use self::sink::ReplySink;
