//! The contract `masque:companion@0.1.0` as Rust types, generated from `wit/0.1.0`.
//!
//! One world imports all that the host offers, and one world stands for each exported interface: what a component can
//! do is read off its exports, so an optional ability never unlinks a plugin that lacks it. Every world shares the
//! types of the first.

#![allow(missing_docs, reason = "documented in wit/0.1.0/types.wit")]
#![allow(
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "generated"
)]
#![allow(unreachable_pub, reason = "generated")]

pub(crate) mod imports {
    wasmtime::component::bindgen!({
        path: "../../wit/0.1.0",
        world: "imports",
        imports: {
            "masque:companion/host": trappable,
            default: async | trappable,
        },
    });
}

/// Generates the bindings of the world that exports one interface.
macro_rules! export_world {
    ($module:ident, $world:literal) => {
        pub(crate) mod $module {
            wasmtime::component::bindgen!({
                path: "../../wit/0.1.0",
                world: $world,
                exports: { default: async },
                with: { "masque:companion/types@0.1.0": crate::contract::imports::masque::companion::types },
            });
        }
    };
}

export_world!(about, "exports-about");
export_world!(persona, "exports-persona");
export_world!(greeter, "exports-greeter");
export_world!(reflector, "exports-reflector");
export_world!(memory, "exports-memory");
export_world!(observer, "exports-observer");
export_world!(model, "exports-model");

pub use imports::masque::companion::types::{
    Blob, Delta, Description, Exchange, Failure, Finish, Message, Opening, Part, Prompt, Property,
    Recollection, Remembered, Reply, Tool, ToolCall, ToolResult, Turn, Usage, User,
};

/// The name of an exported interface, as a component spells it.
pub(crate) fn interface(name: &str) -> String {
    format!("masque:companion/{name}@0.1.0")
}

impl Failure {
    /// A failure in the host's own words.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), retry_after_ms: None, metadata: Vec::new() }
    }
}
