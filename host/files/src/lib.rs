//! The files that a host is given: read without ever waiting for another process, and judged by who else may change them.
//!
//! The threat: what lies at a path that an operator named, or in a folder that was there before the host, is not always what
//! was meant. A named pipe lets whoever opens it wait until somebody writes. A file that other users may write says what they
//! want. A folder on a network file system has weaker locks. The policy is here in small functions; what follows from it is
//! decided by the crate that uses the file.

#![deny(missing_docs)]

mod file_system;
mod regular;
mod trust;

pub use file_system::network_file_system;
pub use regular::{ReadError, check_is_regular, open_regular, read_bounded, read_secret};
pub use trust::{Untrusted, check_only_ours};
