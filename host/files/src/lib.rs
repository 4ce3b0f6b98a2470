//! The files that a host is given: read without ever waiting for another process, and judged by who else may change them.
//!
//! The threat: what lies at a path that an operator named, or in a folder that was there before the host, is not always what
//! was meant. A named pipe lets whoever opens it wait until somebody writes. A file that other users may write says what they
//! want. A folder on a network file system has weaker locks. The policy is here in small functions; what follows from it is
//! decided by the crate that uses the file:
//!
//! | file | checked for | otherwise |
//! | --- | --- | --- |
//! | key of compiled plugins, compiled plugins, their folder | [`check_only_ours`]: owner, group and everyone | not used; compiled again |
//! | secrets (`value_file`, `secret_file`, `JWT_SECRET_KEY_FILE`, `password_file`), the key of `[tls]`, `jwks_file` | [`other_writers`]: everyone, and groups that are not trusted | refused |
//! | the configuration file, components, the plugins folder, files of settings | [`other_writers`] | a warning |
//! | the data folder, the database, its lock, the socket for operators | made for the own user alone | other rights are taken away, or a warning |
//! | the certificate of `[tls]` | nothing: it is public, and refused if it does not fit the key | |
//! | files of `/proc` and `/sys` | nothing: the kernel's | |
//!
//! The configuration and components are not refused, since whole file systems give all files the mode 777 (those of Windows
//! in a virtual machine, for example), and a companion is often tried out on one.

#![deny(missing_docs)]

mod file_system;
mod password;
mod regular;
mod trust;

pub use file_system::network_file_system;
pub use password::read_password;
pub use regular::{ReadError, check_is_regular, open_regular, read_bounded, read_trusted};
pub use trust::{OtherWriters, Untrusted, check_only_ours, other_writers, take_away};
