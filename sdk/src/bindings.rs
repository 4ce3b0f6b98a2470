//! The code that wit-bindgen generates from the contract. Other modules give it public names.
//!
//! The types and imports are generated once. Each exported interface is a world of its own: its component-type section
//! is linked only into components that use its export macro, so a plugin exports exactly what it implements.
#![allow(missing_docs, unreachable_pub, clippy::all)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use wasip3::wit_bindgen::generate;

pub mod imports {
    super::generate!({
        path: "wit/0.1.0",
        world: "imports",
        runtime_path: "wasip3::wit_bindgen::rt",
        generate_unused_types: true,
        additional_derives: [PartialEq],
    });
}

macro_rules! exported {
    ($($module:ident: $world:literal, $macro_name:literal;)*) => {$(
        pub mod $module {
            super::generate!({
                path: "wit/0.1.0",
                world: $world,
                runtime_path: "wasip3::wit_bindgen::rt",
                with: { "masque:companion/types@0.1.0": crate::bindings::imports::masque::companion::types },
                pub_export_macro: true,
                export_macro_name: $macro_name,
            });
        }
    )*};
}

exported! {
    about: "exports-about", "export_about";
    persona: "exports-persona", "export_persona";
    greeter: "exports-greeter", "export_greeter";
    reflector: "exports-reflector", "export_reflector";
    memory: "exports-memory", "export_memory";
    observer: "exports-observer", "export_observer";
    model: "exports-model", "export_model";
}

#[cfg(target_arch = "wasm32")]
pub use imports::masque::companion::{history, host, models};
pub use imports::masque::companion::{state, types};
