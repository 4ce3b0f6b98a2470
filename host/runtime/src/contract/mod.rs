//! What plugins and the host exchange, as plain values of the host's own.
//!
//! These types belong to no version of the contract. One module for each released version (`v0_1`) translates them to
//! and from the types of that version, and no other code names generated types. Text is held in `Arc<str>` where it goes
//! to plugins, so that a value is handed to several calls without copying the text.

mod description;
mod message;
mod prompt;
mod reply;
mod turn;
pub(crate) mod v0_1;

pub use self::description::{Description, PluginKind};
pub use self::message::{Blob, Message, Part, Property, ToolCall, ToolResult};
pub use self::prompt::{Prompt, Recollection, Remembered, Tool};
pub use self::reply::{Delta, Failure, Finish, Reply, Usage};
pub use self::turn::{Exchange, Opening, Turn, User};
