//! What plugins and the host exchange, as plain values of the host's own.
//!
//! These types belong to no version of the contract. One module for each released version (`v0_1`) translates them to and from
//! the types of that version, and no other code names generated types; [`versions`] lists these modules. Text that goes to
//! plugins is held in `Arc<str>`, so that several calls can use a value without copying the text.

mod description;
mod message;
mod prompt;
mod reply;
mod turn;
mod v0_1;
pub(crate) mod versions;

pub use self::description::{Description, PluginKind};
pub use self::message::{Blob, Message, Part, Property, ToolCall, ToolResult};
pub use self::prompt::{Prompt, Recollection, Remembered, Tool};
pub use self::reply::{Delta, Failure, Finish, Reply, Usage};
pub use self::turn::{Exchange, Opening, Turn, User};
