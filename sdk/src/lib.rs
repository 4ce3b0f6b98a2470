//! Write a persona, a memory or a model for Masque.
//!
//! A plugin is a WebAssembly component that the host runs in a sandbox. With this crate it is a type that implements a
//! trait, and one line that exports it:
//!
//! ```
//! use masque_sdk::{Message, Persona, Prompt, Recollection, Result, Turn};
//!
//! /// The settings of the persona: the operator writes `settings = { name = "Ida" }`.
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! struct Hello {
//!     name: String,
//! }
//!
//! impl Persona for Hello {
//!     async fn compose(&self, turn: Turn, recalled: Recollection) -> Result<Prompt> {
//!         let who = format!("You are {}, and you talk to {}.", self.name, turn.user.name_or("a stranger"));
//!         Ok(Prompt::new([Message::system(who).cached()]).messages(recalled.messages).message(turn.message))
//!     }
//! }
//!
//! masque_sdk::export!(Hello: persona);
//! # fn main() {}
//! ```
//!
//! Build it with `cargo build --release --target wasm32-wasip2` as a `cdylib`. Test it natively: [`testing`] replaces the
//! host.
//!
//! | what | where |
//! | --- | --- |
//! | the traits | [`Persona`], [`Greeter`], [`Reflector`], [`Memory`], [`Observer`], [`Model`] |
//! | values that outlive a call | [`state`] |
//! | earlier messages | [`history`] |
//! | calls of the companion's model | [`models`] |
//! | HTTP, with streamed bodies | [`http`] |
//! | server-sent events | [`sse`] |
//! | waiting | [`time`] |
//! | logging | `tracing` or `log`; both write to the host's log |
#![deny(missing_docs)]

mod bindings;
mod contract;
mod describe;
mod export;
pub mod history;
mod host;
pub mod http;
mod log;
pub mod models;
mod plugin;
mod reply;
mod settings;
pub mod sse;
pub mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod time;

pub use contract::{
    Blob, Delta, Description, Exchange, Failure, Finish, Message, Opening, Part, Prompt, Property,
    Recollection, Remembered, Reply, Result, Tool, ToolCall, ToolResult, Turn, Usage, User,
};
pub use describe::{Described, describe};
pub use plugin::{Greeter, Memory, Model, Observer, Persona, Plugin, Reflector};
pub use reply::ReplyWriter;
pub use {schemars, serde, serde_json, tracing};

/// The guide for plugin authors. Its examples are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../GUIDE.md")]
struct Guide;

/// For the export macro only.
#[doc(hidden)]
pub mod __private {
    pub use crate::bindings::{about, greeter, memory, model, observer, persona, reflector};
}
