//! Reads the files that the configuration names, up to a size. None is waited for, and a secret that other users may write is
//! refused.

pub(crate) use masque_files::{ReadError, read_bounded, read_trusted};
