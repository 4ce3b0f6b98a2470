//! What a guest does in its scratch folder: WASI's own files, each operation counted before it takes effect.
//!
//! The threat: a guest uses up the disk, the descriptors or the memory of the host through files. The policy: whatever could make
//! the folder grow is charged first, in whole blocks, and refused once the granted size is reached; there are no folders
//! within the folder; a call has few open files at a time. `wasmtime-wasi` refuses paths that lead out of the folder. WASI 0.3
//! does not see the folder, because its streams can't be counted beforehand. It has a resource table of its own, so that no
//! descriptor of 0.2 can be passed to it as another type.

mod descriptor;
mod metered;
mod writer;

pub(super) use self::metered::limited_table;
pub(crate) use self::metered::{MeteredFiles, MeteredFilesystem};
