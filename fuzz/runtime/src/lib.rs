//! Replaces `masque-runtime` in the fuzz targets, so that they don't compile the WebAssembly engine. The code that reads
//! bytes is the runtime's own source; the type of a description is a plain value.
#![allow(dead_code, missing_docs, unreachable_pub)]

#[path = "../../../host/runtime/src/file.rs"]
mod file;

pub use file::FileFormat;

pub mod contract {
    pub struct Description {
        pub settings_schema: String,
    }
}
